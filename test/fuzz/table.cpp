// The records of a file table: foreign bytes never yield a path that leaves the target directory (rules E7).

#include "fuzz/fuzz.h"
#include "repo/table_records.h"

using namespace pgvigil;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    fuzz::accepted([&] {
        ByteReader in(input);
        while (!in.at_end()) {
            const table::Record record = table::read_record(in, "fuzz");
            const std::string &path = record.entry.path;
            fuzz::require(!path.empty() && path.front() != '/', "an absolute or empty path was accepted");
            fuzz::require(("/" + path + "/").find("/../") == std::string::npos, "a path that goes up was accepted");
            fuzz::require(path.find('\0') == std::string::npos, "a path with a zero byte was accepted");
            fuzz::require((record.entry.mode & ~07777U) == 0, "a mode with foreign bits was accepted");
            uint64_t end = 0;
            for (const ExtentRef &extent : record.entry.extents) {
                fuzz::require(extent.offset >= end, "extents that overlap were accepted");
                fuzz::require(extent.plain_length <= kMaxExtentBytes, "an extent that is too long was accepted");
                end = extent.offset + extent.plain_length;
            }
        }
    });
    fuzz::accepted([&] {
        ByteReader in(input);
        while (!in.at_end())
            (void)table::read_index_entry(in, "fuzz");
    });
    return 0;
}
