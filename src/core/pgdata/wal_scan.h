// A light walk over the records of one WAL segment: first and last commit or abort time, the range of transaction ids
// that ended, and the restore points (rules E3). No record is applied or checked by its CRC; the walk stops where the
// bytes stop making sense, so any bytes may be given. Source: access/xlogrecord.h, access/xlog_internal.h,
// access/xact.h (xl_xact_commit), access/xlog.c (xl_restore_point).
#pragma once

#include "base/bytes.h"
#include "base/lsn.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

inline constexpr size_t kMaxSpanningBytes = 112;

struct RestorePoint {
    std::string name;
    int64_t time_us = 0; // microseconds since 1970 UTC
    Lsn lsn;             // the end of its record
};

struct WalScanSummary {
    // Earliest and latest time at which a transaction ended, microseconds since 1970 UTC. Times in WAL need not ascend.
    std::optional<int64_t> first_time_us;
    std::optional<int64_t> last_time_us;
    // Lowest and highest transaction id that committed or aborted, in modulo-2^32 order of appearance; unset when none
    // did.
    std::optional<uint32_t> first_xid;
    std::optional<uint32_t> last_xid;
    uint32_t commits = 0;
    std::vector<RestorePoint> restore_points; // at most 100
    // Where the last complete record of this segment ends (the segment's end after an XLOG_SWITCH); invalid when none
    // ends here.
    Lsn end_of_records;
    // The segment ends in an XLOG_SWITCH: the rest is padding.
    bool ends_in_switch = false;
    // A record that starts here and ends in the next segment: its first bytes (at most 112), and, at the start of a
    // segment, the first bytes of what continues the previous one. Read together they decide what the spanning record
    // is.
    Bytes spanning_out;
    Bytes spanning_in;
    // Where the record that spanning_in continues ends; invalid when it goes on behind this segment.
    Lsn spanning_in_end;
    uint16_t magic = 0; // of the first page, it tells the server's version; 0 when there is no page
};

// `segment` starts at `start`, may be shorter than a segment (a tail), and is of a server with 8 KiB WAL pages or
// `wal_block_size` bytes.
[[nodiscard]] WalScanSummary scan_wal(ByteView segment, Lsn start, uint32_t wal_block_size = 8192);

// Adds to `whole`, a summary of bytes up to where `next` begins, what `next` says of the bytes that follow: `before` is
// the summary of the last bytes alone, for the record that crosses the border.
void append_scan(WalScanSummary &whole, const WalScanSummary &before, const WalScanSummary &next);

// Every transaction end in the segment, for an exact answer to an xid or time target.
struct TransactionEnd {
    uint32_t xid = 0;
    bool committed = false;
    int64_t time_us = 0;
    Lsn end; // of its record
};
// `segment` may be several consecutive segments in one view: records that cross from one into the next are then whole.
[[nodiscard]] std::vector<TransactionEnd> transaction_ends(ByteView segment, Lsn start, uint32_t wal_block_size = 8192);

// What a record that crosses from one segment into the next is, from both summaries: a transaction's end or a restore
// point. nullopt when it is neither, or cannot be told from the bytes kept.
struct SpanningRecord {
    std::optional<TransactionEnd> transaction;
    std::optional<RestorePoint> restore_point;
};
[[nodiscard]] std::optional<SpanningRecord> spanning_record(const WalScanSummary &earlier, const WalScanSummary &later);

} // namespace pgvigil
