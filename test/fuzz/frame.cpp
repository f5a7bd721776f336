// Frames of foreign origin are refused or decoded, never trusted; a frame of our own comes back, and does not come back
// after any one of its bits was changed.

#include "codec/frame.h"
#include "fuzz/fuzz.h"

#include <algorithm>

using namespace pgvigil;

namespace {

void decode_foreign(ByteView bytes) {
    fuzz::accepted([&] {
        FrameDecoder decoder;
        FrameHeader header;
        const Bytes plain = decoder.decode(bytes, header, "fuzz");
        fuzz::require(plain.size() == header.plain_length, "a frame decoded to another length");
        fuzz::require(content_hash(plain) == header.hash, "a frame decoded to another hash");
    });
}

void round_trip(ByteView input) {
    constexpr Codec kCodecs[] = {Codec::kNone, Codec::kLz4, Codec::kZstd};
    const auto selector = std::to_integer<size_t>(input[0]);
    const auto flip = load_le<uint32_t>(input.data() + 1);
    const ByteView plain = input.subspan(5, std::min<size_t>(input.size() - 5, kMaxExtentBytes));

    Bytes frame;
    FrameEncoder(Compression{.codec = kCodecs[selector % 3], .level = 1})
        .append(frame, FrameType::kData, plain, 7, (selector & 4) != 0);
    FrameDecoder decoder;
    FrameHeader header;
    const Bytes back = decoder.decode(frame, header, "fuzz");
    fuzz::require(std::ranges::equal(back, plain), "a frame did not come back");

    const size_t bit = flip % (frame.size() * 8);
    frame[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    Bytes changed;
    if (fuzz::accepted([&] { changed = decoder.decode(frame, header, "fuzz"); }))
        fuzz::require(std::ranges::equal(changed, plain), "a changed bit changed what a frame decodes to, unnoticed");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    decode_foreign(input);
    if (input.size() > 5)
        round_trip(input);
    return 0;
}
