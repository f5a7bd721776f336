#include "server/pg.h"

#include "server/wal_gaps.h"

#include "base/error.h"
#include "base/wal_name.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/file.h>
#include <unistd.h>

namespace pgvigil {

namespace {

std::string file_name(const std::string &data_directory) {
    return data_directory + "/pgvigil.gaps";
}

// The file, locked against the other process that writes it.
class LockedFile {
  public:
    explicit LockedFile(const std::string &path) : path_(path) {
        fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd_ < 0)
            throw system_error("could not open file \"" + path + "\"", errno);
        while (::flock(fd_, LOCK_EX) != 0)
            if (errno != EINTR) {
                const int error_number = errno;
                ::close(fd_);
                throw system_error("could not lock file \"" + path + "\"", error_number);
            }
    }
    ~LockedFile() { ::close(fd_); }
    LockedFile(const LockedFile &) = delete;
    LockedFile &operator=(const LockedFile &) = delete;

    void append(const std::string &text) {
        if (::lseek(fd_, 0, SEEK_END) < 0)
            fail("seek in");
        write(text);
    }
    // Lines are complete or cut at the end: a crash while this writes loses at most what the repository knows already.
    void replace(const std::string &text) {
        if (::lseek(fd_, 0, SEEK_SET) < 0)
            fail("seek in");
        write(text);
        if (::ftruncate(fd_, static_cast<off_t>(text.size())) != 0 || ::fsync(fd_) != 0)
            fail("write");
    }

  private:
    void write(const std::string &text) {
        for (size_t done = 0; done < text.size();) {
            const ssize_t written = ::write(fd_, text.data() + done, text.size() - done);
            if (written < 0 && errno != EINTR)
                fail("write");
            done += written > 0 ? static_cast<size_t>(written) : 0;
        }
        if (::fsync(fd_) != 0)
            fail("sync");
    }
    [[noreturn]] void fail(const char *what) const {
        throw system_error(std::string("could not ") + what + " file \"" + path_ + "\"", errno);
    }
    std::string path_;
    int fd_ = -1;
};

std::string to_line(const WalGap &gap) {
    return gap.file + " " + gap.reason + " " + std::to_string(gap.time_ms) + " " + (gap.recorded ? "1" : "0") + "\n";
}

std::vector<WalGap> parse_gaps(std::istream &text) {
    std::vector<WalGap> gaps;
    std::string line;
    while (std::getline(text, line)) {
        std::istringstream words(line);
        WalGap gap;
        if (words >> gap.file >> gap.reason >> gap.time_ms >> gap.recorded && parse_wal_file_name(gap.file))
            gaps.push_back(std::move(gap));
    }
    return gaps;
}

// Reads, changes and writes the list below one lock: the archiver may append at any time.
template <class Change> void change_gaps(const std::string &data_directory, Change &&change) {
    if (::access(file_name(data_directory).c_str(), F_OK) != 0)
        return;
    LockedFile file(file_name(data_directory));
    std::ifstream stream(file_name(data_directory));
    std::vector<WalGap> gaps = parse_gaps(stream);
    if (!change(gaps))
        return;
    std::string text;
    for (const WalGap &gap : gaps)
        text += to_line(gap);
    file.replace(text);
}

} // namespace

void add_gap(const std::string &data_directory, const WalGap &gap) {
    LockedFile(file_name(data_directory)).append(to_line(gap));
}

std::vector<WalGap> read_gaps(const std::string &data_directory) {
    std::ifstream file(file_name(data_directory));
    return parse_gaps(file);
}

void mark_gaps_recorded(const std::string &data_directory, size_t count) {
    change_gaps(data_directory, [count](std::vector<WalGap> &gaps) {
        for (size_t i = 0; i < count && i < gaps.size(); ++i)
            gaps[i].recorded = true;
        return true;
    });
}

void drop_gaps_before(const std::string &data_directory, Lsn start, uint64_t segment_size) {
    const auto is_over = [&](const WalGap &gap) {
        const auto name = parse_wal_file_name(gap.file);
        const bool before = name->kind == WalFileKind::kHistory ||
                            segment_start(segment_number(*name, segment_size) + 1, segment_size) <= start;
        return before && gap.recorded;
    };
    change_gaps(data_directory, [&](std::vector<WalGap> &gaps) { return std::erase_if(gaps, is_over) > 0; });
}

} // namespace pgvigil
