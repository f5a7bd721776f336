// WAL summaries: files written by real servers against pg_walsummary, and files of our own making.
#include "base/crc32c.h"
#include "base/error.h"
#include "pgdata/wal_summary.h"
#include "postgres_cluster.h"

#include <chrono>
#include <gtest/gtest.h>
#include <map>
#include <rapidcheck/gtest.h>
#include <set>
#include <sstream>
#include <thread>

namespace pgvigil {
namespace {

// A summary as the server writes it.
class SummaryMaker {
  public:
    SummaryMaker() { out_.u32(0x652b137b); }
    void entry(uint32_t tablespace, uint32_t database, uint32_t number, uint32_t fork, uint32_t limit,
               const std::map<uint32_t, std::set<uint16_t>> &chunks = {}) {
        const uint32_t count = chunks.empty() ? 0 : chunks.rbegin()->first + 1;
        for (const uint32_t value : {tablespace, database, number, fork, limit, count})
            out_.u32(value);
        const auto used = [&](uint32_t chunk) {
            const auto found = chunks.find(chunk);
            return found == chunks.end() ? size_t{0} : std::min<size_t>(found->second.size(), 4096);
        };
        for (uint32_t chunk = 0; chunk < count; ++chunk)
            out_.u16(static_cast<uint16_t>(used(chunk)));
        for (const auto &[chunk, offsets] : chunks) {
            if (offsets.size() < 4096) {
                // The server keeps them in the order in which they came.
                for (auto offset = offsets.rbegin(); offset != offsets.rend(); ++offset)
                    out_.u16(*offset);
                continue;
            }
            std::vector<uint16_t> words(4096);
            for (const uint16_t offset : offsets)
                words[offset / 16] = static_cast<uint16_t>(words[offset / 16] | (1U << (offset % 16)));
            for (const uint16_t word : words)
                out_.u16(word);
        }
    }
    Bytes finish() {
        for (int i = 0; i < 6; ++i)
            out_.u32(0);
        out_.u32(crc32c(out_.view()));
        return out_.take();
    }

