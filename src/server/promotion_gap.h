// The promotion gap: a standby marks the segments it receives as archived, because its primary archives them. If that
// one died before it did, nobody ever would: after a promotion the new writer hands those to its archiver that the
// repositories lack. Only segments wholly before the point where the timelines part (rules B10).
// Threading: the main thread; the stores are read in a thread of the core.
#pragma once

#include "server/server_facts.h"
#include "server/settings.h"

#include "repo/writer_claim.h"

#include "repo/documents.h"
#include "repo/repository.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace pgvigil {

// The timelines that `timeline` descends from, each with its part of the history, oldest first, as pg_wal's history
// file says; none where there is no such file. Throws kCorrupt for a damaged one.
[[nodiscard]] std::vector<WalRange> timeline_ancestors(TimelineId timeline);

// The names of what this server has of its own history and one of `repositories` lacks: complete segments of ancestor
// timelines, and the timeline's history file. WAL that has expired, or was let go, is not missed. Before all is there,
// nothing of the timeline can be restored.
[[nodiscard]] std::set<std::string> missing_history(const ServerFacts &facts,
                                                    const std::vector<std::shared_ptr<Repository>> &repositories,
                                                    const std::function<bool()> &stop);

// Those of `segments`, names as in pg_wal, that one of `repositories` lacks, or has from a server that readers do not
// accept there. What has expired is not missed.
[[nodiscard]] std::set<std::string> not_stored(const std::set<std::string> &segments, uint64_t segment_size,
                                               const std::vector<std::shared_ptr<Repository>> &repositories,
                                               const std::function<bool()> &stop);

// Returns how many files were handed to the archiver.
size_t close_promotion_gap(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop);

// A server that took over on a timeline of which the repositories have WAL: from its epoch's start on readers accept
// only what it stores itself, so everything complete from there on is handed to the archiver, whatever archive_status
// says, unless it is there already, or has expired. Returns how many files those were.
size_t archive_own_anew(const Claim &claim, const ServerFacts &facts, const std::function<bool()> &stop);

// Whether the segment `file` ends behind the end of an ancestor timeline of this server: it is no part of this server's
// history, or only its beginning is, which stands in the child's own segment. PostgreSQL hands such files to the
// archiver: one that was recycled ahead on the ancestor's timeline gets a status file when its number is passed
// (RemoveOldXlogFiles, XLogArchiveCheckDone); with archive_mode=always also one that recovery fetched. False in
// recovery.
[[nodiscard]] bool lies_behind_switch(const ServerFacts &facts, const std::string &file);

} // namespace pgvigil
