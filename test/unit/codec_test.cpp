#include "base/crc32c.h"
#include "base/error.h"
#include "base/random.h"
#include "codec/compression.h"
#include "codec/frame.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

Bytes bytes_of(const std::vector<uint8_t> &values) {
    Bytes bytes;
    for (const uint8_t value : values)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

// Data that compresses, data that does not, and everything between.
Bytes make_plain(size_t size, unsigned entropy) {
    Bytes plain(size);
    random_bytes(plain);
    for (size_t i = 0; i < plain.size(); ++i)
        if (i % 8 >= entropy)
            plain[i] = std::byte{'x'};
    return plain;
}

TEST(Crc32c, KnownValues) {
    EXPECT_EQ(crc32c(as_view("123456789")), 0xe3069283U);
    EXPECT_EQ(crc32c_portable(as_view("123456789")), 0xe3069283U);
    EXPECT_EQ(crc32c({}), 0U);
}

RC_GTEST_PROP(Crc32c, HardwareEqualsTableAndComposes, (const std::vector<uint8_t> &a, const std::vector<uint8_t> &b)) {
    const Bytes first = bytes_of(a);
    const Bytes second = bytes_of(b);
    Bytes whole = first;
    whole.insert(whole.end(), second.begin(), second.end());
    RC_ASSERT(crc32c(whole) == crc32c_portable(whole));
    RC_ASSERT(crc32c(second, crc32c(first)) == crc32c(whole));
}

TEST(Compression, Names) {
    for (const char *name : {"none", "lz4", "zstd:1", "zstd:19", "zstd:-7"})
        EXPECT_EQ(to_string(parse_compression(name)), name);
    EXPECT_EQ(to_string(parse_compression("zstd")), "zstd:1");
    for (const char *bad : {"", "zst", "zstd:", "zstd:20", "zstd:-8", "zstd:1x", "zstd: 1", "ZSTD", "lz4:1", "none "}) {
        try {
            (void)parse_compression(bad);
            ADD_FAILURE() << bad;
        } catch (const Error &error) {
            EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
            EXPECT_NE(error.message().find("\"" + std::string(bad) + "\""), std::string::npos);
            EXPECT_NE(error.detail().find("zstd:<level>"), std::string::npos);
        }
    }
}

TEST(Compression, RoundTripEveryCodecAndSize) {
    Decompressor decompressor;
    for (const char *name : {"none", "lz4", "zstd:-7", "zstd:1", "zstd:19"}) {
        Compressor compressor(parse_compression(name));
        for (const size_t size : {0UL, 1UL, 100UL, 8192UL, 1048576UL, 5000000UL}) {
            if (size > 2000000 && std::string_view(name) == "zstd:19")
                continue;
            for (const unsigned entropy : {0U, 1U, 8U}) {
                const Bytes plain = make_plain(size, entropy);
                Bytes out = to_bytes("before");
                const Codec codec = compressor.compress(plain, out);
                EXPECT_EQ(as_text(out).substr(0, 6), "before");
                const ByteView stored = ByteView(out).subspan(6);
                EXPECT_LE(stored.size(), plain.size());
                EXPECT_TRUE(entropy != 8 || codec == Codec::kNone);
                Bytes back(plain.size());
                decompressor.decompress(codec, stored, back);
                EXPECT_EQ(back, plain);
            }
        }
    }
}

TEST(Frame, LayoutIsFixed) {
    FrameEncoder encoder({Codec::kNone, 0});
    Bytes out;
    encoder.append(out, FrameType::kDocument, as_view("hello"), 7, true);
    EXPECT_EQ(to_hex(out), "05000000"
                           "05000000"
                           "03"
                           "01"
                           "00" +
                               to_hex(ByteView(out).subspan(11, 1)) +
                               "07000000"
                               "b5e9c1ad071b3e7fc779cfaa5e523818"
                               "68656c6c6f");
}

RC_GTEST_PROP(Frame, RoundTrip, (const std::vector<uint8_t> &values, uint32_t number, bool last)) {
    const Bytes plain = bytes_of(values);
    const auto codec = *rc::gen::element(Codec::kNone, Codec::kLz4, Codec::kZstd);
    FrameEncoder encoder({codec, 1});
    Bytes out;
    const FrameHeader written = encoder.append(out, FrameType::kTableRecords, plain, number, last);
    RC_ASSERT(out.size() == kFrameHeaderBytes + written.stored_length);
    FrameHeader header;
    RC_ASSERT(FrameDecoder().decode(out, header, "x") == plain);
    RC_ASSERT(header.number == number);
    RC_ASSERT(header.last == last);
    RC_ASSERT(header.type == FrameType::kTableRecords);
}

TEST(Frame, EveryFlippedBitAndEveryTruncationIsFound) {
    for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
        FrameEncoder encoder({codec, 1});
        Bytes out;
        const Bytes plain = make_plain(600, 2);
        encoder.append(out, FrameType::kData, plain, 3, false);
        FrameDecoder decoder;
        // Some bits of a compressed stream carry nothing: the plain bytes must then come out unharmed.
        const auto expect_damage = [&](ByteView bytes, bool may_be_harmless) {
            FrameHeader header;
            try {
                const bool same = decoder.decode(bytes, header, "the object") == plain;
                EXPECT_TRUE(same && may_be_harmless) << "damage went unseen";
            } catch (const Error &error) {
                EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported);
                EXPECT_NE(error.message().find("the object"), std::string::npos);
            }
        };
        for (size_t bit = 0; bit < out.size() * 8; ++bit) {
            Bytes flipped = out;
            flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
            expect_damage(flipped, codec != Codec::kNone && bit >= kFrameHeaderBytes * 8);
        }
        for (size_t length = 0; length < out.size(); ++length)
            expect_damage(ByteView(out).first(length), false);
    }
}

TEST(Frame, RefusesTooLongPlainBytes) {
    FrameEncoder encoder({Codec::kNone, 0});
    Bytes out;
    EXPECT_THROW(encoder.append(out, FrameType::kData, Bytes(kMaxExtentBytes + 1), 0, true), Error);
    EXPECT_NO_THROW(encoder.append(out, FrameType::kData, Bytes(kMaxExtentBytes), 0, true));
}

} // namespace
} // namespace pgvigil
