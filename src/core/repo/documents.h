// The small JSON documents of a repository as C++ values, with their encodings. Every document carries "format" and is
// wrapped by repo/envelope.h. Unknown members are ignored; a missing or mistyped one is kCorrupt naming the key.
#pragma once

#include "base/bytes.h"
#include "base/lsn.h"
#include "base/random.h"
#include "repo/layout.h"
#include "storage/object_store.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

// One that is there and says nothing: damaged, or of a newer format.
struct UnreadableDocument {
    std::string key;
    std::string message;
};

// <root>/pgvigil.json
struct RepositoryDocument {
    Uuid id{};
    int64_t created_ms = 0;
    std::string hash_key; // 32 random bytes, hexadecimal: the key of block hashes (rules A4)
};

// epochs/<n>.json: who writes from where on (rules C2).
struct EpochDocument {
    uint64_t number = 0;
    Uuid instance{};
    std::string host;
    TimelineId timeline = 0;
    Lsn lsn;            // from where on only this epoch's objects, and later ones', count on its timeline
    std::string reason; // "first", "promotion", or what the operator said
    int64_t created_ms = 0;
    // Nothing shows that the history from `lsn` on continues what the repository has before it on the timeline: readers
    // do not pass over it.
    bool breaks = false;
};

// attempts/<id>.json: created before a backup's first pack (rules A7).
struct AttemptDocument {
    std::string id;
    std::vector<std::string> parents;
    uint64_t system_identifier = 0;
    TimelineId timeline = 0;
    Lsn start_lsn;
    uint32_t checksum_version = 0;
    Uuid instance{};
    std::string host;
    int64_t started_ms = 0;
    // Attempts that died and whose packs this one may use (rules A7): named here, so that expiry leaves them alone.
    std::vector<std::string> continues;
};

struct StoredObject {
    std::string name;    // below the backup's data/ or files/ directory; "<attempt id>/<number>" for an adopted pack
    uint32_t number = 0; // of a pack, as the file table names it; for the backup's own packs that of the name
    uint64_t size = 0;   // bytes as stored
    Sha256Digest sha256{};
};

struct WalRange {
    TimelineId timeline = 0;
    Lsn start;
    Lsn end;
};

struct Tablespace {
    uint32_t oid = 0;
    std::string path; // where the symbolic link points; empty for an in-place tablespace
};

struct PageDamage {
    std::string path;
    uint64_t bad_pages = 0;
    std::vector<uint64_t> first_blocks; // at most 5
};

struct BackupTotals {
    uint64_t files = 0;
    uint64_t logical_bytes = 0; // the restored size
    uint64_t new_bytes = 0;     // plain bytes read into this backup's own extents
    uint64_t stored_bytes = 0;  // packs + table as stored
    uint64_t extents = 0;
    uint64_t changed_blocks = 0; // blocks of this backup's own extents
    uint64_t reused_bytes = 0;   // plain bytes of extents that lie in packs of an attempt that died
    uint64_t objects = 0;        // packs and parts of the table
};

// commits/<id>.json: a backup exists exactly when this does (promise 3).
struct CommitDocument {
    std::string id;
    bool full = true;
    std::vector<std::string> parents;
    std::map<std::string, std::string> parent_commit_digests; // id → SHA-256 hex of its commit object
    uint64_t epoch = 0;                                       // of the writer when the backup began
    uint64_t system_identifier = 0;
    uint32_t server_version = 0; // PG_VERSION_NUM
    uint32_t block_size = 8192;  // bytes
    uint32_t relation_segment_blocks = 131072;
    uint64_t wal_segment_size = 0; // bytes
    uint32_t checksum_version = 0; // of pg_control; 0 = page checksums off
    Lsn start_lsn;
    TimelineId start_timeline = 0;
    Lsn stop_lsn;
    TimelineId stop_timeline = 0;
    std::vector<WalRange> wal_ranges; // what makes the copy consistent
    int64_t started_ms = 0;
    int64_t stopped_ms = 0;
    bool from_standby = false;
    bool own_wal = false;      // the backup's own files hold the WAL it needs (rules E6)
    bool group_access = false; // restored modes 0750/0640 instead of 0700/0600
    std::string host;
    Uuid instance{};
    std::string compression;
    std::string product_version;
    std::map<std::string, std::string> annotations_json; // name → JSON text of the value
    std::vector<Tablespace> tablespaces;
    // Files that are known only at the end, kept here instead of in the file table.
    std::string backup_label;
    std::string tablespace_map;
    Bytes control_file;
    BackupTotals totals;
    std::vector<PageDamage> damage; // pages whose checksum did not match when they were read
    std::vector<StoredObject> packs;
    std::vector<StoredObject> table;  // the parts in order, then "index"
    bool block_hashes = false;        // whether the blocks of all its extents have hashes (rules A4)
    Uuid hash_repository{};           // whose hash key they were made with, where there are several
    std::vector<StoredObject> hashes; // the objects that hold them, in order
};

// The key of one of a backup's packs. An adopted one lies where the attempt that died stored it (rules A7).
[[nodiscard]] std::string pack_key(const ClusterLayout &layout, std::string_view backup, const StoredObject &pack);

[[nodiscard]] std::string encode(const RepositoryDocument &document);
[[nodiscard]] std::string encode(const EpochDocument &document);
[[nodiscard]] std::string encode(const AttemptDocument &document);
[[nodiscard]] std::string encode(const CommitDocument &document);
[[nodiscard]] RepositoryDocument decode_repository(std::string_view json, std::string_view key);
[[nodiscard]] EpochDocument decode_epoch(std::string_view json, std::string_view key);
[[nodiscard]] AttemptDocument decode_attempt(std::string_view json, std::string_view key);
[[nodiscard]] CommitDocument decode_commit(std::string_view json, std::string_view key);

} // namespace pgvigil
