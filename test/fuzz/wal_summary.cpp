// WAL summaries of foreign origin, and their contents with a checksum that matches.

#include "pgdata/wal_summary.h"

#include "base/crc32c.h"
#include "fuzz/fuzz.h"

using namespace pgvigil;

namespace {

void read(ByteView file) {
    fuzz::accepted([&] {
        BlockChanges changes(kMiB);
        read_wal_summary(file, "fuzz", changes);
        fuzz::require(changes.memory_bytes() <= 2 * kMiB, "more memory than the limit allows");
        if (const ForkChanges *fork = changes.find({1663, 5, 16384, RelationFork::kMain})) {
            const auto runs = fork->blocks.runs(0, 1000000);
            uint64_t blocks = 0;
            for (size_t i = 0; i < runs.size(); ++i) {
                blocks += runs[i].count;
                fuzz::require(runs[i].count > 0 && (i == 0 || runs[i].first > runs[i - 1].first + runs[i - 1].count),
                              "runs that touch or are out of order");
            }
            fuzz::require(blocks == fork->blocks.count(0, 1000000), "a count that is not that of the runs");
        }
    });
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    read(input);
    ByteWriter file;
    file.u32(0x652b137b);
    file.bytes(input);
    for (int i = 0; i < 6; ++i)
        file.u32(0);
    file.u32(crc32c(file.view()));
    read(file.view());
    (void)parse_wal_summary_name(as_text(input));
    return 0;
}
