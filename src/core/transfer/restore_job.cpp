#include "transfer/restore_job.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "base/time.h"
#include "pgdata/backup_manifest.h"
#include "repo/writer_claim.h"
#include "transfer/restore_delta.h"
#include "transfer/restore_files.h"
#include "transfer/restore_prune.h"
#include "transfer/restore_wal.h"

#include <algorithm>
#include <array>
#include <fmt/core.h>
#include <set>

namespace pgvigil {

namespace {

constexpr uint64_t kMaxAutoConfBytes = 16 * kMiB;
constexpr std::string_view kControlFile = "global/pg_control";
constexpr std::string_view kAutoConf = "postgresql.auto.conf";
constexpr unsigned kVersionPerMajor = 10000;

// A server does not start without them; backups may leave out what is empty.
constexpr std::array<std::string_view, 12> kDirectories = {
    "global",      "pg_dynshmem", "pg_notify", "pg_replslot",           "pg_serial",  "pg_snapshots", "pg_stat_tmp",
    "pg_subtrans", "pg_tblspc",   "pg_wal",    "pg_wal/archive_status", "pg_twophase"};
bool in_manifest(std::string_view path) {
    return path.rfind("pg_wal/", 0) != 0 && path != kAutoConf;
}

// backup_label without the lines that make a server look for an incremental's parent.
std::string plain_label(std::string_view label) {
    std::string kept;
    for (std::string_view rest = label; !rest.empty();) {
        const size_t end = std::min(rest.find('\n'), rest.size() - 1);
        const std::string_view line = rest.substr(0, end + 1);
        if (line.rfind("INCREMENTAL FROM", 0) != 0)
            kept.append(line);
        rest.remove_prefix(line.size());
    }
    return kept;
}

class RestoreJob {
  public:
    RestoreJob(const std::vector<std::shared_ptr<Repository>> &repositories, const std::string &backup,
               const RestoreOptions &options, RestoreProgress &progress, LogSink &log, const CancelToken &cancel)
        : repositories_(repositories), options_(options), progress_(progress), log_(log), cancel_(cancel),
          sources_(repositories, backup, log, cancel), commit_(sources_.commit()) {}

    void run() {
        check_commit();
        const auto locations =
            tablespace_locations(commit_.tablespaces, options_.tablespace_map, options_.data_directory);
        const TreeContent content = options_.delta
                                        ? check_delta_target(options_.data_directory, commit_.system_identifier)
                                        : TreeContent::kNone;
        if (content == TreeContent::kExisting)
            sources_.check_packs(cancel_);
        RestoreTree tree(options_.data_directory, commit_.group_access, content);
        DeltaHashes hashes(sources_, log_, cancel_);
        RestoreDelta delta(tree, hashes, options_.threads, cancel_);
        if (content == TreeContent::kExisting)
            delta.begin({kDirectories.begin(), kDirectories.end()});
        for (const std::string_view directory : kDirectories)
            tree.make_directory(directory);
        // Tells a later restore with --delta whose directory this is, should this one be interrupted.
        if (content == TreeContent::kNone)
            tree.write_file(kControlTemporary, as_text(commit_.control_file));
        for (const auto &[oid, location] : locations)
            tree.add_tablespace(oid, location);

        std::string manifest;
        const FileHandle manifest_file = tree.open_file("backup_manifest");
        ManifestWriter writer(commit_.server_version / kVersionPerMajor, commit_.system_identifier,
                              [&](ByteView bytes) { append_manifest(manifest, bytes, manifest_file); });
        manifest_ = &writer;

        restore_files(tree, locations, content == TreeContent::kExisting ? &delta : nullptr);
        progress_.phase = RestorePhase::kWal;
        restore_wal(repositories_, commit_, tree, options_.threads, log_, cancel_);
        write_small_files(tree, locations);
        for (const WalRange &range : commit_.wal_ranges)
            writer.add_wal_range(range.timeline, range.start, range.end);
        writer.finish();
        append_manifest(manifest, {}, manifest_file, true);
        finish(tree);
    }

  private:
    static constexpr size_t kManifestBuffer = 256 * kKiB;

    void append_manifest(std::string &buffer, ByteView bytes, const FileHandle &file, bool flush = false) {
        buffer.append(as_text(bytes));
        if (!flush && buffer.size() < kManifestBuffer)
            return;
        write_all(file, as_view(buffer), "backup_manifest", cancel_);
        buffer.clear();
    }

    void check_commit() const {
        uint64_t system_identifier = 0;
        if (commit_.control_file.size() >= sizeof system_identifier)
            system_identifier = load_le<uint64_t>(commit_.control_file.data());
        if (system_identifier != commit_.system_identifier)
            throw Error(ErrorCode::kCorrupt,
                        fmt::format("the commit document of \"{}\" has a wrong pg_control", commit_.id))
                .detail(fmt::format("Its system identifier is {}; {} was expected.", system_identifier,
                                    commit_.system_identifier));
        if (commit_.backup_label.empty())
            throw Error(ErrorCode::kCorrupt,
                        fmt::format("the commit document of \"{}\" has no backup_label", commit_.id));
    }

    // Removes from an existing directory what the backup does not hold.
    RestorePrune make_prune(RestoreTree &tree) const {
        std::set<std::string, std::less<>> spared{"backup_manifest", kControlTemporary};
        spared.insert(kDirectories.begin(), kDirectories.end());
        return {tree, std::move(spared)};
    }

