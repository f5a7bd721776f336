// Walks a data directory in the order of the file table and tells what a backup takes of it.
//
// Guarantees: entries come in ascending order of compare_paths(), each directory before its contents. Memory is bounded
// by the names of one directory per level. What vanishes meanwhile is passed over; special files and symbolic links
// outside of pg_tblspc are passed over with a warning; what cannot be read is an error that names it.
// Threading: belongs to one thread.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "repo/file_table.h"
#include "storage/posix/posix_files.h"
#include "transfer/backup_rules.h"
#include "transfer/backup_writer.h"

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace pgvigil {

struct ScannedFile {
    std::string path; // relative to the data directory
    FileKind kind = FileKind::kRegular;
    uint32_t mode = 0600;
    uint64_t size = 0; // bytes, as seen by stat
    int64_t mtime_ms = 0;
};

class BackupScan {
  public:
    using Visit = std::function<void(ScannedFile &&file)>;
    // `source` and `log` must outlive the scan.
    BackupScan(const BackupSource &source, LogSink &log);

    // May be called again, as for an estimate before the real thing.
    void run(const Visit &visit, const CancelToken &cancel);
    [[nodiscard]] uint32_t tablespaces_seen() const noexcept { return tablespaces_seen_; }

  private:
    struct Names;
    struct Walk {
        const Visit &visit;
        const CancelToken &cancel;
    };
    void scan_directory(const FileHandle &directory, const std::string &path, const Walk &walk);
    void scan_entry(const FileHandle &parent, const std::string &path, std::string_view name, DirectoryRole role,
                    const Walk &walk);
    void scan_subdirectory(const FileHandle &parent, const std::string &path, const std::string &name,
                           const struct stat &status, DirectoryRole role, const Walk &walk);
    void scan_tablespace(const FileHandle &parent, const std::string &path, const std::string &name, bool in_place,
                         const struct stat &status, const Walk &walk);
    void enter(const FileHandle &parent, const std::string &path, const std::string &name, const Walk &walk);
    void leave_wal_out(const Walk &walk);
    [[nodiscard]] Names read_names(const FileHandle &directory, const std::string &path, DirectoryRole role) const;
    [[nodiscard]] bool is_tablespace_of_backup(std::string_view name) const;
    void visit_directory(const std::string &path, const struct stat &status, const Walk &walk) const;
    void find_tablespaces_inside();

    const BackupSource &source_;
    LogSink &log_;
    uint32_t tablespaces_seen_ = 0;
    // Tablespaces by device and inode: one that lies inside of the data directory is not taken twice.
    std::set<std::pair<dev_t, ino_t>> tablespace_directories_;
};

} // namespace pgvigil
