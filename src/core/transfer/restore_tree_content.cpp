// What a directory held before it was restored into (--delta): looked at, opened, removed.
#include "transfer/restore_tree.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr int kMaxDepth = 64;

struct CloseDirectory {
    void operator()(DIR *open) const noexcept { closedir(open); }
};

TreeEntryKind kind_of(const FileHandle &directory, const dirent &entry, const std::string &path) {
    if (entry.d_type == DT_REG)
        return TreeEntryKind::kFile;
    if (entry.d_type == DT_DIR)
        return TreeEntryKind::kDirectory;
    if (entry.d_type != DT_UNKNOWN)
        return TreeEntryKind::kOther;
    struct stat status{};
    if (fstatat(directory.get(), entry.d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        throw posix_error("stat", path + "/" + entry.d_name, errno);
    return S_ISREG(status.st_mode)   ? TreeEntryKind::kFile
           : S_ISDIR(status.st_mode) ? TreeEntryKind::kDirectory
                                     : TreeEntryKind::kOther;
}

std::vector<TreeEntry> read_entries(const FileHandle &directory, const std::string &path) {
    const int copy = openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const std::unique_ptr<DIR, CloseDirectory> open(copy < 0 ? nullptr : fdopendir(copy));
    if (!open)
        throw posix_error("read directory", path, errno);
    std::vector<TreeEntry> entries;
    while (const dirent *entry = readdir(open.get())) { // NOLINT(concurrency-mt-unsafe): a stream of its own
        std::string name = entry->d_name;
        if (name != "." && name != "..")
            entries.push_back({std::move(name), kind_of(directory, *entry, path)});
    }
    std::sort(entries.begin(), entries.end(), [](const TreeEntry &a, const TreeEntry &b) { return a.name < b.name; });
    return entries;
}

uint64_t remove_entry(const FileHandle &directory, const TreeEntry &entry, const std::string &path, int depth) {
    uint64_t files = 1;
    if (entry.kind == TreeEntryKind::kDirectory) {
        if (depth == kMaxDepth)
            throw Error(ErrorCode::kInvalidArgument, "\"" + path + "\" is nested too deeply to be removed");
        const FileHandle below = open_at(directory.get(), entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (!below)
            throw posix_error("open directory", path, errno);
        files = 0;
        for (const TreeEntry &inner : read_entries(below, path))
            files += remove_entry(below, inner, path + "/" + inner.name, depth + 1);
    }
    const int flags = entry.kind == TreeEntryKind::kDirectory ? AT_REMOVEDIR : 0;
    if (unlinkat(directory.get(), entry.name.c_str(), flags) != 0 && errno != ENOENT)
        throw posix_error("remove", path, errno);
    return files;
}

} // namespace

FileHandle RestoreTree::open_existing(std::string_view path) {
    const Place place = place_of(path);
    FileHandle file = open_at(place.directory->get(), place.name, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    if (!file && (errno == EACCES || errno == EPERM)) {
        // A file of ours whose mode was taken away.
        if (fchmodat(place.directory->get(), place.name.c_str(), file_mode(), 0) == 0)
            file = open_at(place.directory->get(), place.name, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    }
    if (!file && errno == ENOENT)
        return {};
    if (!file)
        throw posix_error("open", absolute(path), errno);
    if (!S_ISREG(stat_of(file, absolute(path)).st_mode))
        return {};
    fix_mode(file, file_mode(), path);
    return file;
}

std::vector<TreeEntry> RestoreTree::entries(std::string_view path) {
    if (path.empty())
        return read_entries(*root_, data_directory_);
    const Place place = place_of(path);
    if (!is_tablespace(path) && faccessat(place.directory->get(), place.name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        return {};
    return read_entries(*open_directory(path), absolute(path));
}

uint64_t RestoreTree::remove(std::string_view path) {
    const Place place = place_of(path);
    struct stat status{};
    if (fstatat(place.directory->get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            return 0;
        throw posix_error("stat", absolute(path), errno);
    }
    {
        // Open handles of what goes would lead to directories without a name.
        const std::lock_guard lock(mutex_);
        const std::string below = std::string(path) + "/";
        std::erase_if(open_, [&](const auto &item) { return item.first == path || item.first.rfind(below, 0) == 0; });
    }
    const auto kind = S_ISDIR(status.st_mode) ? TreeEntryKind::kDirectory : TreeEntryKind::kFile;
    return remove_entry(*place.directory, {place.name, kind}, absolute(path), 0);
}

} // namespace pgvigil
