// One WAL object into one repository: stored, found there with the same content, or refused (rules B1, B3, C2).
// Threading: free functions, called by many threads at once.
#pragma once

#include "base/bytes.h"
#include "base/cancel.h"
#include "base/lsn.h"
#include "base/wal_name.h"
#include "repo/repository.h"

#include <cstdint>
#include <optional>
#include <string>

namespace pgvigil {

// Who writes, and from where on it is the writer.
struct WalWriter {
    uint64_t epoch = 0;
    Lsn epoch_start;
    TimelineId epoch_timeline = 0;
    uint64_t segment_size = 0; // bytes
};

// Complete and unchanged as long as an upload of it runs: every retry sends the same bytes.
struct WalObject {
    std::string name; // as in pg_wal
    WalFileName parsed{};
    std::string key; // where it belongs, the same in every repository
    Bytes body;
    std::optional<Sha256Digest> body_sha256; // known when several repositories share the work
    uint64_t plain_length = 0;               // bytes of the whole file
    Sha256Digest digest{};                   // of the whole file's plain bytes
};

enum class WalUploadOutcome { kStored, kAlreadyThere };

struct WalUploadResult {
    WalUploadOutcome outcome = WalUploadOutcome::kStored;
    std::string key; // where the content is now: the object's own key or that of the epoch which readers accept there
};

// Throws kConflict, naming both sides, when the name is taken by other content that this writer does not supersede.
WalUploadResult upload_wal_object(const Repository &repository, const WalObject &object, const WalWriter &writer,
                                  const CancelToken &cancel);

// What stands under a file's name before anything is uploaded. kFree: nothing, or an object this writer supersedes.
enum class WalPlace { kFree, kSameContent };
// `object` without a body. Throws kConflict as upload_wal_object() does.
WalPlace look_up_wal_object(const Repository &repository, const WalObject &object, const WalWriter &writer,
                            const CancelToken &cancel);

} // namespace pgvigil
