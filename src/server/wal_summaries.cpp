#include "server/pg.h"

#include "server/wal_summaries.h"

#include "server/boundary.h"
#include "server/waiting.h"

#include "base/error.h"
#include "base/time.h"
#include "pgdata/wal_summary_cover.h"

namespace pgvigil {

namespace {

constexpr int64_t kPatienceMs = 30000; // without any progress
constexpr int64_t kLongestMs = 600000;
constexpr long kLookMs = 50;

compat::SummarizerState summarizer_state() {
    compat::SummarizerState state{};
    pg_section([&state]() noexcept { state = compat::summarizer_state(); });
    return state;
}

std::vector<WalSpan> to_spans(const std::vector<WalRange> &ranges) {
    std::vector<WalSpan> spans;
    for (const WalRange &range : ranges)
        spans.push_back({range.timeline, range.start, range.end});
    return spans;
}

std::string missing_sentence(const WalSpan &missing) {
    return "WAL summaries of timeline " + std::to_string(missing.timeline) + " are missing from " +
           to_string(missing.start) + " on.";
}

// Summaries that cannot be listed are none: blocks are compared then, or the backup is full.
void look(WalSummaries &result, const std::vector<WalRange> &ranges, XLogRecPtr needed_below) {
    try {
        WalSummaryCover cover =
            cover_by_summaries(list_wal_summaries(std::string(DataDir) + "/pg_wal/summaries"), to_spans(ranges));
        if (cover.missing && cover.missing->start.value < needed_below)
            result.problem = missing_sentence(*cover.missing);
        result.paths = std::move(cover.paths);
    } catch (const Error &error) {
        result.problem = "WAL summaries are of no use: " + error.message() + ".";
    }
}

std::string general_problem() {
    if constexpr (!compat::kHasWalSummaries)
        return "PostgreSQL " + std::to_string(PG_VERSION_NUM / 10000) + " has no WAL summaries.";
    return summarizer_state().on ? "" : "\"summarize_wal\" is off.";
}

// Empty once the summarizer has reached `end`.
std::string await_summarizer(Lsn end, const std::function<bool()> &tick) {
    const int64_t started = boot_time_ms();
    int64_t moved = started;
    XLogRecPtr before = InvalidXLogRecPtr;
    for (;;) {
        const compat::SummarizerState state = summarizer_state();
        const int64_t now = boot_time_ms();
        if (!state.on)
            return general_problem();
        if (state.summarized >= end.value)
            return "";
        if (state.pending > before)
            moved = now;
        before = std::max(before, state.pending);
        if (now - moved > kPatienceMs || now - started > kLongestMs)
            return "The WAL summarizer stays at " + to_string(Lsn{before}) + ".";
        if (tick())
            throw Error(ErrorCode::kCancelled, "the wait for WAL summaries was ended");
        pg_section([]() noexcept { compat::wake_summarizer(); });
        wait_on_latch(-1, kLookMs);
    }
}

} // namespace

WalSummaries expect_wal_summaries(const std::vector<WalRange> &ranges) {
    WalSummaries result;
    result.problem = general_problem();
    if (!result.problem.empty())
        return result;
    // What is missing behind this is still to come.
    look(result, ranges, summarizer_state().summarized);
    return result;
}

WalSummaries await_wal_summaries(const std::vector<WalRange> &ranges, const std::function<bool()> &tick) {
    WalSummaries result;
    result.problem = general_problem();
    if (result.problem.empty() && !ranges.empty())
        result.problem = await_summarizer(ranges.back().end, tick);
    if (!result.problem.empty())
        return result;
    look(result, ranges, UINT64_MAX);
    return result;
}

} // namespace pgvigil
