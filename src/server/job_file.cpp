#include "server/pg.h"

#include "server/job_file.h"

#include "base/error.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

namespace pgvigil {

namespace {

std::string file_name(const std::string &data_directory) {
    return data_directory + "/" + std::string(kJobLogFileName);
}

struct Descriptor {
    int number = -1;
    ~Descriptor() {
        if (number >= 0)
            ::close(number);
    }
};

// A file that no server ever rewrites: a copy of the data directory has another one.
std::string place_of(const std::string &data_directory) {
    const std::string path = data_directory + "/PG_VERSION";
    struct statx facts{};
    if (::statx(AT_FDCWD, path.c_str(), 0, STATX_INO | STATX_BTIME, &facts) != 0)
        throw system_error("could not stat file \"" + path + "\"", errno);
    return std::to_string(facts.stx_ino) + "-" + std::to_string(facts.stx_btime.tv_sec) + "." +
           std::to_string(facts.stx_btime.tv_nsec);
}

void sync_directory(const std::string &path) {
    const Descriptor directory{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (directory.number < 0 || ::fsync(directory.number) != 0)
        throw system_error("could not sync directory \"" + path + "\"", errno);
}

} // namespace

JobLog read_job_file(const std::string &data_directory) {
    const std::string path = file_name(data_directory);
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        if (::access(path.c_str(), F_OK) == 0)
            throw system_error("could not open file \"" + path + "\"", errno);
        return {};
    }
    std::ostringstream text;
    text << file.rdbuf();
    JobLog log = JobLog::decode(text.str(), path);
    return log.place() == place_of(data_directory) ? log : JobLog();
}

void write_job_file(const std::string &data_directory, JobLog &log) {
    log.set_place(place_of(data_directory));
    const std::string path = file_name(data_directory);
    const std::string temporary = path + ".new";
    const std::string text = log.encode();
    {
        const Descriptor file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
        if (file.number < 0)
            throw system_error("could not create file \"" + temporary + "\"", errno);
        for (size_t done = 0; done < text.size();) {
            const ssize_t written = ::write(file.number, text.data() + done, text.size() - done);
            if (written < 0 && errno != EINTR)
                throw system_error("could not write file \"" + temporary + "\"", errno);
            done += written > 0 ? static_cast<size_t>(written) : 0;
        }
        if (::fsync(file.number) != 0)
            throw system_error("could not sync file \"" + temporary + "\"", errno);
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0)
        throw system_error("could not rename file \"" + temporary + "\"", errno);
    sync_directory(data_directory);
}

} // namespace pgvigil
