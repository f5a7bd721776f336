// Shows that a running backup lives: writes attempts/<id>~<6 digits>.json about once a minute, with the packs stored
// since (rules A7). A renewal that cannot be written is a warning: the backup's own objects decide whether it can go
// on. Threading: a thread of its own from construction to destruction; one owner.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "repo/documents.h"
#include "transfer/backup_upload.h"

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace pgvigil {

class AttemptRenewal {
  public:
    // All packs so far, in the order in which they were handed to the uploader.
    using Packs = std::function<std::vector<StoredObject>()>;
    AttemptRenewal(BackupUploader &uploader, std::string attempt, uint64_t epoch, const Uuid &writer,
                   std::chrono::milliseconds period, Packs packs, LogSink &log);
    ~AttemptRenewal(); // ends a renewal under way

  private:
    void run() noexcept;
    void renew(std::vector<StoredObject> packs);

    BackupUploader &uploader_;
    const std::string attempt_;
    const uint64_t epoch_;
    const Uuid writer_;
    const std::chrono::milliseconds period_;
    const Packs packs_;
    LogSink &log_;
    uint32_t number_ = 0;
    bool warned_ = false;
    CancelToken stop_;
    std::thread thread_;
};

} // namespace pgvigil
