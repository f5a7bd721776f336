// File tables of foreign origin: the input is cut in two, the records of a part and the entries of its index; both are
// put into frames that are whole, so that what is behind the checksums is reached.

#include "repo/file_table.h"

#include "fuzz/fuzz.h"
#include "repo/envelope.h"
#include "repo/table_records.h"

#include <algorithm>

using namespace pgvigil;

namespace {

Bytes object(ObjectKind kind, FrameType type, ByteView plain) {
    ObjectHeader header;
    header.kind = kind;
    header.digest_id = 0;
    header.plain_length = plain.size();
    Bytes bytes;
    append_header(bytes, header);
    FrameEncoder({Codec::kNone, 0}).append(bytes, type, plain, 0, true);
    return bytes;
}

void read(const Bytes &part, const Bytes &index) {
    FileTableReader reader([&](const std::string &name, std::optional<ByteRange> range) {
        const Bytes &whole = name == "index" ? index : part;
        if (!range)
            return whole;
        const size_t start = std::min<uint64_t>(range->offset, whole.size());
        const ByteView piece = ByteView(whole).subspan(start, std::min<uint64_t>(range->length, whole.size() - start));
        return Bytes(piece.begin(), piece.end());
    });
    std::string last;
    fuzz::accepted([&] {
        reader.for_each([&](FileEntry &&entry) {
            fuzz::require(table::is_safe_path(entry.path), "an unsafe path");
            fuzz::require(last.empty() || compare_paths(last, entry.path) < 0, "paths out of order");
            uint64_t end = 0;
            for (const ExtentRef &extent : entry.extents) {
                fuzz::require(extent.offset >= end && extent.plain_length > 0, "extents out of order");
                fuzz::require(uint64_t{extent.frame_offset} + extent.plain_length <= extent.frame_length &&
                                  extent.frame_length <= kMaxExtentBytes,
                              "an extent outside of its frame");
                end = extent.offset + extent.plain_length;
            }
            fuzz::require(end <= entry.size, "an extent behind the file's end");
            last = entry.path;
        });
    });
    fuzz::accepted([&] { (void)reader.find("base/1"); });
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    for (const bool index : {false, true})
        fuzz::accepted([&] {
            for (ByteReader in(input); !in.at_end();) {
                if (index)
                    (void)table::read_index_entry(in, "fuzz");
                else
                    (void)table::read_record(in, "fuzz");
            }
        });
    if (input.size() < 2 || input.size() > kMiB)
        return 0;
    const size_t cut = std::min<size_t>(load_le<uint16_t>(input.data()), input.size() - 2);
    const ByteView records = input.subspan(2, cut);
    const Bytes part = object(ObjectKind::kTablePart, FrameType::kTableRecords, records);
    read(part, object(ObjectKind::kTableIndex, FrameType::kTableIndex, input.subspan(2 + cut)));
    // The index as a writer would make it, for any records.
    ByteWriter plain;
    plain.varint(1);
    plain.varint(1);
    plain.varint(1);
    const auto header = static_cast<uint32_t>(encoded_header_bytes({}));
    table::append_index_entry(plain, {"base/1", 0, 0, header, static_cast<uint32_t>(part.size()) - header});
    read(part, object(ObjectKind::kTableIndex, FrameType::kTableIndex, plain.view()));
    read(Bytes(input.begin(), input.end()), Bytes(input.begin(), input.end()));
    return 0;
}
