#include "pgdata/wal_scan.h"

#include "pgdata/wal_records.h"
#include "pgdata/wal_walk.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr size_t kMaxRestorePoints = 100;

// Transaction ids wrap around: the older of two lies less than half the circle behind the other.
bool precedes(uint32_t a, uint32_t b) noexcept {
    return static_cast<int32_t>(a - b) < 0;
}

void note_time(WalScanSummary &summary, int64_t time_us) {
    summary.first_time_us = std::min(summary.first_time_us.value_or(time_us), time_us);
    summary.last_time_us = std::max(summary.last_time_us.value_or(time_us), time_us);
}

void note_xid(WalScanSummary &summary, uint32_t xid) {
    if (!summary.first_xid || precedes(xid, *summary.first_xid))
        summary.first_xid = xid;
    if (!summary.last_xid || precedes(*summary.last_xid, xid))
        summary.last_xid = xid;
}

void note(WalScanSummary &summary, const TransactionEnd &end) {
    note_time(summary, end.time_us);
    summary.commits += end.committed ? 1 : 0;
    if (end.xid != 0)
        note_xid(summary, end.xid);
}

void note(WalScanSummary &summary, RestorePoint point) {
    if (summary.restore_points.size() < kMaxRestorePoints)
        summary.restore_points.push_back(std::move(point));
}

} // namespace

WalScanSummary scan_wal(ByteView segment, Lsn start, uint32_t wal_block_size) {
    WalScanSummary summary;
    WalWalk walk(segment, start, wal_block_size);
    if (walk.spanning_in_end().is_valid())
        summary.end_of_records = walk.spanning_in_end();
    while (const auto record = walk.next()) {
        summary.end_of_records = record->end;
        summary.ends_in_switch = is_switch(*record);
        if (record->content.empty() || !is_interesting(record->content))
            continue;
        if (const auto end = transaction_end(*record, walk.magic())) {
            note(summary, *end);
        } else if (auto point = restore_point(*record)) {
            note(summary, std::move(*point));
        }
    }
    summary.magic = walk.magic();
    summary.spanning_out = walk.spanning_out();
    summary.spanning_in = walk.spanning_in();
    summary.spanning_in_end = walk.spanning_in_end();
    return summary;
}

void append_scan(WalScanSummary &whole, const WalScanSummary &before, const WalScanSummary &next) {
    if (const auto crossing = spanning_record(before, next)) {
        if (crossing->transaction)
            note(whole, *crossing->transaction);
        if (crossing->restore_point)
            note(whole, *crossing->restore_point);
    }
    whole.commits += next.commits;
    for (const auto &time_us : {next.first_time_us, next.last_time_us})
        if (time_us)
            note_time(whole, *time_us);
    for (const auto &xid : {next.first_xid, next.last_xid})
        if (xid)
            note_xid(whole, *xid);
    for (const RestorePoint &point : next.restore_points)
        note(whole, point);
    // Behind a switch there is only padding, which says nothing.
    if (next.end_of_records.is_valid()) {
        whole.end_of_records = next.end_of_records;
        whole.ends_in_switch = next.ends_in_switch;
    }
    whole.spanning_out = next.spanning_out;
}

std::vector<TransactionEnd> transaction_ends(ByteView segment, Lsn start, uint32_t wal_block_size) {
    std::vector<TransactionEnd> ends;
    WalWalk walk(segment, start, wal_block_size);
    while (const auto record = walk.next()) {
        if (record->content.empty())
            continue;
        if (const auto end = transaction_end(*record, walk.magic()))
            ends.push_back(*end);
    }
    return ends;
}

std::optional<SpanningRecord> spanning_record(const WalScanSummary &earlier, const WalScanSummary &later) {
    if (earlier.spanning_out.empty() || later.spanning_in.empty() || !later.spanning_in_end.is_valid())
        return std::nullopt;
    Bytes content = earlier.spanning_out;
    // A piece of the full length was cut off at its end: what the next segment continues does not follow it.
    if (content.size() < kMaxSpanningBytes)
        content.insert(content.end(), later.spanning_in.begin(), later.spanning_in.end());
    if (content.size() < kWalRecordHeaderBytes)
        return std::nullopt;
    WalRecord record;
    record.end = later.spanning_in_end;
    record.xid = load_le<uint32_t>(content.data() + 4);
    record.info = std::to_integer<uint8_t>(content[16]);
    record.resource_manager = std::to_integer<uint8_t>(content[17]);
    record.content = content;
    SpanningRecord spanning;
    spanning.transaction = transaction_end(record, earlier.magic);
    spanning.restore_point = restore_point(record);
    if (!spanning.transaction && !spanning.restore_point)
        return std::nullopt;
    return spanning;
}

} // namespace pgvigil
