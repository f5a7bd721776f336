#include "transfer/backup_scan.h"

#include "base/error.h"
#include "pgdata/relation_path.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr uint32_t kPermissionBits = 07777;

std::string join(const std::string &path, std::string_view name) {
    return path.empty() ? std::string(name) : fmt::format("{}/{}", path, name);
}

// Open directories are read through a handle of their own: closedir() closes it.
struct CloseDirectory {
    void operator()(DIR *directory) const noexcept { closedir(directory); }
};

} // namespace

// The names in a directory in one piece of memory: a database may have a million files.
struct BackupScan::Names {
    std::string text;
    std::vector<uint32_t> starts; // sorted by name after sort()

    void add(std::string_view name) {
        starts.push_back(static_cast<uint32_t>(text.size()));
        text.append(name);
        text.push_back('\0');
    }
    [[nodiscard]] const char *at(size_t i) const noexcept { return text.data() + starts[i]; }
    void sort() {
        std::sort(starts.begin(), starts.end(), [this](uint32_t a, uint32_t b) {
            return std::strcmp(text.data() + a, text.data() + b) < 0; // by unsigned bytes
        });
    }
};

BackupScan::BackupScan(const BackupSource &source, LogSink &log) : source_(source), log_(log) {}

void BackupScan::run(const Visit &visit, const CancelToken &cancel) {
    const Walk walk{visit, cancel};
    tablespaces_seen_ = 0;
    find_tablespaces_inside();
    const FileHandle root = open_at(AT_FDCWD, source_.data_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!root)
        throw system_error(fmt::format("could not open directory \"{}\"", source_.data_directory), errno);
    scan_directory(root, {}, walk);
}

void BackupScan::find_tablespaces_inside() {
    tablespace_directories_.clear();
    for (const Tablespace &tablespace : source_.tablespaces) {
        struct stat status{};
        if (!tablespace.path.empty() && stat(tablespace.path.c_str(), &status) == 0)
            tablespace_directories_.emplace(status.st_dev, status.st_ino);
    }
}

void BackupScan::visit_directory(const std::string &path, const struct stat &status, const Walk &walk) const {
    ScannedFile entry;
    entry.path = path;
    entry.kind = FileKind::kDirectory;
    // What stands for a directory as a symbolic link is restored as a directory.
    entry.mode = S_ISDIR(status.st_mode) ? status.st_mode & kPermissionBits : (source_.group_access ? 0750 : 0700);
    entry.mtime_ms = modified_ms(status);
    walk.visit(std::move(entry));
}

BackupScan::Names BackupScan::read_names(const FileHandle &directory, const std::string &path,
                                         DirectoryRole role) const {
    Names names;
    const int duplicate = fcntl(directory.get(), F_DUPFD_CLOEXEC, 0);
    const std::unique_ptr<DIR, CloseDirectory> stream(duplicate < 0 ? nullptr : fdopendir(duplicate));
    if (stream == nullptr) {
        const int error_number = errno;
        if (duplicate >= 0)
            close(duplicate);
        throw system_error(fmt::format("could not read directory \"{}\"", path), error_number);
    }
    std::vector<uint32_t> unlogged;
    for (;;) {
        errno = 0;
        const dirent *const entry = readdir(stream.get()); // NOLINT(concurrency-mt-unsafe): a stream of its own
        if (entry == nullptr) {
            if (errno != 0)
                throw system_error(fmt::format("could not read directory \"{}\"", path), errno);
            break;
        }
        const std::string_view name = entry->d_name;
        if (name == "." || name == ".." || is_left_out(name, role))
            continue;
        if (looks_for_unlogged(role, source_.server_major_version))
            if (const auto relation = parse_relation_file_name(name); relation && relation->fork == RelationFork::kInit)
                unlogged.push_back(relation->number);
        names.add(name);
    }
    std::sort(unlogged.begin(), unlogged.end());
    if (!unlogged.empty())
        std::erase_if(names.starts, [&](uint32_t start) {
            const auto relation = parse_relation_file_name(names.text.data() + start);
            return relation && relation->fork != RelationFork::kInit &&
                   std::binary_search(unlogged.begin(), unlogged.end(), relation->number);
        });
    names.sort();
    return names;
}

