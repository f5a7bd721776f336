#include "pgdata/wal_page.h"

#include "base/error.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

constexpr uint64_t kSegment = 16 * kMiB;
constexpr uint64_t kSystem = 7321234567890123456;

Bytes make_header(TimelineId timeline, uint64_t address) {
    ByteWriter out;
    out.u16(0xD118);
    out.u16(0x0002);
    out.u32(timeline);
    out.u64(address);
    out.u32(77);
    out.u32(0);
    out.u64(kSystem);
    out.u32(kSegment);
    out.u32(8192);
    return out.take();
}

ExpectedSegment expected() {
    return {"000000030000000000000005", kSystem, kSegment, uint16_t{0xD118}, {3, 1, 2}};
}

void expect_refused(const Bytes &bytes, const ExpectedSegment &wanted, ErrorCode code, const std::string &word) {
    try {
        check_segment_header(bytes, wanted);
        ADD_FAILURE() << "accepted: " << word;
    } catch (const Error &error) {
        EXPECT_EQ(error.code(), code);
        EXPECT_NE(error.message().find(wanted.name), std::string::npos);
        EXPECT_NE((error.message() + error.detail()).find(word), std::string::npos)
            << error.message() << " " << error.detail();
    }
}

TEST(WalPage, Magics) {
    EXPECT_EQ(wal_page_magic(15), 0xD110);
    EXPECT_EQ(wal_page_magic(18), 0xD118);
    EXPECT_FALSE(wal_page_magic(14));
    EXPECT_EQ(major_version_of_magic(0xD116), 17U);
    EXPECT_FALSE(major_version_of_magic(0));
}

TEST(WalPage, ParsesTheLongHeader) {
    const auto header = parse_segment_header(make_header(3, 5 * kSegment));
    ASSERT_TRUE(header);
    EXPECT_EQ(header->magic, 0xD118);
    EXPECT_EQ(header->timeline, 3U);
    EXPECT_EQ(header->page_address.value, 5 * kSegment);
    EXPECT_EQ(header->remaining_length, 77U);
    EXPECT_EQ(header->system_identifier, kSystem);
    EXPECT_EQ(header->segment_size, kSegment);
    EXPECT_EQ(header->block_size, 8192U);
    EXPECT_FALSE(parse_segment_header(Bytes(39)));
    EXPECT_FALSE(parse_segment_header(Bytes(8192)));
    Bytes short_header = make_header(3, 0);
    short_header[2] = std::byte{0};
    EXPECT_FALSE(parse_segment_header(short_header));
}

TEST(WalPage, AcceptsOwnAndAncestorTimelines) {
    EXPECT_NO_THROW(check_segment_header(make_header(3, 5 * kSegment), expected()));
    EXPECT_NO_THROW(check_segment_header(make_header(1, 5 * kSegment), expected()));
    ExpectedSegment partial = expected();
    partial.name += ".partial";
    EXPECT_NO_THROW(check_segment_header(make_header(3, 5 * kSegment), partial));
    ExpectedSegment unknown_version = expected();
    unknown_version.magic.reset();
    EXPECT_NO_THROW(check_segment_header(make_header(3, 5 * kSegment), unknown_version));
}

TEST(WalPage, RefusesEverythingElse) {
    expect_refused(make_header(4, 5 * kSegment), expected(), ErrorCode::kCorrupt, "timeline 4");
    expect_refused(make_header(3, 6 * kSegment), expected(), ErrorCode::kCorrupt, "0/6000000");
    expect_refused(Bytes(8192), expected(), ErrorCode::kCorrupt, "page header");
    expect_refused({}, expected(), ErrorCode::kCorrupt, "page header");
    ExpectedSegment other = expected();
    other.system_identifier = 5;
    expect_refused(make_header(3, 5 * kSegment), other, ErrorCode::kForeign, std::to_string(kSystem));
    other = expected();
    other.segment_size = 2 * kSegment;
    expect_refused(make_header(3, 5 * kSegment), other, ErrorCode::kCorrupt, "segment size");
    other = expected();
    other.magic = uint16_t{0xD110};
    expect_refused(make_header(3, 5 * kSegment), other, ErrorCode::kCorrupt, "D118");
}

RC_GTEST_PROP(WalPage, GarbageIsRefusedNeverWorse, (const std::vector<uint8_t> &values)) {
    Bytes bytes;
    for (const uint8_t value : values)
        bytes.push_back(static_cast<std::byte>(value));
    try {
        check_segment_header(bytes, expected());
        RC_FAIL("accepted garbage");
    } catch (const Error &error) {
        RC_ASSERT(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kForeign);
    }
}

} // namespace
} // namespace pgvigil