  private:
    ByteWriter out_;
};

constexpr RelationForkId kTable{1663, 5, 16384, RelationFork::kMain};

std::vector<uint32_t> blocks_of(const BlockChanges &changes, const RelationForkId &id, uint32_t to = 0xffffffffU) {
    std::vector<uint32_t> blocks;
    if (const ForkChanges *fork = changes.find(id))
        for (const BlockRun &run : fork->blocks.runs(0, to))
            for (uint32_t i = 0; i < run.count; ++i)
                blocks.push_back(run.first + i);
    return blocks;
}

TEST(WalSummary, SeveralAreUnited) {
    SummaryMaker first;
    first.entry(1663, 5, 16384, 0, 100, {{0, {7, 3, 8}}, {2, {1}}});
    first.entry(1663, 5, 16385, 2, kNoLimitBlock, {{0, {0}}});
    SummaryMaker second;
    second.entry(1663, 5, 16384, 0, 400, {{0, {4, 7}}});
    second.entry(1663, 6, 0, 0, 0);
    BlockChanges changes;
    read_wal_summary(second.finish(), "b", changes);
    read_wal_summary(first.finish(), "a", changes);
    EXPECT_EQ(blocks_of(changes, kTable), (std::vector<uint32_t>{3, 4, 7, 8, 131073}));
    EXPECT_EQ(changes.find(kTable)->limit_block, 100U);
    EXPECT_EQ(changes.find(kTable)->blocks.runs(0, 100), (std::vector<BlockRun>{{3, 2}, {7, 2}}));
    EXPECT_EQ(changes.find(kTable)->blocks.count(4, 8), 2U);
    EXPECT_EQ(changes.find({1663, 5, 16385, RelationFork::kVm})->limit_block, kNoLimitBlock);
    EXPECT_EQ(changes.find({1663, 5, 16385, RelationFork::kMain}), nullptr);
    EXPECT_TRUE(changes.database_changed(1663, 6));
    EXPECT_FALSE(changes.database_changed(1663, 5));
}

TEST(WalSummary, RefusesWhatIsDamaged) {
    SummaryMaker maker;
    maker.entry(1663, 5, 16384, 0, 100, {{0, {7, 3, 8}}});
    const Bytes good = maker.finish();
    BlockChanges changes;
    EXPECT_NO_THROW(read_wal_summary(good, "s", changes));
    const auto refused = [](const Bytes &bytes) {
        BlockChanges ignored;
        try {
            read_wal_summary(bytes, "the-name", ignored);
        } catch (const Error &error) {
            return error.code() == ErrorCode::kCorrupt && error.message().find("the-name") != std::string::npos;
        }
        return false;
    };
    for (size_t i = 0; i < good.size(); ++i) {
        Bytes bad = good;
        bad[i] ^= std::byte{0x10};
        EXPECT_TRUE(refused(bad)) << i;
        EXPECT_TRUE(refused(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(i)))) << i;
    }
    Bytes longer = good;
    longer.push_back(std::byte{0});
    EXPECT_TRUE(refused(longer));
}

// Bitmaps, arrays, chunks that grow from one into the other, and a memory limit that only ever adds blocks.
RC_GTEST_PROP(WalSummary, read_back_is_the_union, ()) {
    const auto limited = *rc::gen::arbitrary<bool>();
    BlockChanges changes(limited ? 12000 : BlockChanges::kDefaultMemoryLimit);
    std::set<uint32_t> expected;
    uint32_t limit = kNoLimitBlock;
    for (int summary = *rc::gen::inRange(1, 5); summary > 0; --summary) {
        std::map<uint32_t, std::set<uint16_t>> chunks;
        for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
            auto &offsets = chunks[*rc::gen::inRange<uint32_t>(0, 4)];
            const auto step = *rc::gen::inRange<uint32_t>(1, 400);
            for (uint32_t at = *rc::gen::inRange<uint32_t>(0, 65536); at < 65536; at += step)
                offsets.insert(static_cast<uint16_t>(at));
        }
        for (const auto &[chunk, offsets] : chunks)
            for (const uint16_t offset : offsets)
                expected.insert(chunk * kBlocksPerChunk + offset);
        const uint32_t own_limit = *rc::gen::element<uint32_t>(0xffffffffU, 0U, 17U, 70000U);
        limit = std::min(limit, own_limit);
        SummaryMaker maker;
        maker.entry(1663, 5, 16384, 0, own_limit, chunks);
        read_wal_summary(maker.finish(), "s", changes);
    }
    RC_ASSERT(changes.find(kTable)->limit_block == limit);
    const std::vector<uint32_t> found = blocks_of(changes, kTable);
    const std::set<uint32_t> found_set(found.begin(), found.end());
    RC_ASSERT(std::includes(found_set.begin(), found_set.end(), expected.begin(), expected.end()));
    if (!limited)
        RC_ASSERT(found_set == expected);
    else
        RC_ASSERT(changes.memory_bytes() < size_t{12000 + 8192});
    const auto from = *rc::gen::inRange<uint32_t>(0, 200000);
    const auto to = *rc::gen::inRange<uint32_t>(0, 300000);
    uint64_t between = 0;
    for (const uint32_t block : found)
        between += block >= from && block < to ? 1U : 0U;
    const BlockSet &blocks = changes.find(kTable)->blocks;
    RC_ASSERT(blocks.count(from, to) == between);
    RC_ASSERT(blocks.contains(from) == found_set.contains(from));
}

TEST(WalSummary, Names) {
    const auto name = parse_wal_summary_name("0000000A00000001020000280000000103000000.summary");
    ASSERT_TRUE(name);
    EXPECT_EQ(name->timeline, 10U);
    EXPECT_EQ(to_string(name->start), "1/2000028");
    EXPECT_EQ(to_string(name->end), "1/3000000");
    EXPECT_FALSE(parse_wal_summary_name("0000000A00000001020000280000000103000000.summary2"));
    EXPECT_FALSE(parse_wal_summary_name("0000000A00000001020000280000000001000000.summary"));
    EXPECT_FALSE(parse_wal_summary_name("0000000000000001020000280000000103000000.summary"));
    EXPECT_FALSE(parse_wal_summary_name("temp.summary"));
}

