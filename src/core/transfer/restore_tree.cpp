#include "transfer/restore_tree.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr size_t kMaxPathBytes = 1024; // PostgreSQL's MAXPGPATH
constexpr size_t kMaxComponentBytes = 255;
constexpr size_t kMaxOpenDirectories = 64;

std::string parent_of(const std::string &path) {
    const size_t slash = path.find_last_of('/');
    return slash == 0 ? "/" : path.substr(0, slash);
}

void make_parents(const std::string &path, mode_t mode) {
    if (path == "/" || mkdir(path.c_str(), mode) == 0 || errno == EEXIST)
        return;
    if (errno != ENOENT)
        throw posix_error("create directory", path, errno);
    make_parents(parent_of(path), mode);
    if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
        throw posix_error("create directory", path, errno);
}

struct CloseDirectory {
    void operator()(DIR *open) const noexcept { closedir(open); }
};

// Where a symbolic link leads; "" when it is none.
std::string link_target(const FileHandle &directory, const std::string &name) {
    std::string target(kMaxPathBytes, '\0');
    const ssize_t length = readlinkat(directory.get(), name.c_str(), target.data(), target.size());
    target.resize(length < 0 ? 0 : static_cast<size_t>(length));
    return target;
}

// The first name in the directory other than "." and ".."; "" when it is empty.
std::string first_entry(const FileHandle &directory, const std::string &path) {
    const int copy = openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const std::unique_ptr<DIR, CloseDirectory> open(copy < 0 ? nullptr : fdopendir(copy));
    if (!open)
        throw posix_error("read directory", path, errno);
    while (const dirent *entry = readdir(open.get())) { // NOLINT(concurrency-mt-unsafe): a stream of its own
        const std::string name = entry->d_name;
        if (name != "." && name != "..")
            return name;
    }
    return {};
}

[[noreturn]] void refuse_content(const FileHandle &directory, const std::string &path, const char *what,
                                 const std::string &entry) {
    if (faccessat(directory.get(), "postmaster.pid", F_OK, 0) == 0)
        throw Error(ErrorCode::kBusy, fmt::format("{} \"{}\" belongs to a server that may be running", what, path))
            .detail("It holds a postmaster.pid.")
            .hint("Stop the server, and restore into an empty directory.");
    throw Error(ErrorCode::kConflict, fmt::format("{} \"{}\" is not empty", what, path))
        .detail(fmt::format("It holds \"{}\".", entry))
        .hint("Restore into an empty or a new directory, or use --delta to write over an earlier state of the same "
              "cluster.");
}

} // namespace

void check_restore_path(std::string_view path) {
    bool good = !path.empty() && path.size() < kMaxPathBytes && path.find('\0') == std::string_view::npos;
    for (std::string_view rest = path; good; rest.remove_prefix(rest.find('/') + 1)) {
        const std::string_view component = rest.substr(0, rest.find('/'));
        good = !component.empty() && component != "." && component != ".." && component.size() <= kMaxComponentBytes;
        if (component.size() == rest.size())
            break;
    }
    if (!good)
        throw Error(ErrorCode::kCorrupt, fmt::format("the backup names an impossible file \"{}\"", path.substr(0, 200)))
            .detail("Paths must stay within the data directory.");
}

RestoreTree::RestoreTree(std::string data_directory, bool group_access, TreeContent content)
    : data_directory_(std::move(data_directory)), group_access_(group_access),
      existing_(content == TreeContent::kExisting),
      root_(std::make_shared<FileHandle>(prepare_root(data_directory_, "directory", existing_))) {}

FileHandle RestoreTree::prepare_root(const std::string &path, const char *what, bool may_have_content) const {
    make_parents(path, directory_mode());
    FileHandle root = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
    if (!root)
        throw posix_error("open directory", path, errno);
    const std::string entry = may_have_content ? "" : first_entry(root, path);
    if (!entry.empty())
        refuse_content(root, path, what, entry);
    if (fchmod(root.get(), directory_mode()) != 0)
        throw posix_error("set the mode of", path, errno);
    return root;
}

void RestoreTree::add_tablespace(uint32_t oid, const std::string &location) {
    const std::string link = fmt::format("pg_tblspc/{}", oid);
    make_directory("pg_tblspc");
    const Place place = place_of(link);
    const bool linked = existing_ && link_target(*place.directory, place.name) == location;
    auto root = std::make_shared<FileHandle>(prepare_root(location, "tablespace directory", linked));
    if (existing_ && !linked)
        (void)remove(link);
    if (!linked && symlinkat(location.c_str(), place.directory->get(), place.name.c_str()) != 0)
        throw posix_error("create the symbolic link", absolute(link), errno);
    locations_.emplace(link, location);
    const std::lock_guard lock(mutex_);
    open_.emplace(link, std::move(root));
}

