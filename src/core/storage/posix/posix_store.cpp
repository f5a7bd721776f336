#include "storage/posix/posix_store.h"

#include "base/random.h"
#include "base/time.h"
#include "storage/object_key.h"

#include <cerrno>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;

std::string temporary_name() {
    std::array<std::byte, 8> random;
    random_bytes(random);
    return std::string(kTemporaryPrefix) + to_hex(random);
}

// Removes a temporary file unless it was renamed away.
class TemporaryFile {
  public:
    TemporaryFile(const FileHandle &directory, std::string name) : directory_(directory), name_(std::move(name)) {}
    TemporaryFile(const TemporaryFile &) = delete;
    TemporaryFile &operator=(const TemporaryFile &) = delete;
    ~TemporaryFile() { unlinkat(directory_.get(), name_.c_str(), 0); }
    [[nodiscard]] const std::string &name() const noexcept { return name_; }

  private:
    const FileHandle &directory_;
    const std::string name_;
};

bool same_file(const struct stat &one, const struct stat &other) noexcept {
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

bool is_absent(int error_number) noexcept {
    return error_number == ENOENT || error_number == ENOTDIR || error_number == ENAMETOOLONG;
}

// Temporary files so old that nobody can be writing them any more.
void remove_stale_files(const FileHandle &root, const std::string &directory) noexcept {
    constexpr int64_t kStaleMs = int64_t{24} * 3600 * 1000;
    FileHandle own = open_at(root.get(), directory, O_RDONLY | O_DIRECTORY);
    DIR *stream = own ? fdopendir(own.get()) : nullptr;
    if (stream == nullptr)
        return;
    const int descriptor = own.release();
    while (const dirent *entry = readdir(stream)) { // NOLINT(concurrency-mt-unsafe): a stream of this thread's own
        struct stat status = {};
        if (std::string_view(entry->d_name).starts_with(kTemporaryPrefix) &&
            fstatat(descriptor, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            modified_ms(status) < unix_time_ms() - kStaleMs)
            unlinkat(descriptor, entry->d_name, 0);
    }
    closedir(stream);
}

std::pair<std::string_view, std::string> split_key(std::string_view key) {
    const size_t slash = key.rfind('/');
    if (slash == std::string_view::npos)
        return {"", std::string(key)};
    return {key.substr(0, slash), std::string(key.substr(slash + 1))};
}

} // namespace

PosixStore::PosixStore(std::string root, std::string display_name, LogSink &log)
    : root_(std::move(root)), name_(std::move(display_name)), log_(log) {
    static_cast<void>(open_root());
}

FileHandle PosixStore::open_root() const {
    FileHandle root = open_at(AT_FDCWD, root_, O_RDONLY | O_DIRECTORY);
    if (!root) {
        if (errno != ENOENT)
            throw posix_error("open repository directory", root_, errno);
        const std::lock_guard lock(mutex_);
        if (root_id_)
            throw replaced();
        return root;
    }
    check_root(root);
    const DirectoryId id = identity_of(root, root_);
    const std::lock_guard lock(mutex_);
    if (root_id_ && *root_id_ != id)
        throw replaced();
    root_id_ = id;
    return root;
}

// What was read from one directory must never be continued in another that appears at its path: an empty mount point
// would take WAL that nobody finds again.
Error PosixStore::replaced() const {
    return Error(ErrorCode::kForeign, fmt::format("repository directory \"{}\" is gone or was replaced", root_))
        .detail("It was unmounted, removed or renamed while it was in use.")
        .hint("Mount it again; the next try opens it afresh.");
}

void PosixStore::check_root(const FileHandle &root) const {
    const struct stat status = stat_of(root, root_);
    if ((status.st_mode & S_IWOTH) != 0)
        throw Error(ErrorCode::kAccessDenied, fmt::format("repository directory \"{}\" is writable by everyone", root_))
            .detail("Anyone on this machine could replace or delete backups.")
            .hint(fmt::format("Run: chmod 0700 '{}'.", root_));
    if ((status.st_mode & S_IWGRP) != 0 && !warned_.exchange(true))
        log_.emit(LogLevel::kWarning, fmt::format("repository directory \"{}\" is writable by its group", root_),
                  "Members of the group can replace or delete backups.");
}

void PosixStore::create_root() {
    for (size_t at = 1; at != std::string::npos;) {
        at = root_.find('/', at + 1);
        const std::string path = root_.substr(0, at);
        if (mkdir(path.c_str(), kDirectoryMode) != 0) {
            if (errno != EEXIST && access(path.c_str(), F_OK) != 0)
                throw posix_error("create directory", path, errno);
            continue;
        }
        const std::string parent_path = path.substr(0, std::max<size_t>(path.rfind('/'), 1));
        const FileHandle parent = open_at(AT_FDCWD, parent_path, O_RDONLY | O_DIRECTORY);
        if (!parent)
            throw posix_error("open directory", parent_path, errno);
        sync_file(parent, parent_path);
    }
}

PosixStore::DirectoryId PosixStore::identity_of(const FileHandle &directory, std::string_view path) {
    struct statx status = {};
    if (statx(directory.get(), "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &status) != 0)
        throw posix_error("stat", path, errno);
    return {makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino,
            status.stx_btime.tv_sec * 1000000000 + status.stx_btime.tv_nsec};
}

FileHandle PosixStore::enter(const FileHandle &parent, const std::string &name, const std::string &parent_path) {
    const std::string path = parent_path + "/" + name;
    FileHandle directory = open_at(parent.get(), name, O_RDONLY | O_DIRECTORY);
    bool created = false;
    if (!directory && errno == ENOENT) {
        created = mkdirat(parent.get(), name.c_str(), kDirectoryMode) == 0;
        if (!created && errno != EEXIST)
            throw posix_error("create directory", path, errno);
        directory = open_at(parent.get(), name, O_RDONLY | O_DIRECTORY);
    }
    if (!directory)
        throw posix_error("open directory", path, errno).retryable(errno == ENOENT);
    // Whoever created it may have died before its entry was durable, so everyone syncs it once.
    const DirectoryId id = identity_of(directory, path);
    {
        const std::lock_guard lock(mutex_);
        if (!created && durable_.contains(id))
            return directory;
    }
    sync_file(parent, parent_path);
    const std::lock_guard lock(mutex_);
    constexpr size_t kRemembered = 10000;
    if (durable_.size() >= kRemembered)
        durable_.clear();
    durable_.insert(id);
    return directory;
}

FileHandle PosixStore::make_directory(std::string_view relative) {
    FileHandle directory = open_root();
    if (!directory) {
        create_root();
        directory = open_root();
        if (!directory)
            throw posix_error("open repository directory", root_, ENOENT).retryable();
    }
    std::string path = root_;
    for (size_t start = 0; start < relative.size();) {
        const size_t end = std::min(relative.find('/', start), relative.size());
        const std::string name(relative.substr(start, end - start));
        directory = enter(directory, name, path);
        path += "/" + name;
        start = end + 1;
    }
    return directory;
}

PutOutcome PosixStore::give_name(const FileHandle &directory, const FileHandle &file, const std::string &temporary,
                                 const std::string &name, const std::string &path) {
    if (linkat(directory.get(), temporary.c_str(), directory.get(), name.c_str(), 0) == 0)
        return PutOutcome::kStored;
    const int link_error = errno;
    // Over NFS the answer to a successful link may be lost and the repeated request finds its own work.
    struct stat existing = {};
    if (fstatat(directory.get(), name.c_str(), &existing, AT_SYMLINK_NOFOLLOW) == 0)
        return same_file(existing, stat_of(file, path)) ? PutOutcome::kStored : PutOutcome::kAlreadyExists;
    const bool no_links = link_error == EPERM || link_error == EOPNOTSUPP || link_error == ENOSYS ||
                          link_error == EMLINK || link_error == EINVAL;
    if (!no_links)
        throw posix_error("create", path, link_error).retryable(link_error == ENOENT);
    if (renameat2(directory.get(), temporary.c_str(), directory.get(), name.c_str(), RENAME_NOREPLACE) == 0)
        return PutOutcome::kStored;
    if (errno == EEXIST)
        return PutOutcome::kAlreadyExists;
    if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM)
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("could not create \"{}\": the file system of \"{}\" cannot create a file without the "
                                "risk of replacing one",
                                path, root_))
            .detail("It supports neither hard links nor renameat2(RENAME_NOREPLACE).")
            .hint("Put the repository on another file system.");
    throw posix_error("create", path, errno);
}

PutOutcome PosixStore::try_put(const PutRequest &request, const CancelToken &cancel) {
    const auto [parent, name] = split_key(request.key);
    const std::string path = path_of(request.key);
    const FileHandle directory = make_directory(parent);
    const std::string directory_path = path_of(parent);

    struct stat existing = {};
    if (fstatat(directory.get(), name.c_str(), &existing, AT_SYMLINK_NOFOLLOW) == 0) {
        // "Already there" is taken for "safe" by callers that compare contents; its creator may have died before this.
        sync_file(directory, directory_path);
        return PutOutcome::kAlreadyExists;
    }
    if (errno != ENOENT)
        throw posix_error("stat", path, errno);

    PutOutcome outcome = PutOutcome::kAlreadyExists;
    {
        const TemporaryFile temporary(directory, temporary_name());
        FileHandle file = open_at(directory.get(), temporary.name(), O_WRONLY | O_CREAT | O_EXCL, kFileMode);
        if (!file)
            throw posix_error("create a temporary file for", path, errno).retryable(errno == ENOENT);
        write_all(file, request.body, path, cancel);
        sync_file(file, path);
        outcome = give_name(directory, file, temporary.name(), name, path);
        file.close_checked(path);
    }
    sync_file(directory, directory_path);
    return outcome;
}

PutOutcome PosixStore::put_new(const PutRequest &request, const CancelToken &cancel) {
    cancel.check();
    check_key(request.key);
    // remove() takes away empty directories, possibly the one just entered: then it is made again.
    constexpr int kTries = 10;
    for (int attempt = 1;; ++attempt) {
        try {
            return try_put(request, cancel);
        } catch (const Error &error) {
            if (!error.is_retryable() || attempt == kTries)
                throw;
        }
    }
}

std::optional<PosixStore::OpenObject> PosixStore::open_object(std::string_view key) const {
    check_key(key);
    const FileHandle root = open_root();
    if (!root)
        return std::nullopt;
    // Not blocking, in case something else than a file has the name.
    FileHandle file = open_at(root.get(), std::string(key), O_RDONLY | O_NONBLOCK);
    if (!file) {
        if (is_absent(errno))
            return std::nullopt;
        throw posix_error("open", path_of(key), errno);
    }
    const struct stat status = stat_of(file, path_of(key));
    if (!S_ISREG(status.st_mode))
        return std::nullopt;
    return OpenObject{std::move(file), status};
}

std::optional<Bytes> PosixStore::get(std::string_view key, uint64_t limit, const CancelToken &cancel) {
    cancel.check();
    const auto object = open_object(key);
    if (!object)
        return std::nullopt;
    const auto size = static_cast<uint64_t>(object->status.st_size);
    if (size > limit)
        throw Error(ErrorCode::kCorrupt,
                    fmt::format("object \"{}\" in \"{}\" has {} bytes, more than the {} expected at most", key, name_,
                                size, limit));
    return read_at(object->file, 0, size, path_of(key), cancel);
}

std::optional<Bytes> PosixStore::get_range(std::string_view key, ByteRange range, const CancelToken &cancel) {
    cancel.check();
    const auto object = open_object(key);
    if (!object)
        return std::nullopt;
    const auto size = static_cast<uint64_t>(object->status.st_size);
    if (range.offset >= size)
        return Bytes{};
    return read_at(object->file, range.offset, std::min(range.length, size - range.offset), path_of(key), cancel);
}

std::optional<ObjectInfo> PosixStore::head(std::string_view key, const CancelToken &cancel) {
    cancel.check();
    const auto object = open_object(key);
    if (!object)
        return std::nullopt;
    return ObjectInfo{std::string(key), static_cast<uint64_t>(object->status.st_size), modified_ms(object->status)};
}

void PosixStore::remove_empty_parents(const FileHandle &root, std::string_view key) noexcept {
    for (size_t slash = key.rfind('/'); slash != std::string_view::npos; slash = key.rfind('/', slash - 1)) {
        const std::string directory(key.substr(0, slash));
        if (unlinkat(root.get(), directory.c_str(), AT_REMOVEDIR) == 0)
            continue;
        if (errno != ENOTEMPTY && errno != EEXIST)
            return;
        remove_stale_files(root, directory);
        if (unlinkat(root.get(), directory.c_str(), AT_REMOVEDIR) != 0)
            return;
    }
}

std::vector<DeleteFailure> PosixStore::remove(const std::vector<std::string> &keys, const CancelToken &cancel) {
    std::vector<DeleteFailure> failures;
    // One key of each directory that may be empty now.
    std::map<std::string_view, std::string_view> touched;
    const FileHandle root = open_root();
    for (const std::string &key : keys) {
        cancel.check();
        check_key(key);
        if (!root)
            continue;
        if (unlinkat(root.get(), key.c_str(), 0) == 0) {
            touched.emplace(std::string_view(key).substr(0, std::min(key.rfind('/'), key.size())), key);
            continue;
        }
        // A directory is no object, and so not there; Linux says EISDIR, POSIX EPERM.
        struct stat status = {};
        const int error_number = errno;
        if (is_absent(error_number) || error_number == EISDIR ||
            (fstatat(root.get(), key.c_str(), &status, 0) == 0 && S_ISDIR(status.st_mode)))
            continue;
        const Error error = posix_error("delete", path_of(key), error_number);
        failures.push_back({key, error.code() == ErrorCode::kAccessDenied, error.is_retryable(), error.message()});
    }
    for (const auto &[directory, key] : touched)
        remove_empty_parents(root, key);
    return failures;
}

int64_t PosixStore::clock_ms(const CancelToken &cancel) {
    cancel.check();
    const FileHandle root = open_root();
    if (!root)
        return unix_time_ms(); // reading a clock must not create a mistyped directory
    const TemporaryFile temporary(root, temporary_name());
    const FileHandle file = open_at(root.get(), temporary.name(), O_WRONLY | O_CREAT | O_EXCL, kFileMode);
    if (!file)
        throw posix_error("create a temporary file in", root_, errno);
    // A written byte makes a network file system's server set the time, not this machine.
    write_all(file, as_view("t"), root_, cancel);
    sync_file(file, root_);
    return modified_ms(stat_of(file, root_));
}

} // namespace pgvigil
