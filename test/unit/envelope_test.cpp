#include "repo/envelope.h"

#include "base/crc32c.h"
#include "damage.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

constexpr const char *kKey = "123/commits/x.json";

ObjectHeader sample_header() {
    ObjectHeader header;
    header.kind = ObjectKind::kWal;
    header.epoch = 0x0102030405060708;
    header.plain_length = 16 * kMiB;
    header.extension = R"({"scan":{}})";
    for (size_t i = 0; i < header.attempt.size(); ++i)
        header.attempt[i] = static_cast<std::byte>(0xa0 + i);
    header.digest.fill(std::byte{0xdd});
    return header;
}

// The header with `change` applied and its checksum made right again.
template <class Change> Bytes resealed(const Change &change) {
    Bytes bytes;
    append_header(bytes, sample_header());
    change(bytes);
    const uint32_t crc = crc32c(ByteView(bytes).first(bytes.size() - 4));
    for (size_t i = 0; i < 4; ++i)
        bytes[bytes.size() - 4 + i] = static_cast<std::byte>(crc >> (8 * i));
    return bytes;
}

ErrorCode code_of(const Bytes &bytes) {
    try {
        (void)parse_header(bytes, kKey);
    } catch (const Error &error) {
        EXPECT_NE(error.message().find(kKey), std::string::npos);
        return error.code();
    }
    return ErrorCode::kInternal;
}

TEST(Envelope, LayoutIsFixed) {
    Bytes bytes;
    append_header(bytes, sample_header());
    ASSERT_EQ(bytes.size(), 136 + 11 + 4);
    EXPECT_EQ(as_text(ByteView(bytes).first(8)), "PGVIGIL\n");
    EXPECT_EQ(to_hex(ByteView(bytes).subspan(8, 24)), "0100"
                                                      "02"
                                                      "01"
                                                      "00"
                                                      "00"
                                                      "0000"
                                                      "00000000"
                                                      "0b000000"
                                                      "0807060504030201");
    EXPECT_EQ(to_hex(ByteView(bytes).subspan(32, 16)), "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
    EXPECT_EQ(to_hex(ByteView(bytes).subspan(48, 8)), "0000000100000000");
    EXPECT_EQ(to_hex(ByteView(bytes).subspan(56, 2)), "dddd");
    EXPECT_EQ(as_text(ByteView(bytes).subspan(136, 11)), R"({"scan":{}})");
}

RC_GTEST_PROP(Envelope, HeaderRoundTrip,
              (uint64_t epoch, uint64_t length, const std::string &extension, uint8_t fill)) {
    ObjectHeader header = sample_header();
    header.kind = static_cast<ObjectKind>(*rc::gen::inRange(1, 9));
    header.epoch = epoch;
    header.plain_length = length;
    header.extension = extension;
    header.digest.fill(std::byte{fill});
    header.salt.fill(static_cast<std::byte>(fill + 1));
    Bytes bytes = to_bytes("");
    append_header(bytes, header);
    RC_ASSERT(bytes.size() == encoded_header_bytes(header));
    bytes.push_back(std::byte{1});
    const ParsedHeader parsed = parse_header(bytes, kKey);
    RC_ASSERT(parsed.length == bytes.size() - 1);
    RC_ASSERT(parsed.header.kind == header.kind);
    RC_ASSERT(parsed.header.epoch == epoch);
    RC_ASSERT(parsed.header.plain_length == length);
    RC_ASSERT(parsed.header.extension == extension);
    RC_ASSERT(parsed.header.digest == header.digest);
    RC_ASSERT(parsed.header.salt == header.salt);
    RC_ASSERT(parsed.header.attempt == header.attempt);
}

TEST(Envelope, DamageIsFound) {
    const std::string json = R"({"format": 1, "text": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"})";
    test::expect_damage_is_found(encode_document(json, 7, random_uuid()), kKey,
                                 [&](ByteView bytes) { return decode_document(bytes, kKey) == json; });
}

TEST(Envelope, RefusesWhatItDoesNotKnow) {
    EXPECT_EQ(code_of(resealed([](Bytes &b) { b[8] = std::byte{2}; })), ErrorCode::kUnsupported);     // format
    EXPECT_EQ(code_of(resealed([](Bytes &b) { b[8] = std::byte{0}; })), ErrorCode::kCorrupt);         // format 0
    EXPECT_EQ(code_of(resealed([](Bytes &b) { b[10] = std::byte{99}; })), ErrorCode::kUnsupported);   // kind
    EXPECT_EQ(code_of(resealed([](Bytes &b) { b[11] = std::byte{2}; })), ErrorCode::kUnsupported);    // digest
    EXPECT_EQ(code_of(resealed([](Bytes &b) { b[12] = std::byte{1}; })), ErrorCode::kUnsupported);    // cipher
    EXPECT_EQ(code_of(resealed([](Bytes &b) { b[13] = std::byte{1}; })), ErrorCode::kCorrupt);        // reserved
    EXPECT_EQ(code_of(resealed([](Bytes &b) { b[19] = std::byte{0x80}; })), ErrorCode::kUnsupported); // feature
    EXPECT_EQ(code_of(resealed([](Bytes &b) { b[22] = std::byte{0x7f}; })), ErrorCode::kCorrupt);     // long extension
    EXPECT_EQ(code_of(to_bytes("hello, I am some other program's file, longer than a header must be")),
              ErrorCode::kCorrupt);
    EXPECT_EQ(code_of({}), ErrorCode::kCorrupt);
}

TEST(Envelope, RefusesOtherKindsAsDocuments) {
    Bytes bytes;
    append_header(bytes, sample_header());
    FrameEncoder({Codec::kNone, 0}).append(bytes, FrameType::kDocument, as_view("{}"), 0, true);
    EXPECT_THROW((void)decode_document(bytes, kKey), Error);
}

} // namespace
} // namespace pgvigil
