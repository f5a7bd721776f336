#include "transfer/wal_get_lock.h"

#include "transfer/wal_get_ahead.h"

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <unistd.h>
#include <vector>

namespace pgvigil {

namespace {

constexpr mode_t kDirectoryMode = 0700;

std::vector<std::string> names_in(const std::string &directory) {
    struct Close {
        void operator()(DIR *open) const noexcept { closedir(open); }
    };
    std::vector<std::string> names;
    const std::unique_ptr<DIR, Close> open(opendir(directory.c_str()));
    while (open) {
        const dirent *entry = readdir(open.get()); // NOLINT(concurrency-mt-unsafe): a stream of its own
        if (entry == nullptr)
            break;
        const std::string name = entry->d_name;
        if (name != "." && name != "..")
            names.push_back(name);
    }
    return names;
}

void remove_files(const std::string &directory, bool lock_too) {
    for (const std::string &name : names_in(directory))
        if (lock_too || name != kAheadLock)
            unlink((directory + "/" + name).c_str());
}

void make_directory(const std::string &path) {
    if (mkdir(path.c_str(), kDirectoryMode) != 0 && errno != EEXIST)
        throw posix_error("create", path, errno);
}

bool claim(const FileHandle &lock) {
    struct flock whole{};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    return fcntl(lock.get(), F_OFD_SETLK, &whole) == 0;
}

} // namespace

AheadLock::AheadLock(std::string directory) : directory_(std::move(directory)) {
    const std::string parent = directory_.substr(0, directory_.rfind('/'));
    make_directory(parent);
    make_directory(directory_);
    const std::string path = directory_ + "/" + std::string(kAheadLock);
    FileHandle lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock)
        throw posix_error("create", path, errno);
    if (!claim(lock))
        return;
    // A process that was just ending may have removed the file between its opening and its locking.
    const struct stat mine = stat_of(lock, path);
    struct stat there{};
    if (stat(path.c_str(), &there) != 0 || there.st_ino != mine.st_ino || there.st_dev != mine.st_dev)
        return;
    lock_ = std::move(lock);
    remove_files(directory_, false);
    for (const std::string &name : names_in(parent)) {
        const std::string other = parent + "/" + name;
        if (other == directory_ || ahead_reader_lives(other))
            continue;
        remove_files(other, true);
        rmdir(other.c_str());
    }
}

AheadLock::~AheadLock() {
    if (!lock_)
        return;
    remove_files(directory_, true);
    rmdir(directory_.c_str());
    rmdir(directory_.substr(0, directory_.rfind('/')).c_str());
}

} // namespace pgvigil
