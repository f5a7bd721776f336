// The catalog as this server knows it: a file in the data directory that any of its processes may bring up to date,
// and, in shared memory, what the archiver has stored since. Views read both and ask no store. A reading that began
// later is never replaced by one that began before. Threading: the process's main thread; stores are read in a thread.
#pragma once

#include "server/pg.h"

#include "server/server_facts.h"
#include "server/settings.h"

#include "base/error.h"
#include "plan/recovery_windows.h"
#include "repo/catalog_file.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

// One repository as it was read.
struct CatalogReading {
    std::string url;
    std::string id;
    bool conditional = true;
    std::optional<Error> problem;
    std::optional<KnownCatalog> known;
    std::vector<RecoveryWindow> windows;
};

// Reads every repository, leaves the result in the file and in shared memory, and returns it. Throws only what cannot
// be told per repository.
[[nodiscard]] std::vector<CatalogReading> read_catalogs(const Settings &settings, const ServerFacts &facts,
                                                        const std::function<bool()> &stop = {});

// For whoever has changed what the repositories hold: brings the catalog up to date; a failure is a warning in the log.
void refresh_catalog_file() noexcept;

// What the views show, one per repository that was ever read. Reads the repositories only where nothing is known yet,
// or without shared memory. Throws the first problem when there is none at all.
[[nodiscard]] std::vector<KnownCatalog> shown_catalogs(const Settings &settings, const ServerFacts &facts);

// Answers from what a KnownCatalog holds; asks nobody.
class KnownWalFacts final : public WalFactsSource {
  public:
    explicit KnownWalFacts(const KnownCatalog &known) : known_(known) {}
    void expect(TimelineId /*timeline*/, uint64_t /*first*/, uint64_t /*last*/) override {}
    std::optional<WalScanSummary> facts(TimelineId timeline, uint64_t segment) override;
    std::vector<TransactionEnd> transaction_ends(TimelineId /*timeline*/, uint64_t /*segment*/) override { return {}; }

  private:
    const KnownCatalog &known_;
};

} // namespace pgvigil
