#include "pgdata/history_file.h"

#include "base/error.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

TEST(History, ReadsWhatPostgresWrites) {
    const auto switches = parse_history_file("1\t0/3000110\tno recovery target specified\n\n"
                                             "2\t0/5000000\tbefore 2026-11-20 09:00:00.000000+00\n\n",
                                             3);
    ASSERT_EQ(switches.size(), 2U);
    EXPECT_EQ(switches[0].timeline, 1U);
    EXPECT_EQ(switches[0].end, (Lsn{0x3000110}));
    EXPECT_EQ(switches[0].reason, "no recovery target specified");
    EXPECT_EQ(switches[1].timeline, 2U);
    EXPECT_EQ(switches[1].reason, "before 2026-11-20 09:00:00.000000+00");
}

TEST(History, CommentsBlanksAndNothing) {
    EXPECT_TRUE(parse_history_file("", 2).empty());
    EXPECT_EQ(parse_history_file("# hand made\n\n  \t\n 1 0/16B3748", 2).size(), 1U);
}

TEST(History, RefusesWhatCannotBe) {
    for (const char *bad : {"x\t0/1\n", "1\n", "1\t0-1\n", "1x\t0/1\n", "3\t0/1\n", "4\t0/1\n", "0\t0/1\n", "-1\t0/1\n",
                            "2\t0/1\n1\t0/2\n", "1\t0/2\n1\t0/3\n", "1\t0/3\n2\t0/2\n", "99999999999\t0/1\n"}) {
        try {
            (void)parse_history_file(bad, 3);
            ADD_FAILURE() << bad;
        } catch (const Error &error) {
            EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
            EXPECT_NE(error.message().find("00000003.history"), std::string::npos);
        }
    }
}

RC_GTEST_PROP(History, RoundTrip, (const std::vector<uint16_t> &steps)) {
    std::string text;
    TimelineId timeline = 0;
    uint64_t lsn = 0;
    for (const uint16_t step : steps) {
        timeline += 1 + step % 3;
        lsn += step;
        text += std::to_string(timeline) + "\t" + to_string(Lsn{lsn}) + "\treason " + std::to_string(step) + "\n\n";
    }
    const auto switches = parse_history_file(text, timeline + 1);
    RC_ASSERT(switches.size() == steps.size());
    for (size_t i = 0; i < steps.size(); ++i)
        RC_ASSERT(switches[i].reason == "reason " + std::to_string(steps[i]));
}

RC_GTEST_PROP(History, GarbageIsCorruptNeverWorse, (const std::string &text)) {
    try {
        (void)parse_history_file(text, 9);
    } catch (const Error &error) {
        RC_ASSERT(error.code() == ErrorCode::kCorrupt);
    }
}

} // namespace
} // namespace pgvigil
