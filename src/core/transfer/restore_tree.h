// The directories a restore writes into: the data directory and the tablespaces outside of it. Whatever path a
// repository names, nothing is created anywhere else (rules E7): paths are checked, walked component by component
// relative to an open directory, and no symbolic link is followed on the way.
//
// Modes are 0700 for directories and 0600 for files, or 0750 and 0640 with group access; a mode from the repository is
// never used.
// With TreeContent::kExisting the directories may have content, which stays until remove() is called for it: what may
// be there has been looked at before (transfer/restore_delta.h). Nothing but the tablespaces' own directories of server
// versions is touched outside of the data directory, and no link is followed to anything else.
// Threading: every member but the constructor and add_tablespace() may be called by several threads.
// Errors: kCorrupt for a path no backup holds; kConflict for a directory that is not empty; kBusy for a running server.
#pragma once

#include "storage/posix/posix_files.h"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

enum class TreeContent { kNone, kExisting };
enum class TreeEntryKind { kFile, kDirectory, kOther };

struct TreeEntry {
    std::string name;
    TreeEntryKind kind = TreeEntryKind::kFile;
};

class RestoreTree {
  public:
    // Opens the data directory, created (with parents) where it is missing. Throws unless it is empty or its content is
    // expected.
    RestoreTree(std::string data_directory, bool group_access, TreeContent content = TreeContent::kNone);

    // Makes pg_tblspc/<oid> a symbolic link to `location`, which is created where it is missing and must be empty;
    // with expected content it may have some if the link led there before.
    void add_tablespace(uint32_t oid, const std::string &location);
    // Whether `path` is such a link.
    [[nodiscard]] bool is_tablespace(std::string_view path) const { return locations_.count(path) != 0; }

    // Creates the directory `path`; no error when it is there.
    void make_directory(std::string_view path);
    // Opens `path` for writing, created where it is missing; its directory must be there.
    [[nodiscard]] FileHandle open_file(std::string_view path);
    // Opens `path` for reading and writing; an invalid handle when there is no such regular file.
    [[nodiscard]] FileHandle open_existing(std::string_view path);
    // What the directory `path` holds ("" = the data directory), by name; nothing when it is not there.
    [[nodiscard]] std::vector<TreeEntry> entries(std::string_view path);
    // Removes `path` with everything below it, without following links; returns how many files that were.
    uint64_t remove(std::string_view path);
    // Creates `path` with `content`.
    void write_file(std::string_view path, std::string_view content);
    // Gives `from` the name `to`, replacing what is there; both in one directory.
    void rename_file(std::string_view from, std::string_view to);
    // The content of a file of at most `limit` bytes; "" when it is not there.
    [[nodiscard]] std::string read_file(std::string_view path, uint64_t limit);
    [[nodiscard]] bool file_exists(std::string_view path);

    // Makes everything below the data directory and the tablespaces durable, with `threads` threads.
    void sync_all(unsigned threads, const CancelToken &cancel);
    void sync_path(std::string_view path);

    [[nodiscard]] const std::string &data_directory() const noexcept { return data_directory_; }
    [[nodiscard]] std::string absolute(std::string_view path) const;
    [[nodiscard]] mode_t file_mode() const noexcept { return group_access_ ? 0640 : 0600; }

  private:
    struct Place {
        std::shared_ptr<FileHandle> directory;
        std::string name;
    };
    // The directory that holds `path`'s last component.
    [[nodiscard]] Place place_of(std::string_view path);
    [[nodiscard]] std::shared_ptr<FileHandle> open_directory(std::string_view path);
    [[nodiscard]] mode_t directory_mode() const noexcept { return group_access_ ? 0750 : 0700; }
    [[nodiscard]] FileHandle prepare_root(const std::string &path, const char *what, bool may_have_content) const;
    void fix_mode(const FileHandle &handle, mode_t mode, std::string_view path) const;

    const std::string data_directory_;
    const bool group_access_;
    const bool existing_;
    std::shared_ptr<FileHandle> root_;
    std::map<std::string, std::string, std::less<>> locations_; // "pg_tblspc/<oid>" → absolute path
    std::mutex mutex_;
    std::map<std::string, std::shared_ptr<FileHandle>, std::less<>> open_; // directories, by path
};

// Throws kCorrupt unless `path` is relative, of sane length, and free of empty, "." and ".." components.
void check_restore_path(std::string_view path);

} // namespace pgvigil
