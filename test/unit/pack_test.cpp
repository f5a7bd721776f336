#include "repo/pack.h"

#include "damage.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

constexpr const char *kKey = "1/data/20261120T084013F/000000";

Bytes random_plain(size_t size) {
    Bytes plain(size);
    random_bytes(plain);
    return plain;
}

TEST(Pack, ExtentsComeBackByRangeAndByFooter) {
    for (const char *compression : {"none", "lz4", "zstd:1"}) {
        PackBuilder builder(parse_compression(compression), 5, random_uuid(), kMaxPackBytes);
        EXPECT_TRUE(builder.empty());
        std::vector<Bytes> plains = {to_bytes("a"), Bytes(kMaxExtentBytes, std::byte{'x'}), random_plain(70000)};
        std::vector<PackPlace> places;
        for (size_t i = 0; i < plains.size(); ++i)
            places.push_back(
                builder.add("base/5/" + std::to_string(i), i * kMaxExtentBytes, plains[i], content_hash(plains[i])));
        const Bytes pack = builder.finish();
        EXPECT_TRUE(builder.empty());

        const std::vector<PackedExtent> extents = read_pack_footer(pack, kKey);
        ASSERT_EQ(extents.size(), plains.size());
        FrameDecoder decoder;
        for (size_t i = 0; i < plains.size(); ++i) {
            EXPECT_EQ(extents[i].path, "base/5/" + std::to_string(i));
            EXPECT_EQ(extents[i].file_offset, i * kMaxExtentBytes);
            EXPECT_EQ(extents[i].plain_length, plains[i].size());
            EXPECT_EQ(extents[i].place.offset, places[i].offset);
            EXPECT_EQ(extents[i].hash, content_hash(plains[i]));
            FrameHeader header;
            const ByteView frame = ByteView(pack).subspan(places[i].offset, places[i].length);
            EXPECT_EQ(decoder.decode(frame, header, kKey), plains[i]);
        }
        EXPECT_EQ(parse_header(pack, kKey).header.plain_length, 1 + kMaxExtentBytes + 70000);
    }
}

struct Bundle {
    std::vector<BundledExtent> extents;
    Bytes plain;

    void add(const std::string &path, uint64_t offset, const Bytes &bytes) {
        extents.push_back({path, offset, static_cast<uint32_t>(bytes.size()), content_hash(bytes)});
        plain.insert(plain.end(), bytes.begin(), bytes.end());
    }
};

TEST(Pack, ABundleListsEveryExtentWithItsFrame) {
    PackBuilder builder({Codec::kZstd, 1}, 5, random_uuid(), kMaxPackBytes);
    const Bytes large = random_plain(70000);
    const std::vector<Bytes> small = {to_bytes("a"), random_plain(8192), to_bytes("the end")};
    Bundle bundle;
    for (size_t i = 0; i < small.size(); ++i)
        bundle.add("base/5/" + std::to_string(i), i * 8192, small[i]);
    const Bytes plain = bundle.plain;
    builder.add("large", 0, large, content_hash(large));
    const PackPlace place = builder.add_bundle(std::move(bundle.extents), plain, content_hash(plain));
    builder.add("large", 70000, large, content_hash(large));
    const Bytes pack = builder.finish();

    const std::vector<PackedExtent> extents = read_pack_footer(pack, kKey);
    ASSERT_EQ(extents.size(), 5U);
    EXPECT_EQ(extents[0].own_hash, extents[0].hash);
    EXPECT_EQ(extents[4].file_offset, 70000U);
    FrameHeader header;
    const Bytes decoded = FrameDecoder().decode(ByteView(pack).subspan(place.offset, place.length), header, kKey);
    EXPECT_EQ(header.number, 1U);
    for (size_t i = 0; i < small.size(); ++i) {
        const PackedExtent &extent = extents[i + 1];
        EXPECT_EQ(extent.path, "base/5/" + std::to_string(i));
        EXPECT_EQ(extent.place.offset, place.offset);
        EXPECT_EQ(extent.frame_length, plain.size());
        EXPECT_EQ(extent.hash, content_hash(plain));
        EXPECT_EQ(extent.own_hash, content_hash(small[i]));
        const ByteView own = ByteView(decoded).subspan(extent.frame_offset, extent.plain_length);
        EXPECT_EQ(as_text(own), as_text(small[i]));
    }
}