    void restore_files(RestoreTree &tree, const std::map<uint32_t, std::string> &locations, RestoreDelta *delta) {
        progress_.phase = RestorePhase::kFiles;
        progress_.bytes_total = commit_.totals.logical_bytes;
        progress_.files_total = commit_.totals.files;
        RestoreFiles files(
            sources_, tree, locations, options_, progress_,
            [this](const RestoredFile &file) {
                add_to_manifest(file.path, file.size, file.mtime_ms, file_crc32c(file));
            },
            cancel_);
        if (delta == nullptr) {
            files.run();
            return;
        }
        RestorePrune prune = make_prune(tree);
        files.use_delta(*delta, prune);
        files.run();
        progress_.files_removed = delta->removed_files() + prune.removed_files();
    }

    void add_to_manifest(const std::string &path, uint64_t size, int64_t mtime_ms, uint32_t crc) {
        if (!in_manifest(path))
            return;
        std::array<std::byte, 4> bytes{};
        for (size_t i = 0; i < bytes.size(); ++i)
            bytes[i] = static_cast<std::byte>((crc >> (8 * i)) & 0xff);
        manifest_->add_file(path, size, mtime_ms, bytes);
    }

    void write_small(RestoreTree &tree, const std::string &path, std::string_view content) {
        tree.write_file(path, content);
        add_to_manifest(path, content.size(), unix_time_ms(), crc32c(as_view(content)));
    }

    void write_small_files(RestoreTree &tree, const std::map<uint32_t, std::string> &locations) {
        write_small(tree, "backup_label", plain_label(commit_.backup_label));
        std::string map;
        for (const auto &[oid, location] : locations)
            map += tablespace_map_line(oid, location);
        if (!map.empty())
            write_small(tree, "tablespace_map", map);
        const std::string before = tree.read_file(kAutoConf, kMaxAutoConfBytes);
        tree.write_file(kAutoConf, with_recovery_settings(before, options_.settings));
        tree.write_file(options_.settings.standby ? "standby.signal" : "recovery.signal", "");
        if (options_.take_over)
            write_small(tree, std::string(kTakeOverFileName), *options_.take_over + "\n");
        const ByteView control = commit_.control_file;
        add_to_manifest(std::string(kControlFile), control.size(), unix_time_ms(), crc32c(control));
    }

    void finish(RestoreTree &tree) {
        progress_.phase = RestorePhase::kSyncing;
        if (options_.sync)
            tree.sync_all(options_.threads, cancel_);
        tree.write_file(kControlTemporary, as_text(commit_.control_file));
        if (options_.sync)
            tree.sync_path(kControlTemporary);
        tree.rename_file(kControlTemporary, kControlFile);
        if (options_.sync)
            tree.sync_path(kControlFile);
        progress_.phase = RestorePhase::kDone;
    }

    const std::vector<std::shared_ptr<Repository>> &repositories_;
    const RestoreOptions &options_;
    RestoreProgress &progress_;
    LogSink &log_;
    const CancelToken &cancel_;
    RestoreSources sources_;
    const CommitDocument &commit_;
    ManifestWriter *manifest_ = nullptr;
};

} // namespace

std::map<uint32_t, std::string> tablespace_locations(const std::vector<Tablespace> &tablespaces,
                                                     const std::map<std::string, std::string> &mapping,
                                                     const std::string &data_directory) {
    std::map<uint32_t, std::string> locations;
    std::set<std::string> used;
    std::set<std::string> distinct;
    for (const Tablespace &tablespace : tablespaces) {
        if (tablespace.path.empty())
            continue;
        const auto mapped = mapping.find(tablespace.path);
        const std::string location = mapped == mapping.end() ? tablespace.path : mapped->second;
        if (mapped != mapping.end())
            used.insert(mapped->first);
        if (location.front() != '/')
            throw Error(ErrorCode::kCorrupt, fmt::format("tablespace {} has no absolute location", tablespace.oid))
                .detail(fmt::format("The backup says \"{}\".", location));
        check_restore_path(std::string_view(location).substr(1));
        const bool inside = (location + "/").rfind(data_directory + "/", 0) == 0;
        if (inside || !distinct.insert(location).second)
            throw Error(ErrorCode::kInvalidArgument,
                        fmt::format("tablespace {} cannot be restored into \"{}\"", tablespace.oid, location))
                .detail(inside ? "That lies inside of the data directory." : "Another tablespace goes there.")
                .hint("Give --tablespace-map OLD=NEW.");
        locations[tablespace.oid] = location;
    }
    for (const auto &[from, to] : mapping)
        if (used.count(from) == 0)
            throw Error(ErrorCode::kInvalidArgument, fmt::format("the backup has no tablespace at \"{}\"", from))
                .hint("\"pgvigil plan\" shows the tablespaces of a backup.");
    return locations;
}

void run_restore(const std::vector<std::shared_ptr<Repository>> &repositories, const std::string &backup,
                 const RestoreOptions &options, RestoreProgress &progress, LogSink &log, const CancelToken &cancel) {
    RestoreJob(repositories, backup, options, progress, log, cancel).run();
}

} // namespace pgvigil
