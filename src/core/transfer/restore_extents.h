// Which bytes of which packs become which bytes of which files, arranged so that ranges which lie together in a pack
// are read at once.
// Threading: values; a RestoredFile is shared by the workers that write its pieces.
#pragma once

#include "repo/chain_table.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pgvigil {

struct FilePiece {
    uint64_t offset = 0; // bytes from the file's start
    uint32_t length = 0; // bytes
    uint32_t crc32c = 0; // once it is there
    bool kept = false;   // it was there before (--delta)
    // Of its bytes; unset for a part of an extent, whose table knows the hash of the whole only.
    std::optional<ContentHash> hash;
    // The first of its blocks among all that a backup of the chain stored. Unset where it does not consist of whole
    // blocks.
    struct Blocks {
        uint32_t backup = 0;
        uint64_t first = 0;
    };
    std::optional<Blocks> blocks;
};

struct RestoredFile {
    std::string path;
    uint64_t size = 0; // bytes
    int64_t mtime_ms = 0;
    std::vector<FilePiece> pieces; // ascending; what none covers is zeroes
    std::atomic<size_t> missing{0};
};

// Of the whole file, once no piece is missing.
[[nodiscard]] uint32_t file_crc32c(const RestoredFile &file);

// The packs of the backups that a restore reads from, each known by one number.
class PackList {
  public:
    struct Pack {
        std::string key;
        uint64_t size = 0; // bytes
    };
    // Backups are added in the order of their chain, the newest first.
    void add(const ClusterLayout &layout, const CommitDocument &commit);

    [[nodiscard]] const Pack &operator[](uint32_t pack) const { return packs_[pack]; }
    // What the `backup`th one's table calls `number`.
    [[nodiscard]] std::optional<uint32_t> find(size_t backup, uint32_t number) const noexcept;

  private:
    using Numbers = std::vector<std::pair<uint32_t, uint32_t>>; // the table's → ours, ascending
    std::vector<Pack> packs_;
    std::unordered_map<std::string, uint32_t> by_key_; // an adopted pack may belong to several backups
    std::vector<Numbers> backups_;
};

struct ExtentRead {
    std::shared_ptr<RestoredFile> file;
    uint32_t piece = 0; // in file->pieces
    uint32_t pack = 0;  // in the PackList
    PackPlace place;    // of the frame
    uint32_t frame_offset = 0;
    uint32_t frame_length = 0;
    ContentHash hash{}; // of the frame
};

struct RangeRead {
    uint32_t pack = 0;
    ByteRange range;
    std::vector<ExtentRead> extents; // ascending by place; those of one frame stand together
};

inline constexpr uint64_t kMaxRangeBytes = 6 * kMiB;      // of one read, and what a worker holds
inline constexpr uint64_t kMaxRangeGapBytes = 128 * kKiB; // read and thrown away rather than asked for separately

// Checks an entry's pieces against the packs and lists what to read; throws kCorrupt naming the path.
[[nodiscard]] std::shared_ptr<RestoredFile> plan_file(ChainEntry &&found, const PackList &packs, uint32_t block_size,
                                                      std::vector<ExtentRead> &reads);
[[nodiscard]] std::vector<RangeRead> merge_reads(std::vector<ExtentRead> &&reads);

} // namespace pgvigil
