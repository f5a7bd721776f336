// Stored objects of foreign origin: headers, documents, WAL objects and packs are refused or decoded, never trusted.

#include "fuzz/fuzz.h"
#include "repo/envelope.h"
#include "repo/pack.h"
#include "repo/wal_object.h"

#include <algorithm>

using namespace pgvigil;

namespace {

void read_foreign(ByteView object) {
    ParsedHeader header;
    if (fuzz::accepted([&] { header = parse_header(object, "fuzz"); })) {
        fuzz::require(header.length <= object.size(), "a header longer than its object");
        fuzz::accepted([&] { (void)decode_wal_facts(header.header.extension, "fuzz"); });
        fuzz::accepted([&] {
            FrameDecoder decoder;
            Bytes plain;
            decode_wal_frames(object, header, plain, decoder, "fuzz");
            fuzz::require(plain.size() == header.header.plain_length, "an object decoded to another length");
        });
    }
    fuzz::accepted([&] { (void)decode_document(object, "fuzz"); });
    fuzz::accepted([&] { (void)read_pack_footer(object, "fuzz"); });
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    read_foreign(input);

    // The same bytes behind a valid header, where a checksum no longer keeps them out.
    if (input.empty())
        return 0;
    ObjectHeader header;
    header.kind = static_cast<ObjectKind>(std::to_integer<unsigned>(input[0]) % 8);
    header.plain_length = input.size() - 1;
    header.extension = as_text(input.subspan(1).first(std::min<size_t>(input.size() - 1, 64)));
    Bytes object;
    append_header(object, header);
    object.insert(object.end(), input.begin() + 1, input.end());
    read_foreign(object);

    Bytes framed;
    append_header(framed, header);
    FrameEncoder(Compression{})
        .append(framed, static_cast<FrameType>(1 + std::to_integer<unsigned>(input[0]) % 5), input.subspan(1), 0, true);
    read_foreign(framed);
    return 0;
}
