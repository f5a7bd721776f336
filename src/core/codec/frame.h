// Frames: the unit in which bytes are compressed, checked (and, later, encrypted). An object is a header followed by
// frames; an extent of a backup is exactly one frame, so that one range read fetches it.
//
// Layout (little-endian): u32 stored length · u32 plain length · u8 type · u8 flags · u8 codec · u8 CRC-8 of the other
// 15 bytes before the hash · u32 frame number · 16 bytes XXH3-128 of the plain bytes (canonical, big-endian digest
// order) · stored bytes. Threading: an encoder or decoder belongs to one thread at a time.
#pragma once

#include "base/bytes.h"
#include "codec/compression.h"

#include <array>
#include <string_view>

namespace pgvigil {

using ContentHash = std::array<std::byte, 16>;

// XXH3-128: detects accidents, not intent (rules A4).
[[nodiscard]] ContentHash content_hash(ByteView plain) noexcept;

enum class FrameType : uint8_t {
    kData = 1,
    kPackFooter = 2,
    kDocument = 3,
    kTableRecords = 4,
    kTableIndex = 5,
    kBlockHashes = 6
};

inline constexpr size_t kFrameHeaderBytes = 32;
inline constexpr uint8_t kLastFrameFlag = 1;
inline constexpr size_t kMaxExtentBytes = kMiB;          // plain bytes of a data frame
inline constexpr size_t kMaxFramePlainBytes = 16 * kMiB; // of any frame

struct FrameHeader {
    uint32_t stored_length = 0; // bytes, without this header
    uint32_t plain_length = 0;  // bytes
    FrameType type = FrameType::kData;
    bool last = false;
    Codec codec = Codec::kNone;
    uint32_t number = 0; // counts from 0 within its object
    ContentHash hash{};
};

class FrameEncoder {
  public:
    explicit FrameEncoder(Compression compression) : compressor_(compression) {}

    // Appends a complete frame to `out`; returns its header.
    FrameHeader append(Bytes &out, FrameType type, ByteView plain, uint32_t number, bool last);
    // The same with the hash already computed.
    FrameHeader append(Bytes &out, FrameType type, ByteView plain, const ContentHash &hash, uint32_t number, bool last);

  private:
    Compressor compressor_;
};

class FrameDecoder {
  public:
    // Reads the header at the start of `bytes`; throws kCorrupt naming `what` when it is cut short or impossible
    // (plain length over the type's limit, unknown type or codec).
    [[nodiscard]] static FrameHeader parse_header(ByteView bytes, std::string_view what);

    // Decodes the frame at the start of `bytes` into `plain` (exactly header.plain_length bytes) and checks its hash;
    // throws kCorrupt naming `what`.
    FrameHeader decode(ByteView bytes, std::span<std::byte> plain, std::string_view what);
    // The same into a new buffer.
    [[nodiscard]] Bytes decode(ByteView bytes, FrameHeader &header, std::string_view what);

  private:
    Decompressor decompressor_;
};

} // namespace pgvigil
