// The text forms of positions and the names of WAL files, read and written.

#include "base/lsn.h"
#include "base/wal_name.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

TEST(Lsn, PrintsAsPgLsnDoes) {
    EXPECT_EQ(to_string(Lsn{0x16B374D848}), "16/B374D848");
    EXPECT_EQ(to_string(Lsn{0x100000000}), "1/0");
}

TEST(Lsn, RefusesWhatPgLsnRefuses) {
    for (const char *text :
         {"", "/", "1/", "/1", "1", "g/0", "1/0 ", " 1/0", "+1/0", "0x1/0", "123456789/0", "0/123456789"})
        EXPECT_FALSE(parse_lsn(text)) << text;
    EXPECT_EQ(parse_lsn("0/0"), Lsn{0});
    EXPECT_EQ(parse_lsn("ffffffff/ffffffff"), Lsn{UINT64_MAX});
}

RC_GTEST_PROP(Lsn, TextRoundTrip, (uint64_t value)) {
    RC_ASSERT(parse_lsn(to_string(Lsn{value})) == Lsn{value});
}

RC_GTEST_PROP(WalName, SegmentNameRoundTrip, ()) {
    const auto timeline = *rc::gen::inRange<uint32_t>(1, UINT32_MAX);
    const uint64_t segment_size = uint64_t{1} << *rc::gen::inRange(20, 31);
    const Lsn lsn{*rc::gen::arbitrary<uint64_t>()};
    const std::string name = segment_name(timeline, segment_of(lsn, segment_size), segment_size);
    const auto parsed = parse_wal_file_name(name);
    RC_ASSERT(parsed.has_value());
    RC_ASSERT(parsed->kind == WalFileKind::kSegment);
    RC_ASSERT(parsed->timeline == timeline);
    RC_ASSERT(segment_number(*parsed, segment_size) == segment_of(lsn, segment_size));
    RC_ASSERT(segment_start(segment_number(*parsed, segment_size), segment_size) <= lsn);
}

TEST(WalName, KnowsTheFourKinds) {
    EXPECT_EQ(parse_wal_file_name("000000010000000A000000FE")->kind, WalFileKind::kSegment);
    EXPECT_EQ(parse_wal_file_name("000000010000000A000000FE.partial")->kind, WalFileKind::kPartial);
    EXPECT_EQ(parse_wal_file_name("00000002.history")->kind, WalFileKind::kHistory);
    EXPECT_EQ(parse_wal_file_name("000000010000000A000000FE.00000028.backup")->kind, WalFileKind::kBackupHistory);
}

TEST(WalName, RefusesEverythingElse) {
    for (const char *name :
         {"", "00000001000000000000000", "0000000100000000000000011", "00000001000000000000000g",
          "00000001000000000000000a", "2.history", "00000002.history.ready", "RECOVERYXLOG",
          "000000010000000A000000FE.part", "000000010000000A000000FE.28.backup", "../00000002.history"})
        EXPECT_FALSE(parse_wal_file_name(name)) << name;
}

} // namespace
} // namespace pgvigil
