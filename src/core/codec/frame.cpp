#include "codec/frame.h"

#include "base/error.h"
#include "codec/content_hash_avx2.h"

#include <algorithm>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pgvigil {

namespace {

constexpr size_t kCheckAt = 11;
constexpr size_t kHashAt = 16;

// CRC-8 (polynomial 0x07) of the 16 bytes before the hash, without the check itself: the hash covers the plain bytes
// only, so that a damaged type, number or flag would pass unseen.
uint8_t header_check(const std::byte *header) noexcept {
    uint8_t crc = 0xff;
    for (size_t i = 0; i < kHashAt; ++i) {
        if (i == kCheckAt)
            continue;
        crc ^= std::to_integer<uint8_t>(header[i]);
        for (int bit = 0; bit < 8; ++bit)
            crc = static_cast<uint8_t>((crc << 1) ^ ((crc & 0x80) != 0 ? 0x07 : 0));
    }
    return crc;
}

void store_u32(std::byte *at, size_t value) noexcept {
    for (size_t i = 0; i < 4; ++i)
        at[i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
}

Error damaged(std::string_view what, const std::string &why) {
    return Error(ErrorCode::kCorrupt, "\"" + std::string(what) + "\" is damaged").detail(why);
}

constexpr bool is_known_type(uint8_t type) noexcept {
    return type >= static_cast<uint8_t>(FrameType::kData) && type <= static_cast<uint8_t>(FrameType::kBlockHashes);
}

} // namespace

ContentHash content_hash(ByteView plain) noexcept {
#if defined(__x86_64__)
    static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
    if (has_avx2)
        return content_hash_avx2(plain);
#endif
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(plain.data(), plain.size()));
    ContentHash hash;
    static_assert(sizeof canonical.digest == sizeof hash);
    std::memcpy(hash.data(), canonical.digest, sizeof hash);
    return hash;
}

FrameHeader FrameEncoder::append(Bytes &out, FrameType type, ByteView plain, uint32_t number, bool last) {
    return append(out, type, plain, content_hash(plain), number, last);
}

FrameHeader FrameEncoder::append(Bytes &out, FrameType type, ByteView plain, const ContentHash &hash, uint32_t number,
                                 bool last) {
    if (plain.size() > (type == FrameType::kData ? kMaxExtentBytes : kMaxFramePlainBytes))
        throw Error(ErrorCode::kInternal, "frame of " + std::to_string(plain.size()) + " bytes is too long");
    const size_t start = out.size();
    out.resize(start + kFrameHeaderBytes);
    FrameHeader header;
    header.codec = compressor_.compress(plain, out);
    header.stored_length = static_cast<uint32_t>(out.size() - start - kFrameHeaderBytes);
    header.plain_length = static_cast<uint32_t>(plain.size());
    header.type = type;
    header.last = last;
    header.number = number;
    header.hash = hash;

    std::byte *at = out.data() + start;
    store_u32(at, header.stored_length);
    store_u32(at + 4, header.plain_length);
    at[8] = static_cast<std::byte>(type);
    at[9] = static_cast<std::byte>(last ? kLastFrameFlag : 0);
    at[10] = static_cast<std::byte>(header.codec);
    store_u32(at + 12, number);
    at[kCheckAt] = static_cast<std::byte>(header_check(at));
    std::copy(hash.begin(), hash.end(), at + kHashAt);
    return header;
}

FrameHeader FrameDecoder::parse_header(ByteView bytes, std::string_view what) {
    if (bytes.size() < kFrameHeaderBytes)
        throw damaged(what, "It ends within a frame header.");
    const std::byte *at = bytes.data();
    if (header_check(at) != std::to_integer<uint8_t>(at[kCheckAt]))
        throw damaged(what, "A frame header does not match its check.");
    FrameHeader header;
    header.stored_length = load_le<uint32_t>(at);
    header.plain_length = load_le<uint32_t>(at + 4);
    const auto type = std::to_integer<uint8_t>(at[8]);
    const auto flags = std::to_integer<uint8_t>(at[9]);
    const auto codec = std::to_integer<uint8_t>(at[10]);
    if (!is_known_type(type) || codec > static_cast<uint8_t>(Codec::kZstd) || (flags & ~kLastFrameFlag) != 0)
        throw Error(ErrorCode::kUnsupported, "\"" + std::string(what) + "\" has a frame of an unknown kind")
            .detail("Frame type " + std::to_string(type) + ", flags " + std::to_string(flags) + ", codec " +
                    std::to_string(codec) + ".")
            .hint("It may have been written by a newer version.");
    header.type = static_cast<FrameType>(type);
    header.last = (flags & kLastFrameFlag) != 0;
    header.codec = static_cast<Codec>(codec);
    header.number = load_le<uint32_t>(at + 12);
    std::copy_n(at + kHashAt, header.hash.size(), header.hash.begin());

    const size_t limit = header.type == FrameType::kData ? kMaxExtentBytes : kMaxFramePlainBytes;
    const bool lengths_fit = header.codec == Codec::kNone ? header.stored_length == header.plain_length
                                                          : header.stored_length < header.plain_length;
    if (header.plain_length > limit || !lengths_fit)
        throw damaged(what, "A frame states an impossible length: " + std::to_string(header.stored_length) +
                                " bytes stored, " + std::to_string(header.plain_length) + " plain.");
    return header;
}

FrameHeader FrameDecoder::decode(ByteView bytes, std::span<std::byte> plain, std::string_view what) {
    const FrameHeader header = parse_header(bytes, what);
    if (bytes.size() - kFrameHeaderBytes < header.stored_length)
        throw damaged(what, "It ends within a frame.");
    if (plain.size() != header.plain_length)
        throw damaged(what, "A frame holds " + std::to_string(header.plain_length) + " bytes where " +
                                std::to_string(plain.size()) + " were expected.");
    try {
        decompressor_.decompress(header.codec, bytes.subspan(kFrameHeaderBytes, header.stored_length), plain);
    } catch (const Error &error) {
        if (error.code() != ErrorCode::kCorrupt)
            throw;
        throw damaged(what, "A frame does not decompress to its stated length.");
    }
    if (content_hash(plain) != header.hash)
        throw damaged(what, "A frame's bytes do not match their checksum.");
    return header;
}

Bytes FrameDecoder::decode(ByteView bytes, FrameHeader &header, std::string_view what) {
    header = parse_header(bytes, what);
    if (bytes.size() - kFrameHeaderBytes < header.stored_length)
        throw damaged(what, "It ends within a frame.");
    Bytes plain(header.plain_length);
    header = decode(bytes, plain, what);
    return plain;
}

} // namespace pgvigil
