// Objects that say they are WAL files, of foreign origin.

#include "repo/wal_object.h"

#include "fuzz/fuzz.h"

using namespace pgvigil;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    const auto decode = [&](ByteView object, const ParsedHeader &header) {
        fuzz::accepted([&] {
            FrameDecoder decoder;
            Bytes plain;
            decode_wal_frames(object, header, plain, decoder, "fuzz");
            fuzz::require(plain.size() <= kWalPartBytes, "more plain bytes than an object may hold");
        });
    };
    fuzz::accepted([&] { decode(input, parse_header(input, "fuzz")); });
    // Any frames behind a header that is whole.
    if (input.size() < 4)
        return 0;
    ParsedHeader header;
    header.header.kind = ObjectKind::kWalPart;
    header.header.plain_length = load_le<uint32_t>(input.data());
    header.length = 4;
    decode(input, header);
    return 0;
}
