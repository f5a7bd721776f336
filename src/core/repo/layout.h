// Where things stand in a repository: every key is made here and nowhere else. See docs/repository-format.md.
#pragma once

#include "base/lsn.h"
#include "base/wal_name.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgvigil {

inline constexpr std::string_view kRepositoryDocumentKey = "pgvigil.json";

class ClusterLayout {
  public:
    explicit ClusterLayout(uint64_t system_identifier);

    [[nodiscard]] const std::string &root() const noexcept { return root_; } // "<system identifier>/"

    [[nodiscard]] std::string epochs_prefix() const;        // epochs/
    [[nodiscard]] std::string epoch(uint64_t number) const; // epochs/<10 digits>.json
    // alive/<10 digits>/<10 digits>.json: signs of life of an epoch's writer. See repo/writer_renewal.h.
    [[nodiscard]] std::string alive_prefix() const;               // alive/
    [[nodiscard]] std::string alive_prefix(uint64_t epoch) const; // alive/<10 digits>/
    [[nodiscard]] std::string alive(uint64_t epoch, uint64_t number) const;

    [[nodiscard]] std::string wal_root() const;                      // wal/
    [[nodiscard]] std::string wal_prefix(TimelineId timeline) const; // wal/<8 hex>/
    // wal/<8 hex>/<8 hex>/<name>, a history file wal/<8 hex>/<name>. `name` must be one PostgreSQL gives.
    [[nodiscard]] std::string wal_file(std::string_view name) const;
    // wal/…/<segment>~<epoch>: where an older epoch's different object occupies the name (rules C2).
    [[nodiscard]] std::string wal_file_of_epoch(std::string_view name, uint64_t epoch) const;
    // wal/…/<segment>.partial-<16 hex of the digest> (rules B3).
    [[nodiscard]] std::string partial_file(std::string_view name, std::string_view digest_hex) const;
    // wal/…/<segment>.part<3 digits>-<attempt> (rules B4).
    [[nodiscard]] std::string wal_part(std::string_view segment, unsigned part, std::string_view attempt) const;

    // walindex/<span>/<8 hex>/<name>: what is known of a range of `span` segments. See repo/wal_index.h.
    [[nodiscard]] std::string walindex_prefix() const; // walindex/
    [[nodiscard]] std::string walindex_prefix(uint64_t span, TimelineId timeline) const;
    // walindex/expired/<8 hex>/<name>: WAL that expiry takes away. See repo/expired_wal.h.
    [[nodiscard]] std::string expired_wal_prefix() const; // walindex/expired/
    [[nodiscard]] std::string expired_wal_prefix(TimelineId timeline) const;
    [[nodiscard]] std::string tail_prefix() const;                    // tail/
    [[nodiscard]] std::string tail_prefix(TimelineId timeline) const; // tail/<8 hex>/
    // tail/<8 hex>/<segment>/: pieces of one segment. See repo/tail.h.
    [[nodiscard]] std::string tail_segment_prefix(std::string_view segment) const;
    [[nodiscard]] std::string tail_runs_prefix(TimelineId timeline) const; // tail/<8 hex>/runs/

    [[nodiscard]] std::string gaps_prefix() const; // gaps/
    // gaps/<WAL file>-<when it was let go>.json (rules H1).
    [[nodiscard]] std::string gap(std::string_view file, int64_t unix_ms) const;

    [[nodiscard]] std::string data_prefix(std::string_view backup) const;                 // data/<id>/
    [[nodiscard]] std::string pack(std::string_view backup, uint32_t number) const;       // data/<id>/<6 digits>
    [[nodiscard]] std::string files_prefix(std::string_view backup) const;                // files/<id>/
    [[nodiscard]] std::string table_part(std::string_view backup, uint32_t number) const; // files/<id>/<6 digits>
    [[nodiscard]] std::string table_index(std::string_view backup) const;                 // files/<id>/index

    [[nodiscard]] std::string jobs_prefix() const;                     // jobs/
    [[nodiscard]] std::string job_prefix(std::string_view kind) const; // jobs/<kind>/
    // jobs/<kind>/<slot, as compact_time() writes it>~<6 digits>.json
    [[nodiscard]] std::string job_entry(std::string_view kind, std::string_view slot, uint32_t number) const;

    [[nodiscard]] std::string attempts_prefix() const;
    [[nodiscard]] std::string attempt(std::string_view backup) const; // attempts/<id>.json
    // attempts/<id>~<6 digits>.json: a sign that the attempt is alive.
    [[nodiscard]] std::string renewal(std::string_view backup, uint32_t number) const;
    [[nodiscard]] std::string block_hashes(std::string_view backup,
                                           uint32_t number) const; // files/<id>/hashes-<6 digits>
    [[nodiscard]] std::string commits_prefix() const;
    [[nodiscard]] std::string commit(std::string_view backup) const; // commits/<id>.json
    // commitindex/<first id>-<last id>.json. See repo/commit_index.h.
    [[nodiscard]] std::string commitindex_prefix() const;

    [[nodiscard]] std::string tombstones_prefix() const;
    [[nodiscard]] std::string tombstone(std::string_view backup) const; // tombstones/<id>
    [[nodiscard]] std::string keeps_prefix() const;
    // keeps/<id>-<6 digits>.json: of one backup the highest number holds.
    [[nodiscard]] std::string keep(std::string_view backup, uint32_t number) const;
    [[nodiscard]] std::string confirmations_prefix() const;
    [[nodiscard]] std::string confirmation(uint64_t epoch) const; // confirmations/<10 digits>.json

  private:
    std::string root_;
};

// "20261120T084013F" (full) or "…I" (incremental): sorts by time.
[[nodiscard]] std::string make_backup_id(int64_t start_unix_ms, bool full);
// The start that a backup id tells, in ms since 1970 UTC; nullopt for what is no id.
[[nodiscard]] std::optional<int64_t> backup_id_time_ms(std::string_view id) noexcept;
// A name below attempts/, without ".json": an attempt's id, or that and the number of one of its renewals.
struct AttemptName {
    std::string backup;
    std::optional<uint32_t> renewal;
};
[[nodiscard]] std::optional<AttemptName> parse_attempt_name(std::string_view file_name);
// Whether `text` has the form of a backup id.
[[nodiscard]] bool is_backup_id(std::string_view text) noexcept;

} // namespace pgvigil
