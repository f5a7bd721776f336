#include "repo/wal_index.h"

#include "base/error.h"
#include "repo/expired_wal.h"
#include "storage/memory/memory_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr uint64_t kSystem = 7123456789012345678;

WalBlock block_at(uint64_t start, uint64_t span = 4096, uint64_t segment_size = 16 * kMiB) {
    WalBlock block;
    block.timeline = 3;
    block.span = span;
    block.start = start;
    block.segment_size = segment_size;
    block.epoch = 7;
    return block;
}

IndexedSegment indexed(uint64_t segment, std::optional<int64_t> time_us = {}, std::optional<uint32_t> xid = {}) {
    IndexedSegment out;
    out.segment = segment;
    out.scan.emplace();
    out.scan->first_time_us = out.scan->last_time_us = time_us;
    out.scan->first_xid = out.scan->last_xid = xid;
    return out;
}

bool same(const WalScanSummary &a, const WalScanSummary &b) {
    return a.first_time_us == b.first_time_us && a.last_time_us == b.last_time_us && a.first_xid == b.first_xid &&
           a.last_xid == b.last_xid && a.commits == b.commits && a.end_of_records == b.end_of_records &&
           a.ends_in_switch == b.ends_in_switch && a.spanning_out == b.spanning_out && a.spanning_in == b.spanning_in &&
           a.spanning_in_end == b.spanning_in_end && a.magic == b.magic &&
           std::equal(a.restore_points.begin(), a.restore_points.end(), b.restore_points.begin(),
                      b.restore_points.end(), [](const RestorePoint &x, const RestorePoint &y) {
                          return x.name == y.name && x.time_us == y.time_us && x.lsn == y.lsn;
                      });
}

TEST(SegmentRuns, UnionAndDifferenceAreThoseOfSets) {
    rc::check("runs behave like a set of numbers", [](const std::vector<std::tuple<bool, uint8_t, uint8_t>> &steps) {
        SegmentRuns runs;
        std::set<uint64_t> set;
        for (const auto &[add, first, length] : steps) {
            const SegmentRun run{first, first + uint64_t{length} % 20};
            for (uint64_t i = run.first; i <= run.last; ++i)
                add ? void(set.insert(i)) : void(set.erase(i));
            add ? add_run(runs, run) : cut_run(runs, run);
        }
        std::set<uint64_t> found;
        for (size_t i = 0; i < runs.size(); ++i) {
            RC_ASSERT((i == 0 || runs[i].first > runs[i - 1].last + 1));
            for (uint64_t segment = runs[i].first; segment <= runs[i].last; ++segment)
                found.insert(segment);
        }
        RC_ASSERT(found == set);
        for (uint64_t segment = 0; segment < 300; ++segment)
            RC_ASSERT((find_run(runs, segment) != nullptr) == set.contains(segment));
        uint64_t free = 0;
        for (const SegmentRun &hole : holes_in(runs, {0, 299}))
            free += hole.last - hole.first + 1;
        RC_ASSERT(free == 300 - set.size());
    });
}

TEST(WalIndexName, ComesBackAsItWas) {
    const ClusterLayout layout(kSystem);
    for (const uint64_t size : {kMiB, 16 * kMiB, 1024 * kMiB}) {
        WalBlock block = block_at(4096 * 100, 4096, size);
        block.generation = 2;
        block.first = block.start + 1;
        block.last = block.end();
        block.count = 4000;
        EXPECT_EQ(parse_wal_block_key(layout, wal_block_key(layout, block)), block);
        block.first_time_us = 1700000000000000;
        block.last_time_us = 1700000000000009;
        block.first_xid = 4294967290U;
        block.last_xid = 5;
        block.restore_points = restore_point_bit("before the upgrade");
        EXPECT_EQ(parse_wal_block_key(layout, wal_block_key(layout, block)), block);
    }
}

TEST(WalIndexName, OtherNamesAreNone) {
    const ClusterLayout layout(kSystem);
    WalBlock block = block_at(256, 256);
    block.first = 256;
    block.last = 511;
    block.count = 256;
    const std::string key = wal_block_key(layout, block);
    ASSERT_TRUE(parse_wal_block_key(layout, key));
    EXPECT_FALSE(parse_wal_block_key(layout, key + "-0"));
    EXPECT_FALSE(parse_wal_block_key(layout, key.substr(0, key.size() - 1)));
    EXPECT_FALSE(parse_wal_block_key(layout, layout.walindex_prefix() + "512/" + key.substr(key.find("256/") + 4)));
    EXPECT_FALSE(parse_wal_block_key(layout, "elsewhere/" + key));
    block.start = 300; // not a multiple of the span
    EXPECT_FALSE(parse_wal_block_key(layout, wal_block_key(layout, block)));
    block.start = 256;
    block.count = 257;
    EXPECT_FALSE(parse_wal_block_key(layout, wal_block_key(layout, block)));
}

