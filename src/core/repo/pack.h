// Packs: frames with extents one after another, then a footer frame that lists them, then a fixed trailer that finds
// the footer. A frame holds one extent, or several small ones of any files (a bundle). A pack can be read without any
// file table (rules A7). Threading: a builder belongs to one thread.
#pragma once

#include "base/bytes.h"
#include "base/random.h"
#include "codec/frame.h"
#include "crypto/block_hash.h"
#include "repo/envelope.h"

#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

inline constexpr size_t kMaxPackBytes = 32 * kMiB; // as stored
inline constexpr size_t kPackTrailerBytes = 32;
inline constexpr size_t kMaxBundleBytes = 128 * kKiB; // plain: one of its extents must be cheap to read alone
inline constexpr size_t kMaxBundleExtents = 1024;

// Where a frame stands in its pack.
struct PackPlace {
    uint32_t offset = 0; // bytes from the pack's start to the frame's header
    uint32_t length = 0; // bytes of the frame, header included
};

struct PackedExtent {
    std::string path;          // relative to the data directory
    uint64_t file_offset = 0;  // bytes
    uint32_t plain_length = 0; // bytes
    PackPlace place;           // of the frame
    uint32_t frame_offset = 0; // bytes from the start of the frame's plain bytes
    uint32_t frame_length = 0; // plain bytes of the whole frame
    ContentHash hash{};        // of the frame's plain bytes
    ContentHash own_hash{};    // of the extent's bytes; the same as `hash` when it is alone in its frame
    BlockHash digest{};        // combined_hash() of its blocks; zeroes where there is none
};

// One of several extents that share a frame.
struct BundledExtent {
    std::string path;
    uint64_t file_offset = 0; // bytes
    uint32_t plain_length = 0;
    ContentHash hash{};
    BlockHash digest{}; // combined_hash() of its blocks; zeroes where there is none
};

class PackBuilder {
  public:
    // `target_bytes` (at most kMaxPackBytes): full() turns true near it.
    PackBuilder(Compression compression, uint64_t epoch, const Uuid &attempt, size_t target_bytes);

    // Compresses and appends 1 to kMaxExtentBytes bytes. The caller has checked fits().
    PackPlace add(std::string_view path, uint64_t file_offset, ByteView plain, const ContentHash &hash,
                  const BlockHash &digest = {});
    // Compresses and appends one frame that holds `extents` one after another; together they are `plain`, of at most
    // kMaxBundleBytes, whose hash is `hash`. The caller has checked fits().
    PackPlace add_bundle(std::vector<BundledExtent> &&extents, ByteView plain, const ContentHash &hash);
    // Whether a frame of `plain_length` bytes fits whatever it compresses to. `path_bytes`: of its extents together.
    [[nodiscard]] bool fits(size_t plain_length, size_t path_bytes, size_t extents = 1) const noexcept;
    [[nodiscard]] bool full() const noexcept;
    [[nodiscard]] bool empty() const noexcept { return frames_.empty(); }

    // Appends footer and trailer, hands the object over and starts the next pack.
    [[nodiscard]] Bytes finish();

  private:
    struct Frame {
        PackPlace place;
        uint32_t plain_length = 0;
        ContentHash hash{};
        size_t extents = 0; // of extents_
    };
    void start();
    PackPlace append(ByteView plain, const ContentHash &hash, size_t extents);
    [[nodiscard]] Bytes footer() const;

    FrameEncoder encoder_;
    uint64_t epoch_;
    Uuid attempt_;
    size_t target_bytes_;
    Bytes buffer_;
    std::vector<Frame> frames_;
    std::vector<BundledExtent> extents_;
    size_t footer_estimate_ = 0;
};

// The extents a whole pack's footer lists; throws kCorrupt naming `key`.
[[nodiscard]] std::vector<PackedExtent> read_pack_footer(ByteView pack, std::string_view key);

// The same in two range reads: the trailer (the last kPackTrailerBytes of a pack of `pack_bytes`) says where the
// footer's frame stands, the frame holds the list.
[[nodiscard]] PackPlace read_pack_trailer(ByteView trailer, uint64_t pack_bytes, std::string_view key);
[[nodiscard]] std::vector<PackedExtent> read_footer_frame(ByteView frame, const PackPlace &place, std::string_view key);

} // namespace pgvigil
