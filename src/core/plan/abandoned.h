// Backups of a history that the cluster has left: its disk was put back to an earlier state, and an operator made it
// the writer again on the same timeline (rules C3). Timeline and LSN do not tell such a backup from one of the history
// that holds; its epoch does: it is abandoned when a later epoch begins on one of its timelines before the backup's end
// there. A promotion begins a timeline and gives up nothing. Threading: pure functions.
#pragma once

#include "repo/catalog.h"

#include <string>
#include <vector>

namespace pgvigil {

// Whether WAL that older epochs wrote on the epoch's timeline behind its LSN was given up.
[[nodiscard]] bool gives_up_history(const std::vector<EpochDocument> &epochs, const EpochDocument &epoch);

// The epoch that gave up the history of `backup`; nullptr when none did. What the backup builds on is not looked at.
[[nodiscard]] const EpochDocument *abandoned_by(const std::vector<EpochDocument> &epochs, const CommitDocument &backup);
// The same of the backup and all it builds on, as far as the catalog has it.
[[nodiscard]] const EpochDocument *abandoned_by(const Catalog &catalog, const CommitDocument &backup);

// A sentence without its full stop: "epoch 2 began at 0/900 on timeline 1, before its end".
[[nodiscard]] std::string describe_abandoned(const EpochDocument &epoch);

} // namespace pgvigil
