#include "storage/posix/posix_files.h"

#include "storage/object_key.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <unistd.h>

namespace pgvigil {

namespace {

// A cancel is noticed between steps of this size.
constexpr size_t kStepBytes = 4 * kMiB;

struct CloseDirectory {
    void operator()(DIR *directory) const noexcept { closedir(directory); }
};

} // namespace

FileHandle::~FileHandle() {
    if (descriptor_ >= 0)
        close(descriptor_);
}

void FileHandle::close_checked(std::string_view path) {
    const int descriptor = std::exchange(descriptor_, -1);
    if (close(descriptor) != 0 && errno != EINTR)
        throw posix_error("close", path, errno);
}

Error posix_error(std::string_view what, std::string_view path, int error_number) {
    const bool may_recover = error_number == ESTALE || error_number == ETIMEDOUT || error_number == EAGAIN ||
                             error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM;
    return system_error(fmt::format("could not {} \"{}\"", what, path), error_number).retryable(may_recover);
}

FileHandle open_at(int directory, const std::string &path, int flags, mode_t mode) noexcept {
    for (;;) {
        const int descriptor = openat(directory, path.c_str(), flags | O_CLOEXEC, mode);
        if (descriptor >= 0 || errno != EINTR)
            return FileHandle(descriptor);
    }
}

struct stat stat_of(const FileHandle &file, std::string_view path) {
    struct stat status = {};
    if (fstat(file.get(), &status) != 0)
        throw posix_error("stat", path, errno);
    return status;
}

void write_all(const FileHandle &file, ByteView bytes, std::string_view path, const CancelToken &cancel) {
    while (!bytes.empty()) {
        cancel.check();
        const ssize_t written = write(file.get(), bytes.data(), std::min(bytes.size(), kStepBytes));
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            throw posix_error("write", path, errno);
        bytes = bytes.subspan(static_cast<size_t>(written));
    }
}

void sync_file(const FileHandle &file, std::string_view path) {
    while (fsync(file.get()) != 0)
        if (errno != EINTR)
            throw posix_error("sync", path, errno);
}

Bytes read_at(const FileHandle &file, uint64_t offset, uint64_t length, std::string_view path,
              const CancelToken &cancel) {
    Bytes bytes(length);
    size_t done = 0;
    while (done < length) {
        cancel.check();
        const ssize_t got = pread(file.get(), bytes.data() + done, std::min<uint64_t>(length - done, kStepBytes),
                                  static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            throw posix_error("read", path, errno);
        if (got == 0)
            break;
        done += static_cast<size_t>(got);
    }
    bytes.resize(done);
    return bytes;
}

int64_t modified_ms(const struct stat &status) noexcept {
    return int64_t{status.st_mtim.tv_sec} * 1000 + status.st_mtim.tv_nsec / 1000000;
}

std::vector<DirectoryEntry> read_directory(const FileHandle &directory, std::string_view path) {
    // A descriptor of its own: closedir() closes what fdopendir() was given, and the position is not shared.
    FileHandle own = open_at(directory.get(), ".", O_RDONLY | O_DIRECTORY);
    if (!own)
        throw posix_error("open directory", path, errno);
    const std::unique_ptr<DIR, CloseDirectory> stream(fdopendir(own.get()));
    if (!stream)
        throw posix_error("open directory", path, errno);
    static_cast<void>(own.release());

    std::vector<DirectoryEntry> entries;
    for (;;) {
        errno = 0;
        const dirent *entry = readdir(stream.get()); // NOLINT(concurrency-mt-unsafe): a stream of this thread's own
        if (entry == nullptr) {
            if (errno != 0)
                throw posix_error("read directory", path, errno);
            return entries;
        }
        const std::string_view name = entry->d_name;
        if (name == "." || name == ".." || name.starts_with(kTemporaryPrefix))
            continue;
        unsigned char type = entry->d_type;
        if (type == DT_UNKNOWN || type == DT_LNK) {
            struct stat status = {};
            if (fstatat(directory.get(), entry->d_name, &status, 0) != 0)
                continue; // gone, or a link that leads nowhere
            type = S_ISDIR(status.st_mode) ? DT_DIR : S_ISREG(status.st_mode) ? DT_REG : DT_UNKNOWN;
        }
        if (type == DT_DIR)
            entries.push_back({std::string(name), EntryKind::kDirectory});
        else if (type == DT_REG)
            entries.push_back({std::string(name), EntryKind::kFile});
    }
}

} // namespace pgvigil
