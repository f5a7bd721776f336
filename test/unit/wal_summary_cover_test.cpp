#include "pgdata/wal_summary_cover.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

WalSummaryFile file(TimelineId timeline, uint64_t start, uint64_t end) {
    return {std::to_string(timeline) + ":" + std::to_string(start) + "-" + std::to_string(end),
            {timeline, Lsn{start}, Lsn{end}}};
}

WalSpan span(TimelineId timeline, uint64_t start, uint64_t end) {
    return {timeline, Lsn{start}, Lsn{end}};
}

TEST(WalSummaryCover, FilesThatJoinCoverASpanInAnyOrder) {
    const auto cover = cover_by_summaries({file(1, 30, 50), file(1, 10, 20), file(1, 20, 30)}, {span(1, 15, 45)});
    EXPECT_FALSE(cover.missing);
    EXPECT_EQ(cover.paths, (std::vector<std::string>{"1:10-20", "1:20-30", "1:30-50"}));
}

TEST(WalSummaryCover, OnlyWhatOverlapsIsTaken) {
    const auto cover =
        cover_by_summaries({file(1, 1, 10), file(1, 10, 20), file(1, 20, 30), file(2, 10, 20)}, {span(1, 10, 20)});
    EXPECT_FALSE(cover.missing);
    EXPECT_EQ(cover.paths, std::vector<std::string>{"1:10-20"});
}

TEST(WalSummaryCover, AHoleIsNamedWhereItBegins) {
    for (const auto &files :
         {std::vector<WalSummaryFile>{file(1, 10, 20), file(1, 21, 40)}, std::vector<WalSummaryFile>{file(1, 10, 20)},
          std::vector<WalSummaryFile>{file(1, 10, 20), file(2, 20, 40)}}) {
        const auto cover = cover_by_summaries(files, {span(1, 10, 40)});
        ASSERT_TRUE(cover.missing);
        EXPECT_EQ(cover.missing->timeline, 1U);
        EXPECT_EQ(cover.missing->start.value, 20U);
        EXPECT_EQ(cover.missing->end.value, 40U);
    }
    const auto late = cover_by_summaries({file(1, 11, 40)}, {span(1, 10, 40)});
    ASSERT_TRUE(late.missing);
    EXPECT_EQ(late.missing->start.value, 10U);
    EXPECT_TRUE(cover_by_summaries({}, {span(1, 10, 40)}).missing);
}

TEST(WalSummaryCover, EveryTimelineIsCoveredByItsOwnFiles) {
    const std::vector<WalSpan> spans{span(1, 10, 20), span(2, 20, 30)};
    EXPECT_FALSE(cover_by_summaries({file(1, 5, 20), file(2, 20, 30)}, spans).missing);
    const auto cover = cover_by_summaries({file(1, 5, 30)}, spans);
    ASSERT_TRUE(cover.missing);
    EXPECT_EQ(cover.missing->timeline, 2U);
}

TEST(WalSummaryCover, NothingToCoverNeedsNothing) {
    EXPECT_FALSE(cover_by_summaries({}, {}).missing);
    EXPECT_FALSE(cover_by_summaries({}, {span(1, 10, 10)}).missing);
}

// Against a bitmap of every position.
RC_GTEST_PROP(WalSummaryCoverProperty, CoversExactlyWhatABitmapSays, ()) {
    const auto number = rc::gen::inRange<uint64_t>(1, 40);
    std::vector<WalSummaryFile> files;
    std::set<uint64_t> covered;
    for (int i = *rc::gen::inRange(0, 8); i > 0; --i) {
        const uint64_t start = *number;
        const uint64_t end = start + *rc::gen::inRange<uint64_t>(1, 15);
        files.push_back(file(1, start, end));
        for (uint64_t at = start; at < end; ++at)
            covered.insert(at);
    }
    const uint64_t start = *number;
    const uint64_t end = start + *rc::gen::inRange<uint64_t>(0, 20);
    const auto cover = cover_by_summaries(files, {span(1, start, end)});
    uint64_t hole = start;
    while (hole < end && covered.contains(hole))
        ++hole;
    RC_ASSERT(cover.missing.has_value() == (hole < end));
    if (cover.missing)
        RC_ASSERT(cover.missing->start.value == hole);
}

TEST(WalSummaryCover, TheDirectoryIsReadByItsNames) {
    const std::filesystem::path directory =
        std::filesystem::temp_directory_path() / ("pgvigil-summaries-" + std::to_string(::getpid()));
    EXPECT_TRUE(list_wal_summaries(directory.string()).empty());
    std::filesystem::create_directory(directory);
    for (const char *name : {"0000000100000000010000280000000001000100.summary", "temp.summary", "note"})
        std::ofstream(directory / name) << "x";
    const auto files = list_wal_summaries(directory.string());
    std::filesystem::remove_all(directory);
    ASSERT_EQ(files.size(), 1U);
    EXPECT_EQ(files[0].name.timeline, 1U);
    EXPECT_EQ(files[0].name.start.value, 0x1000028U);
    EXPECT_EQ(files[0].name.end.value, 0x1000100U);
}

} // namespace
} // namespace pgvigil
