// How a directory tree is listed in the order of its keys, page by page, reading only the directories that a page
// touches.

#include "storage/object_key.h"
#include "storage/posix/posix_store.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>

namespace pgvigil {

namespace {

// Keys below a directory sort as if its name ended in a slash: "a-b" comes before "a/b", though "a" before "a-b".
bool sorts_before(const DirectoryEntry &one, const DirectoryEntry &other) {
    const auto at = [](const DirectoryEntry &entry, size_t index) -> int {
        if (index < entry.name.size())
            return static_cast<unsigned char>(entry.name[index]);
        return index == entry.name.size() && entry.kind == EntryKind::kDirectory ? '/' : -1;
    };
    const size_t common = std::min(one.name.size(), other.name.size());
    const int order = one.name.compare(0, common, other.name, 0, common);
    if (order != 0)
        return order < 0;
    return at(one, common) < at(other, common);
}

FileHandle open_directory(const FileHandle &parent, const std::string &name, const std::string &path) {
    FileHandle directory = open_at(parent.get(), name, O_RDONLY | O_DIRECTORY);
    if (!directory && errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG)
        throw posix_error("open directory", path, errno);
    return directory;
}

} // namespace

bool PosixStore::has_object(const FileHandle &directory, const std::string &prefix, const CancelToken &cancel) const {
    cancel.check();
    const std::vector<DirectoryEntry> entries = read_directory(directory, path_of(prefix));
    for (const DirectoryEntry &entry : entries)
        if (entry.kind == EntryKind::kFile)
            return true;
    for (const DirectoryEntry &entry : entries) {
        const std::string below = prefix + entry.name + "/";
        const FileHandle child = open_directory(directory, entry.name, path_of(below));
        if (child && has_object(child, below, cancel))
            return true;
    }
    return false;
}

bool PosixStore::list_entry(const FileHandle &directory, const std::string &prefix, const DirectoryEntry &entry,
                            PageBuilder &page, const CancelToken &cancel) const {
    const std::string key = prefix + entry.name;
    if (entry.kind == EntryKind::kFile) {
        if (!page.wants(key))
            return true;
        struct stat status = {};
        if (fstatat(directory.get(), entry.name.c_str(), &status, 0) != 0) {
            if (errno == ENOENT)
                return true; // deleted meanwhile
            throw posix_error("stat", path_of(key), errno);
        }
        return page.add_object({key, static_cast<uint64_t>(status.st_size), modified_ms(status)});
    }
    const std::string below = key + "/";
    const bool folded = !page.folded_directory(below).empty();
    if (folded ? !page.wants(below) : !page.wants_below(below))
        return true;
    const FileHandle child = open_directory(directory, entry.name, path_of(below));
    if (!child)
        return true;
    if (!folded)
        return list_below(child, below, page, cancel);
    // Directories without objects do not exist in an object store.
    return !has_object(child, below, cancel) || page.add_directory(below);
}

bool PosixStore::list_below(const FileHandle &directory, const std::string &prefix, PageBuilder &page,
                            const CancelToken &cancel) const {
    cancel.check();
    std::vector<DirectoryEntry> entries = read_directory(directory, path_of(prefix));
    std::sort(entries.begin(), entries.end(), sorts_before);
    return std::all_of(entries.begin(), entries.end(),
                       [&](const DirectoryEntry &entry) { return list_entry(directory, prefix, entry, page, cancel); });
}

ListPage PosixStore::list(const ListRequest &request, const CancelToken &cancel) {
    cancel.check();
    PageBuilder page(request);
    const FileHandle root = open_root();
    if (!root)
        return page.take();
    // Only what lies below the prefix's own directory can match.
    const size_t slash = request.prefix.rfind('/');
    const std::string base(slash == std::string_view::npos ? "" : request.prefix.substr(0, slash + 1));
    if (base.empty()) {
        list_below(root, base, page, cancel);
        return page.take();
    }
    check_key(base.substr(0, slash));
    const FileHandle directory = open_directory(root, base, path_of(base));
    if (directory)
        list_below(directory, base, page, cancel);
    return page.take();
}

} // namespace pgvigil
