// Extents into packs: a packer fills one pack after another and gives each full one to the uploader. Small extents wait
// in a bundle until there are enough of them to share a frame.
// Threading: a packer belongs to one thread; BackupObjects may be used by many.
#pragma once

#include "base/cancel.h"
#include "codec/compression.h"
#include "repo/documents.h"
#include "repo/file_table.h"
#include "repo/layout.h"
#include "repo/pack.h"
#include "transfer/backup_upload.h"

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace pgvigil {

// The objects of one backup: their numbers, names and digests, as the commit document lists them.
class BackupObjects {
  public:
    BackupObjects(std::string backup_id, ClusterLayout layout, Compression compression, uint64_t epoch,
                  const Uuid &attempt, BackupUploader &uploader);

    [[nodiscard]] uint32_t next_pack() noexcept { return next_pack_++; }
    void put_pack(uint32_t number, Bytes body, const CancelToken &cancel);
    // A pack of an attempt that died becomes one of this backup's; returns its number, the same for the same name.
    [[nodiscard]] uint32_t adopt_pack(const StoredObject &pack);
    // `name` is a part's or the index's below files/<id>/.
    void put_table(const std::string &name, Bytes body, const CancelToken &cancel);
    void put_hashes(const std::string &name, Bytes body, const CancelToken &cancel);

    // In order of their numbers; the table and the hashes as they were written.
    [[nodiscard]] std::vector<StoredObject> packs() const;
    [[nodiscard]] std::vector<StoredObject> table() const;
    [[nodiscard]] std::vector<StoredObject> hashes() const;
    // This backup's own packs, in the order in which they were put.
    [[nodiscard]] std::vector<StoredObject> own_packs() const;
    [[nodiscard]] uint64_t stored_bytes() const;

    const Compression compression;
    const uint64_t epoch;
    const Uuid attempt;

  private:
    StoredObject put(const std::string &prefix, const std::string &key, Bytes body, ObjectRole role,
                     const CancelToken &cancel);

    const std::string id_;
    const ClusterLayout layout_;
    BackupUploader &uploader_;
    std::atomic<uint32_t> next_pack_{0};
    mutable std::mutex mutex_;
    std::vector<StoredObject> packs_;
    std::vector<StoredObject> table_;
    std::vector<StoredObject> hashes_;
    std::map<std::string, StoredObject> adopted_; // by name
};

// Smaller extents go into a frame together with others; larger ones have one of their own.
inline constexpr size_t kBundledBelowBytes = 64 * kKiB;

// The extents of one file, or of a part of it, while a packer finds places for them.
class PackedPieces {
  public:
    // Receives the extents in the order they were added.
    using Placed = std::function<void(std::vector<ExtentRef> &&extents)>;
    PackedPieces(std::string path, Placed placed) : path_(std::move(path)), placed_(std::move(placed)) {}

  private:
    friend class BackupPacker;
    std::string path_;
    Placed placed_;
    std::vector<ExtentRef> extents_;
    size_t waiting_ = 0; // of them in the open bundle
    bool ended_ = false;
};

// For each file (or part): begin(), add() for each extent, end(). `placed` is called once, by the packer's thread: in
// end() when all extents have their places, else as soon as the bundle they are in is closed. A caller that is going to
// wait for somebody who waits for its files calls close_bundle() first.
class BackupPacker {
  public:
    using Pieces = std::shared_ptr<PackedPieces>;
    explicit BackupPacker(BackupObjects &objects);

    [[nodiscard]] static Pieces begin(std::string path, PackedPieces::Placed placed);
    // 1 to kMaxExtentBytes bytes at `offset`; they are copied. `digest`: combined_hash() of their blocks, or zeroes.
    void add(const Pieces &pieces, uint64_t offset, ByteView plain, const BlockHash &digest, const CancelToken &cancel);
    // An extent that is stored already.
    static void add_stored(const Pieces &pieces, const ExtentRef &extent) { pieces->extents_.push_back(extent); }
    static void end(const Pieces &pieces);

    // Whether extents wait for others to share a frame with.
    [[nodiscard]] bool bundling() const noexcept { return !bundle_.empty(); }
    void close_bundle(const CancelToken &cancel);
    // Closes the bundle and gives what was begun to the uploader.
    void flush(const CancelToken &cancel);

  private:
    struct Waiting {
        Pieces pieces;
        size_t index = 0; // in pieces->extents_
        BlockHash digest{};
    };
    void make_room(size_t plain_length, size_t path_bytes, size_t extents, const CancelToken &cancel);
    void placed_frame(const PackPlace &place, const CancelToken &cancel);
    void put_pack(const CancelToken &cancel);
    void place_bundled(const PackPlace &place, uint32_t pack, const ContentHash &hash);

    BackupObjects &objects_;
    PackBuilder builder_;
    uint32_t number_ = 0;
    uint64_t bytes_ = 0; // of the pack that was begun, as stored
    std::vector<Waiting> bundle_;
    Bytes bundle_plain_;
    size_t bundle_path_bytes_ = 0;
};

} // namespace pgvigil
