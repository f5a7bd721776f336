// Small things nobody needs any more: what a deleted backup's id still has, tombstones that have done their work, signs
// of life of finished backups, probes. Used by transfer/expire. Threading: blocks.
#pragma once

#include "transfer/expire_inventory.h"

#include <set>
#include <string>
#include <vector>

namespace pgvigil {

// Packs, table and hashes below data/<id>/ and files/<id>/, without those in `adopted`.
[[nodiscard]] std::vector<DoomedObject> stored_objects(const Repository &repository, const std::string &id,
                                                       const std::set<std::string> &adopted, const CancelToken &cancel);

// The attempt's documents and the keeps of a backup that has gone.
[[nodiscard]] std::vector<DoomedObject> small_objects(const Repository &repository, const ExpireInventory &inventory,
                                                      const std::set<std::string> &gone, const CancelToken &cancel);

// What is older than the time of grace: tombstones of which nothing else is left, renewals of backups that committed,
// objects of pgv_check(), claims of scheduled jobs, signs of life of writers.
[[nodiscard]] std::vector<DoomedObject> old_objects(const Repository &repository, const ExpireInventory &inventory,
                                                    int64_t grace_ms, const CancelToken &cancel);

} // namespace pgvigil
