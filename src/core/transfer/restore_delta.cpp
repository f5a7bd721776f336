#include "transfer/restore_delta.h"

#include "base/crc32c.h"
#include "base/parallel.h"
#include "transfer/backup_reader.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr const char *kControl = "global/pg_control";
constexpr std::array<std::string_view, 7> kStartFiles = {"backup_label",     "tablespace_map", "backup_manifest",
                                                         "recovery.signal",  "standby.signal", "postmaster.opts",
                                                         "pgvigil.take_over"};

Error running(const std::string &directory) {
    return Error(ErrorCode::kBusy, fmt::format("directory \"{}\" belongs to a server that may be running", directory))
        .detail("It holds a postmaster.pid.")
        .hint("Stop the server. If it is certain that none is running, on this or another machine, remove the file.");
}

bool exists(const FileHandle &directory, const char *name) {
    return faccessat(directory.get(), name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

bool is_empty(const FileHandle &directory, const std::string &path) {
    return read_directory(directory, path).empty();
}

// The system identifier in a pg_control; nullopt when the file is not there or too short to hold one.
std::optional<uint64_t> identifier_in(const FileHandle &directory, const char *name, const std::string &path) {
    const FileHandle file = open_at(directory.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (!file && (errno == ENOENT || errno == ENOTDIR))
        return std::nullopt;
    if (!file)
        throw posix_error("open", path + "/" + name, errno);
    const CancelToken never;
    const Bytes bytes = read_at(file, 0, sizeof(uint64_t), path + "/" + name, never);
    return bytes.size() == sizeof(uint64_t) ? std::optional(load_le<uint64_t>(bytes.data())) : std::nullopt;
}

} // namespace

TreeContent check_delta_target(const std::string &data_directory, uint64_t system_identifier) {
    const FileHandle directory = open_at(AT_FDCWD, data_directory, O_RDONLY | O_DIRECTORY);
    if (!directory && errno == ENOENT)
        return TreeContent::kNone;
    if (!directory)
        throw posix_error("open directory", data_directory, errno);
    if (is_empty(directory, data_directory))
        return TreeContent::kNone;
    if (exists(directory, "postmaster.pid"))
        throw running(data_directory);
    auto found = identifier_in(directory, kControl, data_directory);
    if (!found && exists(directory, kControlTemporary)) {
        // What an interrupted restore left; one that was stopped while it wrote the file does not say more.
        found = identifier_in(directory, kControlTemporary, data_directory).value_or(system_identifier);
    }
    if (!found)
        throw Error(ErrorCode::kConflict, fmt::format("\"{}\" is no data directory", data_directory))
            .detail(fmt::format("It is not empty and holds no \"{}\".", kControl))
            .hint(
                "--delta removes what the backup does not hold: give it the data directory of a stopped server, or an "
                "empty one.");
    if (*found != system_identifier)
        throw Error(ErrorCode::kForeign, fmt::format("\"{}\" belongs to another cluster", data_directory))
            .detail(fmt::format("Its system identifier is {}, the backup's is {}.", *found, system_identifier))
            .hint("Restore into the directory of this cluster, or into an empty one.");
    return TreeContent::kExisting;
}

RestoreDelta::RestoreDelta(RestoreTree &tree, DeltaHashes &hashes, unsigned threads, const CancelToken &cancel)
    : tree_(tree), hashes_(hashes), threads_(threads), cancel_(cancel) {}

void RestoreDelta::begin(const std::vector<std::string_view> &directories) {
    if (tree_.file_exists(kControl)) {
        tree_.rename_file(kControl, kControlTemporary);
        tree_.sync_path(kControlTemporary);
        // From here on no server starts; one that did a moment ago gets its file back.
        if (tree_.file_exists("postmaster.pid")) {
            tree_.rename_file(kControlTemporary, kControl);
            throw running(tree_.data_directory());
        }
    }
    for (const TreeEntry &entry : tree_.entries(""))
        if (entry.kind != TreeEntryKind::kDirectory &&
            std::find(directories.begin(), directories.end(), entry.name) != directories.end())
            removed_files_ += tree_.remove(entry.name);
    removed_files_ += tree_.remove("pg_wal");
    for (const std::string_view name : kStartFiles)
        removed_files_ += tree_.remove(name);
}

void RestoreDelta::keep_equal(const std::vector<std::shared_ptr<RestoredFile>> &files) {
    parallel_for(files.size(), threads_, [&](size_t index) { compare(*files[index]); });
}

// False when the file ends before.
bool RestoreDelta::read(const FileHandle &handle, const RestoredFile &file, uint64_t offset,
                        std::span<std::byte> out) const {
    size_t done = 0;
    while (done < out.size()) {
        const ssize_t count =
            pread(handle.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            throw posix_error("read", tree_.absolute(file.path), errno);
        if (count == 0)
            return false;
        done += static_cast<size_t>(count);
    }
    return true;
}

// Where the backup has no bytes there are zeroes.
void RestoreDelta::clear(const FileHandle &handle, const RestoredFile &file, uint64_t from, uint64_t to) {
    Bytes buffer;
    while (from < to) {
        cancel_.check();
        buffer.resize(std::min<uint64_t>(kMaxExtentBytes, to - from));
        if (!read(handle, file, from, buffer))
            return;
        if (!all_zeroes(buffer)) {
            std::fill(buffer.begin(), buffer.end(), std::byte{0});
            if (pwrite(handle.get(), buffer.data(), buffer.size(), static_cast<off_t>(from)) !=
                static_cast<ssize_t>(buffer.size()))
                throw posix_error("write", tree_.absolute(file.path), errno);
        }
        from += buffer.size();
    }
}

void RestoreDelta::compare(RestoredFile &file) {
    cancel_.check();
    FileHandle handle = tree_.open_existing(file.path);
    if (!handle)
        return;
    const struct stat status = stat_of(handle, tree_.absolute(file.path));
    if (status.st_nlink > 1) {
        handle = FileHandle();
        (void)tree_.remove(file.path);
        return;
    }
    auto size = static_cast<uint64_t>(status.st_size);
    if (size > file.size) {
        if (ftruncate(handle.get(), static_cast<off_t>(file.size)) != 0)
            throw posix_error("truncate", tree_.absolute(file.path), errno);
        size = file.size;
    }
    Bytes buffer;
    uint64_t at = 0;
    for (FilePiece &piece : file.pieces) {
        clear(handle, file, at, std::min(size, piece.offset));
        at = piece.offset + piece.length;
        if ((!piece.hash && !hashes_.know(piece)) || at > size)
            continue;
        cancel_.check();
        buffer.resize(piece.length);
        if (!read(handle, file, piece.offset, buffer))
            continue;
        // The keyed hashes first (rules A4): a database user can make bytes that have the table's hash.
        const bool equal =
            hashes_.know(piece) ? hashes_.equal(piece, buffer) : piece.hash && content_hash(buffer) == *piece.hash;
        if (!equal)
            continue;
        piece.kept = true;
        piece.crc32c = crc32c(buffer);
        file.missing.fetch_sub(1);
        kept_bytes_ += piece.length;
    }
    clear(handle, file, at, size);
}

} // namespace pgvigil
