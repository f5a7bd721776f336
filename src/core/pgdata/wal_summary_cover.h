// Which of the server's WAL summary files together cover given ranges of WAL without a hole.
// Source: backup/walsummary.c (GetWalSummaries, WalSummariesAreComplete). Threading: pure functions.
#pragma once

#include "base/lsn.h"
#include "pgdata/wal_summary.h"

#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct WalSummaryFile {
    std::string path;
    WalSummaryName name;
};

// [start, end) of a timeline.
struct WalSpan {
    TimelineId timeline = 0;
    Lsn start;
    Lsn end;
};

struct WalSummaryCover {
    std::vector<std::string> paths; // of every file that overlaps one of the spans
    std::optional<WalSpan> missing; // the first stretch that no file covers; its end is that of the span
};

[[nodiscard]] WalSummaryCover cover_by_summaries(std::vector<WalSummaryFile> files, const std::vector<WalSpan> &spans);

// The summaries in `directory` (absolute); empty when there is no such directory. Throws for one that cannot be read.
[[nodiscard]] std::vector<WalSummaryFile> list_wal_summaries(const std::string &directory);

} // namespace pgvigil
