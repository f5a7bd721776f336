// WAL of any origin: the walk over its records stays inside the bytes it was given and always ends.

#include "fuzz/fuzz.h"
#include "pgdata/relation_path.h"
#include "pgdata/wal_page.h"
#include "pgdata/wal_scan.h"

using namespace pgvigil;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    const auto header = parse_segment_header(input);
    const Lsn start = header ? header->page_address : Lsn{uint64_t{1} << 24};
    const WalScanSummary whole = scan_wal(input, start);
    fuzz::require(!whole.end_of_records.is_valid() || whole.end_of_records >= start,
                  "records that end before they start");
    fuzz::require(whole.restore_points.size() <= 100, "too many restore points");
    fuzz::require(whole.spanning_out.size() <= kMaxSpanningBytes, "too much is kept of a record");
    (void)transaction_ends(input, start);
    const size_t half = input.size() / 2 / 8192 * 8192;
    WalScanSummary first = scan_wal(input.first(half), start);
    const WalScanSummary second = scan_wal(input.subspan(half), Lsn{start.value + half});
    (void)spanning_record(first, second);
    const WalScanSummary before = first;
    append_scan(first, before, second);
    (void)parse_relation_path(as_text(input));
    return 0;
}
