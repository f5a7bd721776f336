// Extents into packs: a packer fills one pack after another and gives each full one to the uploader.
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
    // `name` is a part's or the index's below files/<id>/.
    void put_table(const std::string &name, Bytes body, const CancelToken &cancel);

    // In order of their numbers; the table as it was written.
    [[nodiscard]] std::vector<StoredObject> packs() const;
    [[nodiscard]] std::vector<StoredObject> table() const;
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
};

class BackupPacker {
  public:
    explicit BackupPacker(BackupObjects &objects);

    // 1 to kMaxExtentBytes bytes of `path` at `offset`.
    ExtentRef add(std::string_view path, uint64_t offset, ByteView plain, const CancelToken &cancel);
    // Gives what was begun to the uploader.
    void flush(const CancelToken &cancel);

  private:
    BackupObjects &objects_;
    PackBuilder builder_;
    uint32_t number_ = 0;
    uint64_t bytes_ = 0; // of the pack that was begun, as stored
};

} // namespace pgvigil
