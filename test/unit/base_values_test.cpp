// Bytes, numbers, identifiers, times, JSON and errors: the values everything else is made of.

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "base/time.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <set>

namespace pgvigil {
namespace {

template <class Body> ErrorCode code_of(Body &&body) {
    try {
        body();
    } catch (const Error &error) {
        return error.code();
    }
    return ErrorCode::kInternal;
}

RC_GTEST_PROP(Bytes, WrittenValuesAreReadBack, (uint8_t a, uint16_t b, uint32_t c, uint64_t d, std::string text)) {
    ByteWriter writer;
    writer.u8(a);
    writer.u16(b);
    writer.u32(c);
    writer.u64(d);
    writer.varint(d);
    writer.string(text);
    ByteReader reader(writer.view());
    RC_ASSERT(reader.u8() == a);
    RC_ASSERT(reader.u16() == b);
    RC_ASSERT(reader.u32() == c);
    RC_ASSERT(reader.u64() == d);
    RC_ASSERT(reader.varint() == d);
    RC_ASSERT(reader.string() == text);
    RC_ASSERT(reader.at_end());
}

RC_GTEST_PROP(Bytes, EveryCutIsRefused, (uint64_t number, std::string text)) {
    ByteWriter writer;
    writer.varint(number);
    writer.string(text);
    const Bytes whole = writer.take();
    for (size_t length = 0; length < whole.size(); ++length) {
        RC_ASSERT(code_of([&] {
                      ByteReader reader(ByteView(whole).first(length));
                      reader.varint();
                      reader.string();
                  }) == ErrorCode::kCorrupt);
    }
}

TEST(Bytes, LengthsOfForeignBytesAreCheckedBeforeTheyAreUsed) {
    ByteWriter writer;
    writer.varint(UINT64_MAX);
    EXPECT_EQ(code_of([&] { ByteReader(writer.view()).string(); }), ErrorCode::kCorrupt);
    const Bytes endless(11, std::byte{0xff});
    EXPECT_EQ(code_of([&] { ByteReader(endless).varint(); }), ErrorCode::kCorrupt);
}

TEST(Bytes, NumbersAreLittleEndian) {
    ByteWriter writer;
    writer.u32(0x01020304);
    EXPECT_EQ(to_hex(writer.view()), "04030201");
}

RC_GTEST_PROP(Bytes, HexRoundTrip, (std::string text)) {
    RC_ASSERT(as_text(from_hex(to_hex(as_view(text)))) == text);
}

TEST(Bytes, BadHexIsRefused) {
    for (const char *text : {"0", "0g", "g0", "00 ", "0x"})
        EXPECT_EQ(code_of([&] { (void)from_hex(text); }), ErrorCode::kInvalidArgument) << text;
}

TEST(Uuid, RoundTripAndDistinct) {
    std::set<std::string> seen;
    for (int i = 0; i < 1000; ++i) {
        const std::string text = to_string(random_uuid());
        EXPECT_EQ(to_string(parse_uuid(text)), text);
        EXPECT_EQ(text[14], '4');
        EXPECT_TRUE(seen.insert(text).second);
    }
}

TEST(Uuid, RefusesOtherText) {
    for (const char *text : {"", "00000000-0000-4000-8000-00000000000", "00000000-0000-4000-8000-0000000000000",
                             "00000000_0000-4000-8000-000000000000", "0000000g-0000-4000-8000-000000000000",
                             "00000000-0000-4000-8000--00000000000"})
        EXPECT_EQ(code_of([&] { (void)parse_uuid(text); }), ErrorCode::kInvalidArgument) << text;
}

RC_GTEST_PROP(Time, PostgresFormRoundTrip, ()) {
    const auto unix_us = *rc::gen::inRange<int64_t>(-62135596800000000, 253402300799999999); // years 1 to 9999
    RC_ASSERT(parse_time_us(postgres_time_us(unix_us)) == unix_us);
}

RC_GTEST_PROP(Time, IsoFormRoundTrip, ()) {
    const auto unix_ms = *rc::gen::inRange<int64_t>(-62135596800000, 253402300799999);
    RC_ASSERT(parse_time_us(iso_time_ms(unix_ms)) == unix_ms * 1000);
}

TEST(Time, ZonesShiftTheMoment) {
    const auto noon = parse_time_us("2026-03-01 12:00:00Z");
    ASSERT_TRUE(noon.has_value());
    for (const char *same : {"2026-03-01T12:00Z", "2026-03-01 13:00:00+01", "2026-03-01 17:45+0545",
                             "2026-03-01 17:45+05:45", "2026-03-01 04:00:00.000 -08", "2026-03-01 12:00:00 UTC"})
        EXPECT_EQ(parse_time_us(same), noon) << same;
}

TEST(Time, WithoutAZoneTheProcessZoneHolds) {
    const char *before = std::getenv("TZ"); // NOLINT(concurrency-mt-unsafe)
    const std::string saved = before == nullptr ? "" : before;
    setenv("TZ", "America/New_York", 1); // NOLINT(concurrency-mt-unsafe)
    tzset();
    const auto summer = parse_time_us("2026-07-01 08:00:00");
    const auto winter = parse_time_us("2026-01-01 08:00:00");
    before == nullptr ? unsetenv("TZ") : setenv("TZ", saved.c_str(), 1); // NOLINT(concurrency-mt-unsafe)
    tzset();
    EXPECT_EQ(summer, parse_time_us("2026-07-01 12:00:00Z"));
    EXPECT_EQ(winter, parse_time_us("2026-01-01 13:00:00Z"));
}

TEST(Time, RefusesWhatIsNoTime) {
    for (const char *text : {"", "yesterday", "2026-02-29 00:00Z", "2026-04-31 00:00Z", "2026-13-01 00:00Z",
                             "2026-00-10 00:00Z", "2026-01-00 00:00Z", "2026-01-01", "2026-01-01 24:00Z",
                             "2026-01-01 00:60Z", "2026-01-01 00:00:60Z", "2026-01-01 00:00:00.Z", "2026-01-01 00:00Zx",
                             "2026-01-01 00:00+1", "2026-01-01 00:00+16", "26-01-01 00:00Z"})
        EXPECT_FALSE(parse_time_us(text).has_value()) << text;
}

TEST(Time, NamesSortByTime) {
    EXPECT_EQ(compact_time(1792485613123), "20261020T084013");
    EXPECT_LT(compact_time(999999999000), compact_time(1000000000000));
}

TEST(Json, RefusesDeepLargeAndWrongDocuments) {
    EXPECT_EQ(code_of([] { (void)parse_json("[]", "x"); }), ErrorCode::kCorrupt);
    EXPECT_EQ(code_of([] { (void)parse_json("{", "x"); }), ErrorCode::kCorrupt);
    EXPECT_EQ(code_of([] { (void)parse_json("{} {}", "x"); }), ErrorCode::kCorrupt);
    const auto nested = [](int levels) {
        return R"({"a":)" + std::string(static_cast<size_t>(levels), '[') +
               std::string(static_cast<size_t>(levels), ']') + "}";
    };
    EXPECT_EQ(code_of([&] { (void)parse_json(nested(100000), "x"); }), ErrorCode::kCorrupt);
    EXPECT_NO_THROW((void)parse_json(nested(kMaxDocumentDepth - 1), "x"));
    EXPECT_EQ(code_of([] { (void)parse_json(std::string(kMaxDocumentBytes + 1, ' '), "x"); }), ErrorCode::kCorrupt);
}

TEST(Json, ErrorsNameTheDocument) {
    try {
        (void)parse_json("{", "commits/b.json");
        FAIL();
    } catch (const Error &error) {
        EXPECT_NE(error.message().find("commits/b.json"), std::string::npos);
    }
    const Json document = parse_json(R"({"n": "text", "none": null})", "x");
    EXPECT_EQ(code_of([&] { (void)json_member<int>(document, "n", "x"); }), ErrorCode::kCorrupt);
    EXPECT_EQ(code_of([&] { (void)json_member<int>(document, "absent", "x"); }), ErrorCode::kCorrupt);
    EXPECT_EQ(json_member_or<int>(document, "absent", 7, "x"), 7);
    EXPECT_EQ(json_member_or<int>(document, "none", 7, "x"), 7);
    EXPECT_EQ(code_of([&] { (void)json_member_or<int>(document, "n", 7, "x"); }), ErrorCode::kCorrupt);
}

TEST(Error, EveryCodeHasItsOwnExitCodeAndWord) {
    std::set<int> exit_codes;
    std::set<std::string> words;
    for (int code = 0; code <= static_cast<int>(ErrorCode::kRefused); ++code) {
        const ErrorClass &shown = error_class(static_cast<ErrorCode>(code));
        EXPECT_EQ(std::string(shown.sqlstate).size(), 5U);
        EXPECT_GT(shown.exit_code, 1) << "1 is what wal-get answers for \"not there\"";
        EXPECT_LT(shown.exit_code, 126) << "126 and above end a recovery";
        EXPECT_TRUE(exit_codes.insert(shown.exit_code).second) << shown.word;
        EXPECT_TRUE(words.insert(shown.word).second) << shown.word;
    }
}

TEST(Error, SystemErrorsAreSorted) {
    EXPECT_EQ(system_error("x", ENOSPC).code(), ErrorCode::kDiskFull);
    EXPECT_EQ(system_error("x", EROFS).code(), ErrorCode::kAccessDenied);
    EXPECT_EQ(system_error("x", EIO).code(), ErrorCode::kIo);
    EXPECT_EQ(system_error("could not read \"f\"", ENOENT).message(),
              "could not read \"f\": No such file or directory");
}

TEST(Error, ContextKeepsTheRest) {
    const Error error = Error(ErrorCode::kBusy, "m").detail("D.").hint("H.").retryable().with_context("c");
    EXPECT_EQ(error.message(), "c: m");
    EXPECT_EQ(error.detail(), "D.");
    EXPECT_EQ(error.hint(), "H.");
    EXPECT_TRUE(error.is_retryable());
    EXPECT_EQ(error.code(), ErrorCode::kBusy);
}

} // namespace
} // namespace pgvigil
