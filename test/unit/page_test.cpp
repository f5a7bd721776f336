#include "pgdata/page.h"

#include "base/random.h"
#include "pgdata/relation_path.h"
#include "postgres_cluster.h"

#include <chrono>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

constexpr size_t kPageBytes = 8192;

TEST(Page, NewPagesPass) {
    const Bytes page(kPageBytes);
    EXPECT_TRUE(page_is_new(page));
    EXPECT_TRUE(page_passes(page, 0, Lsn{1}));
    EXPECT_TRUE(page_is_new({}));
}

TEST(Page, ReadsTheHeader) {
    Bytes page(kPageBytes);
    for (size_t i = 0; i < 24; ++i)
        page[i] = static_cast<std::byte>(i + 1);
    EXPECT_EQ(page_lsn(page).value, 0x0403020108070605U);
    EXPECT_EQ(stored_page_checksum(page), 0x0a09);
    EXPECT_FALSE(page_is_new(page));
}

// The checksum by PostgreSQL's description in plain steps, for any page.
uint16_t checksum_by_the_book(const Bytes &original, uint32_t block) {
    static const uint32_t kBases[32] = {
        0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
        0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
        0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
        0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};
    Bytes page = original;
    page[8] = page[9] = std::byte{0};
    uint32_t result = 0;
    for (size_t column = 0; column < 32; ++column) {
        uint32_t sum = kBases[column];
        const auto mix = [&](uint32_t word) {
            const uint32_t value = sum ^ word;
            sum = value * 16777619U ^ (value >> 17);
        };
        for (size_t row = 0; row < page.size() / 128; ++row)
            mix(load_le<uint32_t>(page.data() + row * 128 + column * 4));
        mix(0);
        mix(0);
        result ^= sum;
    }
    return static_cast<uint16_t>((result ^ block) % 65535 + 1);
}

RC_GTEST_PROP(Page, ChecksumEqualsTheDescription, (uint32_t block)) {
    const auto size = *rc::gen::element<size_t>(1024, 4096, 8192, 32768);
    Bytes page(size);
    random_bytes(page);
    RC_ASSERT(page_checksum(page, block) == checksum_by_the_book(page, block));
}

TEST(Page, EveryPageOfRealClustersPasses) {
    const auto versions = test::installed_postgres();
    if (versions.empty())
        GTEST_SKIP() << "no PostgreSQL server is installed";
    for (const auto &version : versions) {
        const test::PostgresCluster cluster(version, "-k");
        size_t pages = 0;
        for (const auto &item : std::filesystem::recursive_directory_iterator(cluster.data())) {
            const std::string path = std::filesystem::relative(item.path(), cluster.data()).string();
            const auto relation = parse_relation_path(path);
            if (!item.is_regular_file() || !relation)
                continue;
            Bytes file = test::read_whole_file(item.path());
            for (size_t at = 0; at + kPageBytes <= file.size(); at += kPageBytes) {
                const std::span<std::byte> page = std::span(file).subspan(at, kPageBytes);
                const auto block = static_cast<uint32_t>(at / kPageBytes);
                if (page_is_new(page))
                    continue;
                ASSERT_EQ(page_checksum(page, block), stored_page_checksum(page)) << path << " block " << block;
                EXPECT_TRUE(page_passes(page, block, Lsn{UINT64_MAX}));
                EXPECT_NE(page_checksum(page, block + 1), stored_page_checksum(page));
                page[4000] ^= std::byte{1};
                EXPECT_FALSE(page_passes(page, block, Lsn{UINT64_MAX})) << path;
                EXPECT_TRUE(page_passes(page, block, page_lsn(page)));
                ++pages;
            }
        }
        EXPECT_GT(pages, 1500U) << "PostgreSQL " << version.major;
    }
}

TEST(Page, ChecksumIsFast) {
    Bytes page(kPageBytes);
    random_bytes(page);
    constexpr int kRounds = 20000;
    unsigned sum = 0;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kRounds; ++i)
        sum += page_checksum(page, static_cast<uint32_t>(i));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    const double rate = kRounds * double{kPageBytes} / took.count() / 1e9;
    RecordProperty("gigabytes_per_second", std::to_string(rate));
    EXPECT_GT(rate, 0.2) << "even an unoptimised, instrumented build is faster";
    EXPECT_NE(sum, 0U);
}

} // namespace
} // namespace pgvigil