TEST(Pack, ABundleHasItsLimits) {
    PackBuilder builder({Codec::kZstd, 1}, 5, random_uuid(), kMaxPackBytes);
    const auto add = [&](const Bundle &bundle) {
        auto extents = bundle.extents;
        return builder.add_bundle(std::move(extents), bundle.plain, content_hash(bundle.plain));
    };
    Bundle large;
    large.add("a", 0, random_plain(kMaxBundleBytes));
    EXPECT_THROW(add(large), Error) << "one extent";
    large.add("b", 0, to_bytes("x"));
    EXPECT_THROW(add(large), Error) << "too long";
    Bundle many;
    for (size_t i = 0; i <= kMaxBundleExtents; ++i)
        many.add("a", i, to_bytes("x"));
    EXPECT_THROW(add(many), Error) << "too many";
    Bundle lying;
    lying.add("a", 0, to_bytes("xy"));
    lying.add("b", 0, to_bytes("xy"));
    lying.extents[1].plain_length = 1;
    EXPECT_THROW(add(lying), Error) << "other lengths";
}

TEST(Pack, TheSecondPackOfABuilderStandsAlone) {
    PackBuilder builder({Codec::kZstd, 1}, 5, random_uuid(), kMaxPackBytes);
    const Bytes plain = to_bytes("hello");
    builder.add("one", 0, plain, content_hash(plain));
    (void)builder.finish();
    builder.add("two", 0, plain, content_hash(plain));
    const auto extents = read_pack_footer(builder.finish(), kKey);
    ASSERT_EQ(extents.size(), 1U);
    EXPECT_EQ(extents[0].path, "two");
}

TEST(Pack, NeverLongerThanTheLimit) {
    PackBuilder builder({Codec::kZstd, 1}, 5, random_uuid(), kMaxPackBytes);
    const Bytes plain = random_plain(kMaxExtentBytes);
    size_t extents = 0;
    while (builder.fits(plain.size(), 100)) {
        builder.add(std::string(100, 'p'), 0, plain, content_hash(plain));
        ++extents;
    }
    EXPECT_TRUE(builder.full());
    EXPECT_EQ(extents, 31U);
    const Bytes pack = builder.finish();
    EXPECT_LE(pack.size(), kMaxPackBytes);
    EXPECT_EQ(read_pack_footer(pack, kKey).size(), extents);
}

TEST(Pack, FullNearTheTarget) {
    PackBuilder builder({Codec::kNone, 0}, 5, random_uuid(), 4 * kMiB);
    const Bytes plain = random_plain(100000);
    while (!builder.full())
        builder.add("p", 0, plain, content_hash(plain));
    const size_t size = builder.finish().size();
    EXPECT_GE(size, 4 * kMiB - 200);
    EXPECT_LE(size, 4 * kMiB + 101000);
}

TEST(Pack, ManyTinyExtentsStayReadable) {
    PackBuilder builder({Codec::kZstd, 1}, 5, random_uuid(), kMaxPackBytes);
    const Bytes plain = to_bytes("x");
    const ContentHash hash = content_hash(plain);
    const std::string path(200, 'p');
    size_t extents = 0;
    for (; builder.fits(1, path.size()); ++extents)
        builder.add(path, extents, plain, hash);
    EXPECT_GT(extents, 50000U);
    EXPECT_EQ(read_pack_footer(builder.finish(), kKey).size(), extents);
}

TEST(Pack, DamagedFooterIsFound) {
    PackBuilder builder({Codec::kNone, 0}, 5, random_uuid(), kMaxPackBytes);
    const Bytes plain = to_bytes("hello");
    builder.add("one", 0, plain, content_hash(plain));
    builder.add("two", 8192, plain, content_hash(plain));
    Bundle bundle;
    bundle.add("three", 0, to_bytes("he"));
    bundle.add("four", 0, to_bytes("llo"));
    builder.add_bundle(std::move(bundle.extents), bundle.plain, content_hash(bundle.plain));
    const Bytes pack = builder.finish();
    // Extents are not the footer's business: damage inside them is found when they are decoded.
    test::expect_damage_is_found(pack, kKey, [&](ByteView bytes) {
        const auto extents = read_pack_footer(bytes, kKey);
        FrameDecoder decoder;
        for (const PackedExtent &extent : extents) {
            FrameHeader header;
            if (decoder.decode(bytes.subspan(extent.place.offset, extent.place.length), header, kKey) != plain)
                return false;
        }
        return extents.size() == 4 && extents[1].path == "two" && extents[1].file_offset == 8192 &&
               extents[3].path == "four" && extents[3].frame_offset == 2;
    });
}

} // namespace
} // namespace pgvigil