TEST(WalIndexObject, KeepsEverySegmentsFacts) {
    const ClusterLayout layout(kSystem);
    rc::check("facts come back", [&](const std::vector<std::tuple<uint8_t, int64_t, uint32_t, bool>> &items) {
        RC_PRE(!items.empty() && items.size() < 16);
        WalBlock block = block_at(4096 * 5);
        std::vector<IndexedSegment> segments;
        uint64_t number = block.start;
        for (const auto &[distance, time, xid, crossing] : items) {
            IndexedSegment segment;
            segment.segment = number + distance;
            number = segment.segment + 1;
            segment.epoch = distance % 3;
            if (distance % 4 != 0) {
                WalScanSummary &scan = segment.scan.emplace();
                const Lsn start = segment_start(segment.segment, block.segment_size);
                if (distance % 2 == 1) {
                    scan.first_time_us = time;
                    scan.last_time_us = time + distance;
                    scan.first_xid = xid;
                    scan.last_xid = xid + 1;
                    scan.commits = distance;
                    scan.restore_points.push_back({std::string("p\n") + std::to_string(xid), time, start});
                }
                scan.end_of_records = Lsn{start.value + distance};
                scan.ends_in_switch = crossing;
                scan.magic = 0xd116;
                if (crossing) {
                    scan.spanning_out = Bytes(distance % kMaxSpanningBytes, std::byte{0x5a});
                    scan.spanning_in = Bytes(3, std::byte{1});
                    scan.spanning_in_end = Lsn{start.value + 40};
                }
            }
            segments.push_back(std::move(segment));
        }
        summarise(block, segments, nullptr);
        const auto read = decode_wal_block(block, encode_wal_block(block, segments), "key");
        RC_ASSERT(read.size() == segments.size());
        for (size_t i = 0; i < read.size(); ++i) {
            RC_ASSERT(read[i].segment == segments[i].segment);
            RC_ASSERT(read[i].epoch == segments[i].epoch);
            RC_ASSERT(read[i].scan.has_value() == segments[i].scan.has_value());
            // RC_ASSERT evaluates both sides of an "or".
            const bool as_before = !read[i].scan || same(*read[i].scan, *segments[i].scan);
            RC_ASSERT(as_before);
        }
    });
}

TEST(WalIndexObject, DamageIsFoundAndANameThatLiesToo) {
    WalBlock block = block_at(0);
    const std::vector<IndexedSegment> segments{indexed(1, 100, 5), indexed(2, 200, 6)};
    summarise(block, segments, nullptr);
    const Bytes object = encode_wal_block(block, segments);
    for (size_t i = 0; i < object.size(); ++i) {
        Bytes damaged = object;
        damaged[i] ^= std::byte{0x10};
        EXPECT_THROW(static_cast<void>(decode_wal_block(block, damaged, "key")), Error) << i;
        EXPECT_THROW(static_cast<void>(decode_wal_block(block, ByteView(object).first(i), "key")), Error) << i;
    }
    ++block.count;
    EXPECT_THROW(static_cast<void>(decode_wal_block(block, object, "key")), Error);
}

TEST(WalIndexSummary, CountsHolesAndOrdersTransactionIdsAsPostgreSQLDoes) {
    WalBlock block = block_at(0);
    summarise(block, {indexed(1, 500, 4294967295U), indexed(2, 300, 3), indexed(5)}, nullptr);
    EXPECT_EQ(block.first, 1U);
    EXPECT_EQ(block.last, 5U);
    EXPECT_EQ(block.count, 3U);
    EXPECT_FALSE(block.is_whole());
    EXPECT_EQ(block.first_time_us, 300);
    EXPECT_EQ(block.last_time_us, 500);
    EXPECT_EQ(block.first_xid, 4294967295U);
    EXPECT_EQ(block.last_xid, 3U);
}

TEST(ExpiredWal, MarksComeBackAndNeedlessIndexesAreNamed) {
    const auto store = std::make_shared<MemoryStore>();
    const Repository repository(store, RepositoryDocument{}, "memory://x", kSystem);
    const ClusterLayout &layout = repository.layout();
    const CancelToken cancel;
    std::vector<std::string> keys;
    const auto put = [&](uint64_t start, uint64_t span, uint64_t first, uint64_t last, uint64_t count,
                         uint32_t generation) {
        WalBlock block = block_at(start, span);
        block.first = first;
        block.last = last;
        block.count = count;
        block.generation = generation;
        keys.push_back(wal_block_key(layout, block));
        const Bytes body = to_bytes("x");
        PutRequest request;
        request.key = keys.back();
        request.body = body;
        ASSERT_EQ(store->put_new(request, cancel), PutOutcome::kStored);
    };
    put(0, 4096, 10, 4095, 4086, 1);    // 0: wholly expired
    put(4096, 4096, 4096, 8191, 90, 1); // 1: in part
    put(4096, 4096, 4096, 8191, 99, 2); // 2: replaces 1
    put(8192, 4096, 8192, 12287, 4096, 1);
    put(8192, 256, 8192, 8447, 256, 1); // 4: the larger one says the same
    put(4096, 256, 4096, 4351, 256, 1); // 5: the larger one has holes: may be needed
    const ExpiredWal old{3, {0, 100}, 1};
    const ExpiredWal newer{3, {0, 5000}, 2};
    mark_wal_expired(repository, old, cancel);
    mark_wal_expired(repository, newer, cancel);
    mark_wal_expired(repository, newer, cancel);
    EXPECT_THAT(list_expired_wal(repository, cancel), UnorderedElementsAre(old, newer));
    EXPECT_THAT(list_needless_wal_index(repository, {}, block_at(0, 256).segment_size, cancel),
                UnorderedElementsAre(expired_wal_key(layout, old), keys[0], keys[1], keys[4], keys[5]));
    EXPECT_FALSE(parse_expired_wal_key(layout, expired_wal_key(layout, old) + "x"));
    EXPECT_FALSE(parse_expired_wal_key(layout, keys[0]));
}

} // namespace
} // namespace pgvigil
