// WAL of foreign origin: the walk over its records ends, and says nothing that cannot be.

#include "pgdata/wal_scan.h"

#include "fuzz/fuzz.h"
#include "pgdata/wal_page.h"

#include <algorithm>

using namespace pgvigil;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    if (input.size() < 16)
        return 0;
    // Small pages reach what lies behind page borders with short inputs.
    const uint32_t page = (input.size() & 1) != 0 ? 1024 : 8192;
    const Lsn start{load_le<uint64_t>(input.data() + 8) & ~uint64_t{page - 1} & ((uint64_t{1} << 60) - 1)};
    Bytes wal(input.begin(), input.end());
    // Every page says it stands where it stands; all else is the input's.
    for (size_t at = 0; at + 24 <= wal.size(); at += page) {
        for (size_t i = 0; i < 8; ++i)
            wal[at + 8 + i] = static_cast<std::byte>((start.value + at) >> (8 * i));
        wal[at] = wal[0];
        wal[at + 1] = wal[1];
    }
    const WalScanSummary summary = scan_wal(wal, start, page);
    fuzz::require(summary.spanning_in.size() <= kMaxSpanningBytes && summary.spanning_out.size() <= kMaxSpanningBytes,
                  "more of a spanning record than is kept");
    fuzz::require(summary.restore_points.size() <= 100, "more restore points than are kept");
    fuzz::require(summary.end_of_records.value <= start.value + wal.size() + (uint64_t{1} << 30),
                  "records end far behind the bytes");
    (void)transaction_ends(wal, start, page);
    (void)parse_segment_header(input);
    // In two pieces, as a large segment is scanned.
    const size_t half = wal.size() / 2 / page * page;
    WalScanSummary first = scan_wal(ByteView(wal).first(half), start, page);
    const WalScanSummary second = scan_wal(ByteView(wal).subspan(half), Lsn{start.value + half}, page);
    (void)spanning_record(first, second);
    const WalScanSummary before = first;
    append_scan(first, before, second);
    return 0;
}
