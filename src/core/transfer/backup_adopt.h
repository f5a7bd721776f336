// Continues attempts that died (rules A7): finds them, reads the footers of their packs, and knows for the bytes of an
// extent whether one of these packs holds them already.
//
// What counts as the same bytes: an equal combined_hash() of the keyed block hashes that both backups took when they
// read them. XXH3 alone would let a database user bring about a match. So nothing is taken over that was not read again
// after the new backup's start, and nothing where block hashes are off.
//
// Guarantees: only attempts that the new attempt's document names are used, and only those without a tombstone after it
// was created (rules D2); only packs that every live repository holds. Memory is bounded: beyond about a million
// extents further packs are left out. Threading: filled by the owner of the backup; find() by any thread.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "repo/documents.h"
#include "repo/file_table.h"
#include "repo/pack.h"
#include "transfer/backup_upload.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct DeadAttemptRules {
    // An attempt is dead when it showed no sign of life for so long, by the store's clock …
    std::chrono::milliseconds silence{std::chrono::minutes(5)};
    // … or at once, when the caller knows that its own instance runs no other backup.
    bool alone = false;
};

// Attempts like `own` (same cluster and timeline, and no history given up since) that died after the newest backup, the
// newest first, at most three.
[[nodiscard]] std::vector<std::string> find_dead_attempts(const BackupUploader &uploader, const AttemptDocument &own,
                                                          const DeadAttemptRules &rules, const CancelToken &cancel);

class AdoptedPacks {
  public:
    // Reads what the attempts `ids`, which the new attempt's document names, left.
    void load(const BackupUploader &uploader, const std::vector<std::string> &ids, LogSink &log,
              const CancelToken &cancel);
    [[nodiscard]] bool empty() const noexcept { return extents_.empty(); }

    struct Found {
        ExtentRef extent; // its pack and offset are the caller's to set
        size_t pack = 0;  // in pack()
    };
    // An extent of `length` bytes that hash to `digest`.
    [[nodiscard]] std::optional<Found> find(const BlockHash &digest, uint32_t length) const;
    [[nodiscard]] const StoredObject &pack(size_t index) const { return packs_[index].object; }

  private:
    struct Pack {
        StoredObject object; // its name is "<attempt>/<number>"
        bool digest_known = false;
    };
    struct Extent {
        BlockHash digest{};
        uint32_t length = 0;
        uint32_t pack = 0;
        PackPlace place;
        uint32_t frame_offset = 0;
        uint32_t frame_length = 0;
        ContentHash hash{};
        ContentHash own_hash{};
    };
    void list_packs(const BackupUploader &uploader, const std::string &id, const CancelToken &cancel);
    [[nodiscard]] std::vector<PackedExtent> read_footer(const Repository &repository, Pack &pack,
                                                        const CancelToken &cancel) const;

    std::vector<Pack> packs_;
    std::vector<Extent> extents_; // by digest and length
};

} // namespace pgvigil
