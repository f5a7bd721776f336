// Packs: extents one after another, then a footer frame that lists them, then a fixed trailer that finds the footer. A
// pack can be read without any file table (rules A7). Threading: a builder belongs to one thread.
#pragma once

#include "base/bytes.h"
#include "base/random.h"
#include "codec/frame.h"
#include "repo/envelope.h"

#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

inline constexpr size_t kMaxPackBytes = 32 * kMiB; // as stored
inline constexpr size_t kPackTrailerBytes = 32;

// Where an extent's frame stands in its pack.
struct PackPlace {
    uint32_t offset = 0; // bytes from the pack's start to the frame's header
    uint32_t length = 0; // bytes of the frame, header included
};

struct PackedExtent {
    std::string path;         // relative to the data directory
    uint64_t file_offset = 0; // bytes
    uint32_t plain_length = 0;
    PackPlace place;
    ContentHash hash{};
};

class PackBuilder {
  public:
    // `target_bytes` (at most kMaxPackBytes): full() turns true near it.
    PackBuilder(Compression compression, uint64_t epoch, const Uuid &attempt, size_t target_bytes);

    // Compresses and appends 1 to kMaxExtentBytes bytes. The caller has checked fits().
    PackPlace add(std::string_view path, uint64_t file_offset, ByteView plain, const ContentHash &hash);
    // Whether an extent of `plain_length` bytes fits whatever it compresses to.
    [[nodiscard]] bool fits(size_t plain_length, size_t path_length) const noexcept;
    [[nodiscard]] bool full() const noexcept;
    [[nodiscard]] bool empty() const noexcept { return extents_.empty(); }

    // Appends footer and trailer, hands the object over and starts the next pack.
    [[nodiscard]] Bytes finish();

  private:
    void start();
    FrameEncoder encoder_;
    uint64_t epoch_;
    Uuid attempt_;
    size_t target_bytes_;
    Bytes buffer_;
    std::vector<PackedExtent> extents_;
    size_t footer_estimate_ = 0;
};

// The extents a whole pack's footer lists; throws kCorrupt naming `key`.
[[nodiscard]] std::vector<PackedExtent> read_pack_footer(ByteView pack, std::string_view key);

} // namespace pgvigil
