// The WAL index (rules F3): create-only objects that each say, of a range of segments of one timeline, which are stored
// and what their headers tell (times, xids, restore points). A range has `span` segments and begins at a multiple of
// it; there are ranges of 4,096 segments and, for what is younger, of 256. Holes are allowed: what arrives late is
// found by listing, or in an object of a higher generation.
// The name alone says nearly everything, so that a listing of the names gives the runs of stored WAL, and tells which
// few objects are worth reading: walindex/<span>/<tli>/<start>-<generation>-<segment MiB>-<epoch>-<first>-<last>-
// <count>-<first time>-<last time>-<first xid>-<last xid>-<restore points>, in hexadecimal digits.
// Threading: pure functions. Errors: kCorrupt naming the key.
#pragma once

#include "base/bytes.h"
#include "base/lsn.h"
#include "pgdata/wal_scan.h"
#include "repo/layout.h"
#include "repo/segment_runs.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

// Segments in a range, the largest first.
inline constexpr std::array<uint64_t, 2> kWalIndexSpans{4096, 256};
inline constexpr uint64_t kMaxWalIndexBytes = 64 * kMiB; // of an object, stored or plain

// What an index object's name says.
struct WalBlock {
    TimelineId timeline = 0;
    uint64_t span = 0;  // segments
    uint64_t start = 0; // number of the range's first segment
    uint32_t generation = 1;
    uint64_t segment_size = 0; // bytes
    uint64_t epoch = 0;        // the highest that was known when it was written
    uint64_t first = 0;        // lowest stored segment
    uint64_t last = 0;         // highest stored segment
    uint64_t count = 0;        // stored segments
    // Over all transactions that ended in the range, the one whose record crosses into it included.
    std::optional<int64_t> first_time_us;
    std::optional<int64_t> last_time_us;
    std::optional<uint32_t> first_xid; // in modulo-2^32 order
    std::optional<uint32_t> last_xid;
    uint64_t restore_points = 0; // the bits (restore_point_bit) of all names; 0 = no restore point

    [[nodiscard]] bool is_whole() const noexcept { return count == last - first + 1; }
    [[nodiscard]] uint64_t end() const noexcept { return start + span - 1; } // the range's last segment

    friend bool operator==(const WalBlock &, const WalBlock &) = default;
};

[[nodiscard]] std::string wal_block_key(const ClusterLayout &layout, const WalBlock &block);
// nullopt for a key that is none of an index object.
[[nodiscard]] std::optional<WalBlock> parse_wal_block_key(const ClusterLayout &layout, std::string_view key);
// The single bit that stands for a restore point's name.
[[nodiscard]] uint64_t restore_point_bit(std::string_view name) noexcept;

// A stored segment, as an index object keeps it.
struct IndexedSegment {
    uint64_t segment = 0;
    uint64_t epoch = 0; // of the name <segment>~<epoch> that holds; 0 for the plain name
    // What the header says; the bytes of records that cross a border are kept only where they matter. Unset when the
    // header says nothing.
    std::optional<WalScanSummary> scan;
};

// Drops the bytes of records that cross from one segment into the next where both are here and the record is neither a
// transaction's end nor a restore point. `segments` ascend.
void trim_spanning_bytes(std::vector<IndexedSegment> &segments);

// Fills in what depends on the segments (not empty, ascending, all within the range). `before` is what is known of the
// segment before the first, if that is stored.
void summarise(WalBlock &block, const std::vector<IndexedSegment> &segments, const WalScanSummary *before);

[[nodiscard]] Bytes encode_wal_block(const WalBlock &block, const std::vector<IndexedSegment> &segments);
[[nodiscard]] std::vector<IndexedSegment> decode_wal_block(const WalBlock &block, ByteView object,
                                                           std::string_view key);

[[nodiscard]] SegmentRuns runs_of(const std::vector<IndexedSegment> &segments);

} // namespace pgvigil