// What pg_walsummary prints, in its own form.
std::multiset<std::string> as_printed(const BlockChanges &changes, const std::set<RelationForkId> &ids) {
    constexpr const char *kForks[] = {"main", "fsm", "vm", "init"};
    std::multiset<std::string> lines;
    for (const RelationForkId &id : ids) {
        const ForkChanges *fork = changes.find(id);
        if (fork == nullptr)
            continue;
        std::ostringstream start;
        start << "TS " << id.tablespace << ", DB " << id.database << ", REL " << id.number << ", FORK "
              << kForks[static_cast<size_t>(id.fork)] << ": ";
        if (fork->limit_block != kNoLimitBlock)
            lines.insert(start.str() + "limit " + std::to_string(fork->limit_block));
        for (const uint32_t block : blocks_of(changes, id))
            lines.insert(start.str() + "block " + std::to_string(block));
    }
    return lines;
}

std::vector<std::filesystem::path> summaries_of(const test::PostgresCluster &cluster) {
    std::vector<std::filesystem::path> files;
    for (const auto &entry : std::filesystem::directory_iterator(cluster.data() / "pg_wal" / "summaries"))
        if (parse_wal_summary_name(entry.path().filename().string()))
            files.push_back(entry.path());
    return files;
}

TEST(WalSummary, RealOnesAsPgWalsummaryPrintsThem) {
    for (const test::PostgresVersion &version : test::installed_postgres()) {
        if (version.major < 17)
            continue;
        test::PostgresCluster cluster(version, "");
        cluster.start("summarize_wal = on\nwal_level = replica\nautovacuum = off\n");
        cluster.sql("CREATE TABLE big AS SELECT g AS id, repeat('x', 500) AS t FROM generate_series(1, 100000) g");
        cluster.sql("CREATE INDEX ON big (id)");
        cluster.sql("DELETE FROM big WHERE id > 50000");
        cluster.sql("VACUUM (TRUNCATE) big");
        cluster.sql("CREATE DATABASE copied STRATEGY file_copy");
        cluster.sql("CREATE UNLOGGED TABLE scratch (a int)");
        cluster.sql("CHECKPOINT");
        cluster.sql("UPDATE big SET t = 'y' WHERE id % 100 = 0");
        cluster.sql("CHECKPOINT");
        const std::string end = cluster.sql("SELECT redo_lsn FROM pg_control_checkpoint()");
        for (int i = 0; i < 600; ++i) {
            if (cluster
                    .sql("SELECT count(*) > 0 FROM pg_available_wal_summaries() WHERE end_lsn >= '" +
                         end.substr(0, end.find('\n')) + "'")
                    .starts_with("t"))
                break;
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
        }
        cluster.stop();
        const std::vector<std::filesystem::path> files = summaries_of(cluster);
        ASSERT_GE(files.size(), 2U);
        size_t blocks = 0;
        bool database_seen = false;
        for (const std::filesystem::path &file : files) {
            std::istringstream printed(cluster.run("pg_walsummary", "-i " + file.string()));
            std::multiset<std::string> expected;
            std::set<RelationForkId> ids;
            for (std::string line; std::getline(printed, line);) {
                expected.insert(line);
                RelationForkId id;
                char fork[8] = "";
                ASSERT_EQ(std::sscanf(line.c_str(), "TS %u, DB %u, REL %u, FORK %7[a-z]:", &id.tablespace, &id.database,
                                      &id.number, fork),
                          4)
                    << line;
                const std::string name = fork;
                id.fork = name == "fsm"    ? RelationFork::kFsm
                          : name == "vm"   ? RelationFork::kVm
                          : name == "init" ? RelationFork::kInit
                                           : RelationFork::kMain;
                ids.insert(id);
                database_seen = database_seen || id.number == 0;
            }
            BlockChanges changes;
            read_wal_summary(test::read_whole_file(file), file.string(), changes);
            EXPECT_EQ(as_printed(changes, ids), expected) << file;
            blocks += expected.size();
            for (const RelationForkId &id : ids)
                EXPECT_EQ(changes.database_changed(id.tablespace, id.database) && id.number == 0, id.number == 0);
        }
        EXPECT_GT(blocks, 5000U); // a bitmap among them
        EXPECT_TRUE(database_seen);
    }
}

} // namespace
} // namespace pgvigil
