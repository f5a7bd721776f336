// Names and positions that come from directories, stores and users: what is accepted is written back the same.

#include "base/lsn.h"
#include "base/time.h"
#include "base/wal_name.h"
#include "fuzz/fuzz.h"

using namespace pgvigil;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const std::string_view text = as_text(fuzz::view(data, size));
    if (const auto lsn = parse_lsn(text))
        fuzz::require(parse_lsn(to_string(*lsn)) == lsn, "a position is not written back");
    if (const auto name = parse_wal_file_name(text)) {
        if (name->kind == WalFileKind::kHistory)
            fuzz::require(history_name(name->timeline) == text, "a history file's name is not written back");
        for (uint64_t segment_size = uint64_t{1} << 20; segment_size <= uint64_t{1} << 30; segment_size *= 2) {
            // A name whose low half does not exist at this segment size means another segment.
            if (name->kind == WalFileKind::kSegment && name->low < uint64_t{0x100000000} / segment_size)
                fuzz::require(segment_name(name->timeline, segment_number(*name, segment_size), segment_size) == text,
                              "a segment's name is not written back");
        }
    }
    (void)parse_time_us(text);
    return 0;
}
