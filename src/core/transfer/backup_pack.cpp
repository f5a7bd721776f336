#include "transfer/backup_pack.h"

#include "crypto/digest.h"

#include <algorithm>

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
    const std::lock_guard lock(mutex_);
    packs_.push_back(std::move(stored));
}

void BackupObjects::put_table(const std::string &name, Bytes body, const CancelToken &cancel) {
    const std::string prefix = layout_.files_prefix(id_);
    StoredObject stored = put(prefix, prefix + name, std::move(body), ObjectRole::kDocument, cancel);
    const std::lock_guard lock(mutex_);
    table_.push_back(std::move(stored));
}

std::vector<StoredObject> BackupObjects::packs() const {
    const std::lock_guard lock(mutex_);
    std::vector<StoredObject> sorted = packs_;
    std::sort(sorted.begin(), sorted.end(),
              [](const StoredObject &a, const StoredObject &b) { return a.name < b.name; });
    return sorted;
}

std::vector<StoredObject> BackupObjects::table() const {
    const std::lock_guard lock(mutex_);
    return table_;
}

uint64_t BackupObjects::stored_bytes() const {
    const std::lock_guard lock(mutex_);
    uint64_t bytes = 0;
    for (const auto *list : {&packs_, &table_})
        for (const StoredObject &object : *list)
            bytes += object.size;
    return bytes;
}

BackupPacker::BackupPacker(BackupObjects &objects)
    : objects_(objects), builder_(objects.compression, objects.epoch, objects.attempt, kMaxPackBytes) {}

ExtentRef BackupPacker::add(std::string_view path, uint64_t offset, ByteView plain, const CancelToken &cancel) {
    if (!builder_.empty() && !builder_.fits(plain.size(), path.size()))
        flush(cancel);
    if (builder_.empty())
        number_ = objects_.next_pack();
    ExtentRef extent;
    extent.offset = offset;
    extent.plain_length = static_cast<uint32_t>(plain.size());
    extent.pack = number_;
    extent.hash = content_hash(plain);
    extent.place = builder_.add(path, offset, plain, extent.hash);
    bytes_ += extent.place.length;
    if (builder_.full() || (number_ < kSmallPacks && bytes_ >= kSmallPackBytes))
        flush(cancel);
    return extent;
}

void BackupPacker::flush(const CancelToken &cancel) {
    if (builder_.empty())
        return;
    bytes_ = 0;
    objects_.put_pack(number_, builder_.finish(), cancel);
}

} // namespace pgvigil
