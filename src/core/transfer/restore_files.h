// Restores the files of a backup: the tables of its chain are merged, what is to be read is arranged by packs and given
// to the workers.
// Threading: run() blocks its caller and uses threads of its own; `on_file` is called by one of them at a time.
// Errors: kCorrupt naming the object or the path for what no backup holds.
#pragma once

#include "base/cancel.h"
#include "transfer/restore_delta.h"
#include "transfer/restore_job.h"
#include "transfer/restore_prune.h"
#include "transfer/restore_sources.h"

#include <functional>
#include <map>
#include <optional>
#include <string>

namespace pgvigil {

class RestoreFetcher;

class RestoreFiles {
  public:
    using Locations = std::map<uint32_t, std::string>; // of tablespaces, by oid
    using OnFile = std::function<void(const RestoredFile &file)>;
    RestoreFiles(RestoreSources &sources, RestoreTree &tree, const Locations &locations, const RestoreOptions &options,
                 RestoreProgress &progress, OnFile on_file, const CancelToken &cancel);

    // What the directory holds is compared, kept, written over or removed.
    void use_delta(RestoreDelta &delta, RestorePrune &prune);
    void run();

  private:
    void check_entry(const FileEntry &entry);
    void add(ChainEntry &&found, RestoreFetcher &fetcher);
    void flush(RestoreFetcher &fetcher);

    RestoreSources &sources_;
    RestoreTree &tree_;
    const Locations &locations_;
    const RestoreOptions &options_;
    RestoreProgress &progress_;
    const OnFile on_file_;
    const CancelToken &cancel_;
    RestoreDelta *delta_ = nullptr;
    RestorePrune *prune_ = nullptr;
    PackList packs_;
    std::string previous_;
    std::vector<ExtentRead> window_;
    std::vector<std::shared_ptr<RestoredFile>> files_; // of the window, with --delta
};

} // namespace pgvigil
