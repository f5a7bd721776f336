#include "transfer/wal_archiver_scan.h"

#include "pgdata/wal_page.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr size_t kMaxRestorePoints = 100;
constexpr uint32_t kDefaultBlockSize = 8192;

void add_restore_point(WalScanSummary &whole, const RestorePoint &point) {
    if (whole.restore_points.size() < kMaxRestorePoints)
        whole.restore_points.push_back(point);
}

void add_time(WalScanSummary &whole, int64_t time_us) {
    whole.first_time_us = std::min(whole.first_time_us.value_or(time_us), time_us);
    whole.last_time_us = std::max(whole.last_time_us.value_or(time_us), time_us);
}

} // namespace

void PiecewiseScan::add_spanning(const SpanningRecord &record) {
    if (record.transaction) {
        ++whole_.commits;
        add_time(whole_, record.transaction->time_us);
        if (!whole_.first_xid)
            whole_.first_xid = record.transaction->xid;
        whole_.last_xid = record.transaction->xid;
    }
    if (record.restore_point)
        add_restore_point(whole_, *record.restore_point);
}

void PiecewiseScan::add(ByteView piece, Lsn start) {
    const bool first = block_size_ == 0;
    if (first) {
        const auto header = parse_segment_header(piece);
        block_size_ = header ? header->block_size : kDefaultBlockSize;
    }
    WalScanSummary next = scan_wal(piece, start, block_size_);
    if (first) {
        whole_ = next;
        before_ = std::move(next);
        return;
    }
    if (const auto record = spanning_record(before_, next))
        add_spanning(*record);
    whole_.commits += next.commits;
    if (next.first_time_us)
        add_time(whole_, *next.first_time_us);
    if (next.last_time_us)
        add_time(whole_, *next.last_time_us);
    if (!whole_.first_xid)
        whole_.first_xid = next.first_xid;
    if (next.last_xid)
        whole_.last_xid = next.last_xid;
    for (const RestorePoint &point : next.restore_points)
        add_restore_point(whole_, point);
    // Behind a switch there is only padding, which says nothing.
    if (next.end_of_records.is_valid()) {
        whole_.end_of_records = next.end_of_records;
        whole_.ends_in_switch = next.ends_in_switch;
    }
    whole_.spanning_out = next.spanning_out;
    before_ = std::move(next);
}

} // namespace pgvigil
