#include "transfer/wal_archiver_scan.h"

#include "pgdata/wal_page.h"

namespace pgvigil {

namespace {

constexpr uint32_t kDefaultBlockSize = 8192;

} // namespace

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
    append_scan(whole_, before_, next);
    before_ = std::move(next);
}

} // namespace pgvigil
