#include "transfer/backup_pack.h"

#include "crypto/digest.h"

#include <algorithm>
#include <utility>

namespace pgvigil {

namespace {

// The first packs are small, so that uploading begins early and the last ones end soon; the commit document of a large
// backup has to list them all, so that later ones are as large as they may be.
constexpr uint64_t kSmallPackBytes = 16 * kMiB;
constexpr uint32_t kSmallPacks = 256;

} // namespace

BackupObjects::BackupObjects(std::string backup_id, ClusterLayout layout, Compression codec, uint64_t writer_epoch,
                             const Uuid &writer_attempt, BackupUploader &uploader)
    : compression(codec), epoch(writer_epoch), attempt(writer_attempt), id_(std::move(backup_id)),
      layout_(std::move(layout)), uploader_(uploader) {}

StoredObject BackupObjects::put(const std::string &prefix, const std::string &key, Bytes body, ObjectRole role,
                                const CancelToken &cancel) {
    StoredObject stored;
    stored.name = key.substr(prefix.size());
    stored.size = body.size();
    stored.sha256 = sha256(body);
    uploader_.put(key, std::move(body), role, stored.sha256, cancel);
    return stored;
}

void BackupObjects::put_pack(uint32_t number, Bytes body, const CancelToken &cancel) {
    StoredObject stored =
        put(layout_.data_prefix(id_), layout_.pack(id_, number), std::move(body), ObjectRole::kPack, cancel);
    stored.number = number;
    const std::lock_guard lock(mutex_);
    packs_.push_back(std::move(stored));
}

void BackupObjects::put_table(const std::string &name, Bytes body, const CancelToken &cancel) {
    const std::string prefix = layout_.files_prefix(id_);
    StoredObject stored = put(prefix, prefix + name, std::move(body), ObjectRole::kDocument, cancel);
    const std::lock_guard lock(mutex_);
    table_.push_back(std::move(stored));
}

void BackupObjects::put_hashes(const std::string &name, Bytes body, const CancelToken &cancel) {
    const std::string prefix = layout_.files_prefix(id_);
    StoredObject stored = put(prefix, prefix + name, std::move(body), ObjectRole::kDocument, cancel);
    const std::lock_guard lock(mutex_);
    stored.number = static_cast<uint32_t>(hashes_.size());
    hashes_.push_back(std::move(stored));
}

uint32_t BackupObjects::adopt_pack(const StoredObject &pack) {
    const std::lock_guard lock(mutex_);
    const auto [at, is_new] = adopted_.try_emplace(pack.name, pack);
    if (is_new)
        at->second.number = next_pack();
    return at->second.number;
}

std::vector<StoredObject> BackupObjects::hashes() const {
    const std::lock_guard lock(mutex_);
    return hashes_;
}

std::vector<StoredObject> BackupObjects::own_packs() const {
    const std::lock_guard lock(mutex_);
    return packs_;
}

std::vector<StoredObject> BackupObjects::packs() const {
    const std::lock_guard lock(mutex_);
    std::vector<StoredObject> sorted = packs_;
    for (const auto &[name, pack] : adopted_)
        sorted.push_back(pack);
    std::sort(sorted.begin(), sorted.end(),
              [](const StoredObject &a, const StoredObject &b) { return a.number < b.number; });
    return sorted;
}

std::vector<StoredObject> BackupObjects::table() const {
    const std::lock_guard lock(mutex_);
    return table_;
}

uint64_t BackupObjects::stored_bytes() const {
    const std::lock_guard lock(mutex_);
    uint64_t bytes = 0;
    for (const auto *list : {&packs_, &table_, &hashes_})
        for (const StoredObject &object : *list)
            bytes += object.size;
    for (const auto &[name, pack] : adopted_)
        bytes += pack.size;
    return bytes;
}

BackupPacker::BackupPacker(BackupObjects &objects)
    : objects_(objects), builder_(objects.compression, objects.epoch, objects.attempt, kMaxPackBytes) {}

BackupPacker::Pieces BackupPacker::begin(std::string path, PackedPieces::Placed placed) {
    return std::make_shared<PackedPieces>(std::move(path), std::move(placed));
}

void BackupPacker::add(const Pieces &pieces, uint64_t offset, ByteView plain, const BlockHash &digest,
                       const CancelToken &cancel) {
    ExtentRef extent;
    extent.offset = offset;
    extent.plain_length = static_cast<uint32_t>(plain.size());
    extent.own_hash = content_hash(plain);
    if (plain.size() < kBundledBelowBytes) {
        if (bundle_plain_.size() + plain.size() > kMaxBundleBytes || bundle_.size() == kMaxBundleExtents)
            close_bundle(cancel);
        extent.frame_offset = static_cast<uint32_t>(bundle_plain_.size());
        bundle_plain_.insert(bundle_plain_.end(), plain.begin(), plain.end());
        bundle_path_bytes_ += pieces->path_.size();
        bundle_.push_back({pieces, pieces->extents_.size(), digest});
        ++pieces->waiting_;
        pieces->extents_.push_back(extent);
        return;
    }
    make_room(plain.size(), pieces->path_.size(), 1, cancel);
    extent.pack = number_;
    extent.frame_length = extent.plain_length;
    extent.hash = extent.own_hash;
    extent.place = builder_.add(pieces->path_, offset, plain, extent.hash, digest);
    pieces->extents_.push_back(extent);
    placed_frame(extent.place, cancel);
}

void BackupPacker::end(const Pieces &pieces) {
    pieces->ended_ = true;
    if (pieces->waiting_ == 0)
        pieces->placed_(std::move(pieces->extents_));
}

void BackupPacker::close_bundle(const CancelToken &cancel) {
    if (bundle_.empty())
        return;
    make_room(bundle_plain_.size(), bundle_path_bytes_, bundle_.size(), cancel);
    PackPlace place;
    ContentHash hash{};
    if (bundle_.size() == 1) {
        const ExtentRef &only = bundle_.front().pieces->extents_[bundle_.front().index];
        hash = only.own_hash;
        place = builder_.add(bundle_.front().pieces->path_, only.offset, bundle_plain_, hash, bundle_.front().digest);
    } else {
        std::vector<BundledExtent> extents;
        for (const Waiting &waiting : bundle_) {
            const ExtentRef &extent = waiting.pieces->extents_[waiting.index];
            extents.push_back(
                {waiting.pieces->path_, extent.offset, extent.plain_length, extent.own_hash, waiting.digest});
        }
        hash = content_hash(bundle_plain_);
        place = builder_.add_bundle(std::move(extents), bundle_plain_, hash);
    }
    const uint32_t pack = number_;
    placed_frame(place, cancel);
    place_bundled(place, pack, hash);
}

void BackupPacker::place_bundled(const PackPlace &place, uint32_t pack, const ContentHash &hash) {
    const auto frame_length = static_cast<uint32_t>(bundle_plain_.size());
    bundle_plain_.clear();
    bundle_path_bytes_ = 0;
    for (const Waiting &waiting : std::exchange(bundle_, {})) {
        PackedPieces &pieces = *waiting.pieces;
        ExtentRef &extent = pieces.extents_[waiting.index];
        extent.pack = pack;
        extent.place = place;
        extent.frame_length = frame_length;
        extent.hash = hash;
        if (--pieces.waiting_ == 0 && pieces.ended_)
            pieces.placed_(std::move(pieces.extents_));
    }
}

// Begins another pack when the frame does not fit into this one.
void BackupPacker::make_room(size_t plain_length, size_t path_bytes, size_t extents, const CancelToken &cancel) {
    if (!builder_.empty() && !builder_.fits(plain_length, path_bytes, extents))
        put_pack(cancel);
    if (builder_.empty())
        number_ = objects_.next_pack();
}

void BackupPacker::placed_frame(const PackPlace &place, const CancelToken &cancel) {
    bytes_ += place.length;
    if (builder_.full() || (number_ < kSmallPacks && bytes_ >= kSmallPackBytes))
        put_pack(cancel);
}

void BackupPacker::put_pack(const CancelToken &cancel) {
    bytes_ = 0;
    objects_.put_pack(number_, builder_.finish(), cancel);
}

void BackupPacker::flush(const CancelToken &cancel) {
    close_bundle(cancel);
    if (!builder_.empty())
        put_pack(cancel);
}

} // namespace pgvigil