std::string RestoreTree::absolute(std::string_view path) const {
    return data_directory_ + "/" + std::string(path);
}

std::shared_ptr<FileHandle> RestoreTree::open_directory(std::string_view path) {
    if (path.empty())
        return root_;
    {
        const std::lock_guard lock(mutex_);
        const auto known = open_.find(path);
        if (known != open_.end())
            return known->second;
    }
    const size_t slash = path.find_last_of('/');
    const std::string_view above = slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
    const auto parent = open_directory(above);
    const std::string name(slash == std::string_view::npos ? path : path.substr(slash + 1));
    auto directory = std::make_shared<FileHandle>(open_at(parent->get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (!*directory)
        throw posix_error("open directory", absolute(path), errno);
    const std::lock_guard lock(mutex_);
    if (open_.size() >= kMaxOpenDirectories + locations_.size())
        std::erase_if(open_, [&](const auto &item) { return locations_.count(item.first) == 0; });
    open_.emplace(path, directory);
    return directory;
}

RestoreTree::Place RestoreTree::place_of(std::string_view path) {
    check_restore_path(path);
    const size_t slash = path.find_last_of('/');
    if (slash == std::string_view::npos)
        return {root_, std::string(path)};
    return {open_directory(path.substr(0, slash)), std::string(path.substr(slash + 1))};
}

void RestoreTree::make_directory(std::string_view path) {
    if (locations_.count(path) != 0)
        return;
    const Place place = place_of(path);
    if (mkdirat(place.directory->get(), place.name.c_str(), directory_mode()) != 0) {
        if (errno != EEXIST)
            throw posix_error("create directory", absolute(path), errno);
        // Something else of that name is no directory of ours.
        const auto directory = open_directory(path);
        if (existing_)
            fix_mode(*directory, directory_mode(), path);
        return;
    }
    // The process's umask may have taken the group's bits.
    if (group_access_ && fchmod(open_directory(path)->get(), directory_mode()) != 0)
        throw posix_error("set the mode of", absolute(path), errno);
}

FileHandle RestoreTree::open_file(std::string_view path) {
    const Place place = place_of(path);
    FileHandle file = open_at(place.directory->get(), place.name, O_WRONLY | O_CREAT | O_NOFOLLOW, file_mode());
    if (!file)
        throw posix_error("create", absolute(path), errno);
    if (existing_)
        fix_mode(file, file_mode(), path);
    else if (group_access_ && fchmod(file.get(), file_mode()) != 0)
        throw posix_error("set the mode of", absolute(path), errno);
    return file;
}

void RestoreTree::fix_mode(const FileHandle &handle, mode_t mode, std::string_view path) const {
    const std::string shown = absolute(path);
    if ((stat_of(handle, shown).st_mode & 07777) != mode && fchmod(handle.get(), mode) != 0)
        throw posix_error("set the mode of", shown, errno);
}

void RestoreTree::write_file(std::string_view path, std::string_view content) {
    FileHandle file = open_file(path);
    if (ftruncate(file.get(), 0) != 0)
        throw posix_error("write", absolute(path), errno);
    const CancelToken never;
    write_all(file, as_view(content), absolute(path), never);
    file.close_checked(absolute(path));
}

void RestoreTree::rename_file(std::string_view from, std::string_view to) {
    const Place source = place_of(from);
    const Place target = place_of(to);
    if (renameat(source.directory->get(), source.name.c_str(), target.directory->get(), target.name.c_str()) != 0)
        throw posix_error("create", absolute(to), errno);
}

std::string RestoreTree::read_file(std::string_view path, uint64_t limit) {
    const Place place = place_of(path);
    const FileHandle file = open_at(place.directory->get(), place.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (!file && errno == ENOENT)
        return {};
    if (!file)
        throw posix_error("open", absolute(path), errno);
    const CancelToken never;
    const Bytes content = read_at(file, 0, limit + 1, absolute(path), never);
    if (content.size() > limit)
        throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" is too large", absolute(path)))
            .detail(fmt::format("At most {} bytes are expected.", limit));
    return std::string(as_text(content));
}

bool RestoreTree::file_exists(std::string_view path) {
    const Place place = place_of(path);
    return faccessat(place.directory->get(), place.name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

} // namespace pgvigil
