#include "repo/wal_object.h"

#include "crypto/digest.h"
#include "damage.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

constexpr const char *kKey = "1/wal/00000001/00000000/000000010000000000000001";

WalFacts sample_facts() {
    WalFacts facts;
    facts.scan.first_time_us = 1795163013123456;
    facts.scan.last_time_us = 1795163014123456;
    facts.scan.first_xid = 4294967290U;
    facts.scan.last_xid = 17;
    facts.scan.commits = 12;
    facts.scan.restore_points = {{"before \"it\"", 1795163013123457, Lsn{0x1000100}}, {"caf\xe9", 1, Lsn{0x1000200}}};
    facts.scan.end_of_records = Lsn{0x1ffff00};
    facts.scan.ends_in_switch = true;
    facts.scan.spanning_out = to_bytes("abc");
    facts.scan.spanning_in = to_bytes("defg");
    facts.scan.spanning_in_end = Lsn{0x1000050};
    facts.scan.magic = 0xd118;
    return facts;
}

Bytes encode_plain(const Bytes &plain, const char *compression, const std::string &extension = "") {
    WalObjectInput input;
    input.plain = plain;
    input.whole_plain_length = plain.size();
    input.digest = sha256(plain);
    input.epoch = 4;
    input.attempt = random_uuid();
    input.extension = extension;
    FrameEncoder encoder(parse_compression(compression));
    return encode_wal_object(input, encoder);
}

Bytes decode_all(ByteView object) {
    FrameDecoder decoder;
    Bytes out;
    decode_wal_frames(object, parse_header(object, kKey), out, decoder, kKey);
    return out;
}

TEST(WalObject, FactsRoundTrip) {
    WalFacts facts = sample_facts();
    facts.parts = {{"1/wal/x.part001-a", 100, {}}, {"1/wal/x.part002-a", 7, {}}};
    facts.parts[0].digest.fill(std::byte{9});
    const std::string json = encode_wal_facts(facts);
    const WalFacts back = decode_wal_facts(json, kKey);
    EXPECT_EQ(encode_wal_facts(back), json);
    EXPECT_EQ(back.scan.first_time_us, facts.scan.first_time_us);
    EXPECT_EQ(back.scan.first_xid, facts.scan.first_xid);
    EXPECT_EQ(back.scan.restore_points[1].name, "caf\xe9");
    EXPECT_EQ(back.scan.restore_points[0].lsn, (Lsn{0x1000100}));
    EXPECT_EQ(back.scan.spanning_in, facts.scan.spanning_in);
    EXPECT_EQ(back.scan.spanning_in_end, facts.scan.spanning_in_end);
    EXPECT_EQ(back.scan.magic, 0xd118);
    EXPECT_EQ(back.parts[0].digest, facts.parts[0].digest);
    EXPECT_EQ(encode_wal_facts(decode_wal_facts("", kKey)), encode_wal_facts({}));
}

TEST(WalObject, HundredLongestRestorePointsFitTheHeader) {
    WalFacts facts = sample_facts();
    facts.scan.restore_points.assign(100, {std::string(63, '\xff'), 1795163013123457, Lsn{0xffffffff12345678}});
    for (unsigned i = 0; i < 31; ++i)
        facts.parts.push_back({std::string(140, 'k'), kWalPartBytes, {}});
    ObjectHeader header;
    header.extension = encode_wal_facts(facts);
    EXPECT_LE(encoded_header_bytes(header), kMaxHeaderBytes);
}

TEST(WalObject, RoundTripOfEverySize) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{400}, kMaxExtentBytes, kMaxExtentBytes + 1, 16 * kMiB}) {
        Bytes plain(size, std::byte{'w'});
        random_bytes(std::span(plain).first(size / 2));
        for (const char *compression : {"none", "lz4", "zstd:1"}) {
            const Bytes object = encode_plain(plain, compression, encode_wal_facts(sample_facts()));
            EXPECT_EQ(decode_all(object), plain);
        }
    }
}

TEST(WalObject, CommittingPartCountsOnlyItsOwnBytes) {
    const Bytes plain(1000, std::byte{'w'});
    WalFacts facts;
    facts.parts = {{"1/wal/x.part001-a", kWalPartBytes, {}}};
    WalObjectInput input;
    input.plain = plain;
    input.whole_plain_length = kWalPartBytes + plain.size();
    input.extension = encode_wal_facts(facts);
    FrameEncoder encoder({Codec::kZstd, 1});
    EXPECT_EQ(decode_all(encode_wal_object(input, encoder)), plain);
    input.whole_plain_length -= 1;
    EXPECT_THROW((void)decode_all(encode_wal_object(input, encoder)), Error);
}

TEST(WalObject, DamageIsFound) {
    const Bytes plain = to_bytes("some bytes of WAL: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    for (const char *compression : {"none", "lz4", "zstd:1"})
        test::expect_damage_is_found(encode_plain(plain, compression), kKey,
                                     [&](ByteView bytes) { return decode_all(bytes) == plain; });
}

TEST(WalObject, AnImpossibleLengthAllocatesNothing) {
    ObjectHeader header;
    header.kind = ObjectKind::kWal;
    header.plain_length = uint64_t{1} << 60;
    Bytes object;
    append_header(object, header);
    FrameEncoder({Codec::kNone, 0}).append(object, FrameType::kData, as_view("x"), 0, true);
    EXPECT_THROW((void)decode_all(object), Error);
}

RC_GTEST_PROP(WalObject, GarbageFactsAreCorruptNeverWorse, (const std::string &text)) {
    RC_PRE(!text.empty());
    try {
        (void)decode_wal_facts(text, kKey);
        RC_FAIL("accepted garbage");
    } catch (const Error &error) {
        RC_ASSERT(test::is_damage_report(error, kKey));
    }
}

} // namespace
} // namespace pgvigil