void BackupScan::scan_directory(const FileHandle &directory, const std::string &path, const Walk &walk) {
    const DirectoryRole role = directory_role(path, source_.tablespace_version_directory);
    const Names names = read_names(directory, path.empty() ? source_.data_directory : path, role);
    for (size_t i = 0; i < names.starts.size(); ++i) {
        walk.cancel.check();
        scan_entry(directory, path, names.at(i), role, walk);
    }
}

void BackupScan::scan_entry(const FileHandle &parent, const std::string &path, std::string_view name_view,
                            DirectoryRole role, const Walk &walk) {
    const std::string name(name_view);
    const std::string full = join(path, name);
    struct stat status{};
    if (fstatat(parent.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            return;
        throw system_error(fmt::format("could not stat \"{}\"", full), errno);
    }
    const bool is_link = S_ISLNK(status.st_mode);
    if (role == DirectoryRole::kTablespaces && (is_link || S_ISDIR(status.st_mode))) {
        scan_tablespace(parent, full, name, !is_link, status, walk);
    } else if (S_ISDIR(status.st_mode) || (is_link && (is_kept_empty(name) || full == "pg_wal"))) {
        scan_subdirectory(parent, full, name, status, role, walk);
    } else if (S_ISREG(status.st_mode)) {
        walk.visit({full, FileKind::kRegular, static_cast<uint32_t>(status.st_mode & kPermissionBits),
                    static_cast<uint64_t>(status.st_size), modified_ms(status)});
    } else {
        log_.emit(LogLevel::kWarning, fmt::format("skipping special file or symbolic link \"{}\"", full), {});
    }
}

void BackupScan::scan_subdirectory(const FileHandle &parent, const std::string &path, const std::string &name,
                                   const struct stat &status, DirectoryRole role, const Walk &walk) {
    visit_directory(path, status, walk);
    if (role == DirectoryRole::kRoot && name == "pg_wal") {
        leave_wal_out(walk);
        return;
    }
    if (is_kept_empty(name) || tablespace_directories_.contains({status.st_dev, status.st_ino}))
        return;
    enter(parent, path, name, walk);
}

// The directories that PostgreSQL expects in pg_wal; its files come from the archive.
void BackupScan::leave_wal_out(const Walk &walk) {
    const auto record = [&](const char *path) {
        walk.visit({path, FileKind::kDirectory, source_.group_access ? 0750U : 0700U, 0, 0});
    };
    record("pg_wal/archive_status");
    if (source_.server_major_version >= 17)
        record("pg_wal/summaries");
}

bool BackupScan::is_tablespace_of_backup(std::string_view name) const {
    return std::any_of(source_.tablespaces.begin(), source_.tablespaces.end(),
                       [&](const Tablespace &tablespace) { return std::to_string(tablespace.oid) == name; });
}

// Of a tablespace only this version's directory is taken. One that was made after the backup's start is not in its
// list: replay makes it again.
void BackupScan::scan_tablespace(const FileHandle &parent, const std::string &path, const std::string &name,
                                 bool in_place, const struct stat &status, const Walk &walk) {
    if (in_place)
        visit_directory(path, status, walk);
    else if (!is_tablespace_of_backup(name))
        return;
    ++tablespaces_seen_;
    const std::string below = name + "/" + source_.tablespace_version_directory;
    const std::string full = join(path, source_.tablespace_version_directory);
    struct stat version{};
    if (fstatat(parent.get(), below.c_str(), &version, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            return;
        throw system_error(fmt::format("could not stat \"{}\"", full), errno);
    }
    if (!S_ISDIR(version.st_mode))
        return;
    visit_directory(full, version, walk);
    enter(parent, full, below, walk);
}

void BackupScan::enter(const FileHandle &parent, const std::string &path, const std::string &name, const Walk &walk) {
    const FileHandle directory = open_at(parent.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory) {
        scan_directory(directory, path, walk);
        return;
    }
    if (errno != ENOENT)
        throw system_error(fmt::format("could not open directory \"{}\"", path), errno);
}

} // namespace pgvigil
