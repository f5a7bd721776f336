#include "pgdata/wal_scan.h"

#include "base/random.h"
#include "base/time.h"
#include "base/wal_name.h"
#include "pgdata/wal_walk.h"
#include "postgres_cluster.h"

#include <algorithm>
#include <chrono>
#include <gtest/gtest.h>
#include <map>
#include <rapidcheck/gtest.h>
#include <sstream>

namespace pgvigil {
namespace {

// What pg_waldump says of one record.
struct DumpedRecord {
    std::string manager;
    uint32_t xid = 0;
    Lsn start;
    std::string description;
};

std::vector<DumpedRecord> parse_waldump(const std::string &output) {
    std::vector<DumpedRecord> records;
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("rmgr: "))
            continue;
        const auto after = [&](const char *label) {
            const size_t at = line.find(label);
            return at == std::string::npos ? std::string() : line.substr(at + std::string(label).size());
        };
        DumpedRecord record;
        std::istringstream(after("rmgr: ")) >> record.manager;
        std::istringstream(after("tx: ")) >> record.xid;
        const std::string lsn = after("lsn: ");
        record.start = parse_lsn(lsn.substr(0, lsn.find(','))).value();
        record.description = after("desc: ");
        records.push_back(record);
    }
    return records;
}

// "COMMIT 2026-…", "COMMIT_PREPARED gid: 736: 2026-…", "ABORT 2026-…; subxacts: …"
std::optional<TransactionEnd> dumped_end(const DumpedRecord &record) {
    if (record.manager != "Transaction")
        return std::nullopt;
    std::istringstream in(record.description);
    std::string operation;
    in >> operation;
    const bool prepared = operation.ends_with("_PREPARED");
    if (operation != "COMMIT" && operation != "ABORT" && !prepared)
        return std::nullopt;
    TransactionEnd end;
    end.committed = operation.starts_with("COMMIT");
    end.xid = record.xid;
    std::string rest;
    std::getline(in, rest);
    const size_t time = rest.find("20");
    const size_t zone = rest.find(" UTC");
    if (prepared)
        end.xid = static_cast<uint32_t>(std::stoul(rest));
    const size_t year = prepared ? rest.find(": 20") + 2 : time;
    end.time_us = parse_time_us(rest.substr(year, zone + 4 - year)).value();
    return end;
}

// WAL of a busy cluster: records across pages and segments, prepared transactions, aborts, subtransactions, switches.
class RealWal {
  public:
    explicit RealWal(const test::PostgresVersion &version) : cluster_(version, "--wal-segsize=1") {
        cluster_.start("wal_keep_size = '2GB'\nmax_prepared_transactions = 10\nautovacuum = off\nwal_level = replica\n"
                       "min_wal_size = '2MB'\nmax_wal_size = '2GB'");
        cluster_.run("pgbench", "-i -q -s 1");
        first_point_ = parse_lsn(cluster_.sql("SELECT pg_create_restore_point($$first point$$)")).value();
        cluster_.run("pgbench", "-n -c 4 -j 2 -t 800");
        cluster_.sql("CREATE TABLE t(a int, b text); BEGIN; INSERT INTO t SELECT i, repeat(md5(i::text), 100) FROM "
                     "generate_series(1, 3000) i; PREPARE TRANSACTION 'one';"
                     "CREATE TABLE w(a int); BEGIN; CREATE TABLE u(a int); DROP TABLE w; PREPARE TRANSACTION 'two';"
                     "COMMIT PREPARED 'one'");
        cluster_.sql("ROLLBACK PREPARED 'two'; BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2);"
                     "ROLLBACK TO s; INSERT INTO t VALUES (3); COMMIT; BEGIN; INSERT INTO t VALUES (4); ROLLBACK;"
                     "SELECT pg_switch_wal(); CREATE TABLE v(x text)");
        for (int i = 0; i < 150; ++i)
            cluster_.sql_script_ += "SELECT pg_create_restore_point($$point " + std::to_string(i) + "$$);\n";
        cluster_.sql(cluster_.sql_script_);
        cluster_.run("pgbench", "-n -c 2 -t 300");
        end_ = parse_lsn(cluster_.sql("SELECT pg_current_wal_flush_lsn()")).value();
        cluster_.stop();
        load();
    }

    struct Cluster : test::PostgresCluster {
        using PostgresCluster::PostgresCluster;
        std::string sql_script_;
    };

    Cluster cluster_;
    Lsn first_point_;
    Lsn end_;
    uint64_t first_segment_ = 0;
    std::vector<Bytes> segments_;
    std::vector<DumpedRecord> dump_;

  private:
    void load() {
        std::map<uint64_t, std::filesystem::path> files;
        for (const auto &item : std::filesystem::directory_iterator(cluster_.data() / "pg_wal")) {
            const auto name = parse_wal_file_name(item.path().filename().string());
            if (name && name->kind == WalFileKind::kSegment)
                files[segment_number(*name, kMiB)] = item.path();
        }
        first_segment_ = files.begin()->first;
        for (const auto &[segment, path] : files) {
            if (segment != first_segment_ + segments_.size())
                throw std::runtime_error("segments are missing");
            segments_.push_back(test::read_whole_file(path));
        }
        const std::string last = files.rbegin()->second.filename().string();
        // It ends in an error where the WAL ends.
        dump_ = parse_waldump(cluster_.run("pg_waldump", "-p " + (cluster_.data() / "pg_wal").string() + " " +
                                                             files.begin()->second.filename().string() + " " + last +
                                                             " || true"));
    }
};

class WalScan : public ::testing::TestWithParam<unsigned> {
  protected:
    void SetUp() override {
        const auto versions = test::installed_postgres();
        const auto found = std::find_if(versions.begin(), versions.end(),
                                        [](const auto &version) { return version.major == GetParam(); });
        if (found == versions.end())
            GTEST_SKIP() << "PostgreSQL " << GetParam() << " is not installed";
        std::unique_ptr<RealWal> &cached = cache()[GetParam()];
        if (cached == nullptr)
            cached = std::make_unique<RealWal>(*found);
        wal_ = cached.get();
    }
    static void TearDownTestSuite() { cache().clear(); }
    static std::map<unsigned, std::unique_ptr<RealWal>> &cache() {
        static std::map<unsigned, std::unique_ptr<RealWal>> wal;
        return wal;
    }
    [[nodiscard]] Lsn start_of(size_t index) const { return segment_start(wal_->first_segment_ + index, kMiB); }
    [[nodiscard]] Bytes everything() const {
        Bytes all;
        for (const Bytes &segment : wal_->segments_)
            all.insert(all.end(), segment.begin(), segment.end());
        return all;
    }

    RealWal *wal_ = nullptr;
};

TEST_P(WalScan, WalksTheSameRecordsAsWaldump) {
    const Bytes all = everything();
    WalWalk walk(all, start_of(0), 8192);
    size_t at = 0;
    Lsn previous_end;
    while (const auto record = walk.next()) {
        ASSERT_LT(at, wal_->dump_.size());
        ASSERT_EQ(to_string(record->start), to_string(wal_->dump_[at].start)) << "record " << at;
        ASSERT_EQ(record->xid, wal_->dump_[at].xid);
        if (previous_end.is_valid()) {
            // A record that would start at a page's start stands behind the page's header.
            const uint64_t gap = record->start.value - previous_end.value;
            ASSERT_TRUE(gap == 0 || gap == 24 || gap == 40) << gap;
        }
        previous_end = record->end;
        ++at;
    }
    EXPECT_EQ(at, wal_->dump_.size());
    EXPECT_GT(at, 10000U);
}

TEST_P(WalScan, FindsEveryTransactionEnd) {
    std::vector<TransactionEnd> expected;
    for (const DumpedRecord &record : wal_->dump_)
        if (const auto end = dumped_end(record))
            expected.push_back(*end);
    const Bytes all = everything();
    const auto found = transaction_ends(all, start_of(0));
    ASSERT_EQ(found.size(), expected.size());
    ASSERT_GT(found.size(), 3000U);
    size_t aborts = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].xid, expected[i].xid) << i;
        EXPECT_EQ(found[i].committed, expected[i].committed);
        EXPECT_EQ(found[i].time_us, expected[i].time_us);
        aborts += found[i].committed ? 0 : 1;
    }
    EXPECT_GE(aborts, 2U);
}

TEST_P(WalScan, SummariesOfSegmentsAddUpToTheWhole) {
    const Bytes all = everything();
    const auto ends = transaction_ends(all, start_of(0));
    size_t points = 0;
    size_t spanning = 0;
    bool found_first = false;
    std::vector<TransactionEnd> together;
    WalScanSummary earlier;
    bool saw_switch = false;
    for (size_t i = 0; i < wal_->segments_.size(); ++i) {
        const WalScanSummary summary = scan_wal(wal_->segments_[i], start_of(i));
        saw_switch |= summary.ends_in_switch;
        if (summary.ends_in_switch) {
            EXPECT_EQ(summary.end_of_records, start_of(i + 1));
        }
        if (const auto record = spanning_record(earlier, summary)) {
            ++spanning;
            if (record->transaction)
                together.push_back(*record->transaction);
            points += record->restore_point ? 1 : 0;
        }
        const auto inside = transaction_ends(wal_->segments_[i], start_of(i));
        together.insert(together.end(), inside.begin(), inside.end());
        const auto commits = std::count_if(inside.begin(), inside.end(), [](const auto &end) { return end.committed; });
        EXPECT_EQ(summary.commits, static_cast<uint32_t>(commits));
        if (!inside.empty()) {
            const auto [low, high] = std::minmax_element(
                inside.begin(), inside.end(), [](const auto &a, const auto &b) { return a.time_us < b.time_us; });
            EXPECT_EQ(summary.first_time_us, low->time_us);
            EXPECT_EQ(summary.last_time_us, high->time_us);
        }
        points += summary.restore_points.size();
        for (const RestorePoint &point : summary.restore_points)
            if (point.name == "first point") {
                found_first = true;
                EXPECT_EQ(point.lsn, wal_->first_point_);
                EXPECT_GT(point.time_us, int64_t{1700000000} * 1000000);
            }
        EXPECT_EQ(summary.magic, summary.magic == 0 ? 0 : load_le<uint16_t>(wal_->segments_[0].data()));
        earlier = summary;
    }
    EXPECT_TRUE(saw_switch);
    EXPECT_TRUE(found_first);
    // A summary keeps 100 restore points; 151 were made, in one or two segments.
    EXPECT_GE(points, 101U);
    ASSERT_EQ(together.size(), ends.size());
    for (size_t i = 0; i < ends.size(); ++i) {
        EXPECT_EQ(together[i].end, ends[i].end);
        EXPECT_EQ(together[i].xid, ends[i].xid);
        EXPECT_EQ(together[i].time_us, ends[i].time_us);
    }
    RecordProperty("spanning_records", static_cast<int>(spanning));
}

// A record cut between two segments is put together again wherever the cut lies: the same WAL cut at every page.
TEST_P(WalScan, SpanningRecordsWhereverTheCutLies) {
    const Bytes all = everything();
    const auto ends = transaction_ends(all, start_of(0));
    size_t spanning = 0;
    for (size_t cut = 8192; cut + 8192 < all.size(); cut += 8192) {
        const size_t from = cut >= 65536 ? cut - 65536 : 0;
        const WalScanSummary earlier = scan_wal(ByteView(all).subspan(from, cut - from), Lsn{start_of(0).value + from});
        const size_t length = std::min<size_t>(65536, all.size() - cut);
        const WalScanSummary later = scan_wal(ByteView(all).subspan(cut, length), Lsn{start_of(0).value + cut});
        const auto record = spanning_record(earlier, later);
        if (!record || !record->transaction)
            continue;
        ++spanning;
        EXPECT_TRUE(std::any_of(ends.begin(), ends.end(), [&](const TransactionEnd &end) {
            return end.end == record->transaction->end && end.xid == record->transaction->xid &&
                   end.time_us == record->transaction->time_us && end.committed == record->transaction->committed;
        })) << to_string(record->transaction->end);
    }
    EXPECT_GT(spanning, 3U);
}

TEST_P(WalScan, ATailEndsAtItsLastCompleteRecord) {
    const Bytes &segment = wal_->segments_[wal_->segments_.size() / 2];
    const Lsn start = start_of(wal_->segments_.size() / 2);
    std::vector<Lsn> record_ends;
    WalWalk walk(segment, start, 8192);
    while (const auto record = walk.next())
        record_ends.push_back(record->end);
    ASSERT_GT(record_ends.size(), 10U);
    const Lsn spanning_in_end = walk.spanning_in_end();
    for (size_t length = 0; length < segment.size(); length += 997) {
        const Lsn end = scan_wal(ByteView(segment).first(length), start).end_of_records;
        EXPECT_LE(end.value, start.value + length + 8);
        EXPECT_TRUE(!end.is_valid() || std::binary_search(record_ends.begin(), record_ends.end(), end) ||
                    end == spanning_in_end);
    }
}

TEST_P(WalScan, DamagedWalNeverDoesWorseThanStop) {
    const Bytes &segment = wal_->segments_[2];
    const Lsn start = start_of(2);
    const size_t whole = transaction_ends(segment, start).size();
    for (int round = 0; round < 300; ++round) {
        Bytes damaged = segment;
        for (int i = 0; i < 8; ++i)
            damaged[random_below(damaged.size())] = static_cast<std::byte>(random_below(256));
        const WalScanSummary summary = scan_wal(damaged, start);
        EXPECT_LE(summary.end_of_records.value, start.value + 2 * kMiB);
        EXPECT_LE(summary.spanning_out.size(), kMaxSpanningBytes);
        EXPECT_LE(transaction_ends(damaged, start).size(), whole + 8);
    }
    // Another segment's bytes at this address, as in a recycled file.
    EXPECT_EQ(scan_wal(segment, start_of(5)).magic, 0);
    EXPECT_EQ(scan_wal(segment, start_of(5)).commits, 0U);
}

TEST_P(WalScan, IsFast) {
    // The segment with the most transactions is the one with the most work in it.
    size_t busiest = 0;
    uint32_t most = 0;
    for (size_t i = 0; i < wal_->segments_.size(); ++i) {
        const uint32_t commits = scan_wal(wal_->segments_[i], start_of(i)).commits;
        if (commits > most) {
            most = commits;
            busiest = i;
        }
    }
    EXPECT_GT(most, 200U);
    constexpr int kRounds = 200;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kRounds; ++i)
        EXPECT_EQ(scan_wal(wal_->segments_[busiest], start_of(busiest)).commits, most);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    const double rate = kRounds * double{kMiB} / took.count() / 1e9;
    RecordProperty("gigabytes_per_second", std::to_string(rate));
    EXPECT_GT(rate, 0.05) << "even an unoptimised, instrumented build is faster";
}

INSTANTIATE_TEST_SUITE_P(Versions, WalScan, ::testing::Values(15U, 17U, 18U),
                         [](const auto &info) { return "pg" + std::to_string(info.param); });

TEST(WalScanGarbage, PageSizesAndNothing) {
    for (const uint32_t size : {0U, 1U, 512U, 1000U, 1024U, 8192U, 65536U, 131072U, UINT32_MAX}) {
        EXPECT_EQ(scan_wal({}, Lsn{0}, size).magic, 0);
        EXPECT_EQ(scan_wal(Bytes(100000), Lsn{0}, size).commits, 0U);
    }
    EXPECT_TRUE(transaction_ends(Bytes(16384), Lsn{16 * kMiB}).empty());
}

// Page and record headers that look right, around random bytes: the walk must come to an end on any of it.
RC_GTEST_PROP(WalScanGarbage, PlausibleHeadersNeverHarm, ()) {
    const auto page_size = *rc::gen::element<uint32_t>(1024, 8192, 65536);
    const auto pages = *rc::gen::inRange<size_t>(1, 6);
    Bytes wal(pages * page_size);
    random_bytes(wal);
    const Lsn start{16 * kMiB};
    const auto put = [&](size_t at, uint64_t value, size_t bytes) {
        for (size_t i = 0; i < bytes && at + i < wal.size(); ++i)
            wal[at + i] = static_cast<std::byte>(value >> (8 * i));
    };
    size_t previous = 0;
    for (size_t page = 0; page < pages; ++page) {
        const size_t at = page * page_size;
        put(at, 0xD118, 2);
        put(at + 2, *rc::gen::inRange<uint64_t>(0, 16), 2);
        put(at + 8, start.value + at, 8);
        put(at + 16, *rc::gen::inRange<uint64_t>(0, 3 * page_size), 4);
        put(at + 32, kMiB, 4);
        for (size_t record = at + 40; record + 24 < at + page_size;) {
            const auto length = *rc::gen::inRange<size_t>(0, 400);
            put(record, length, 4);
            put(record + 8, previous == 0 ? 0 : start.value + previous, 8);
            put(record + 16, *rc::gen::inRange<uint64_t>(0, 256), 1);
            put(record + 17, *rc::gen::inRange<uint64_t>(0, 2), 1);
            put(record + 24, *rc::gen::inRange<uint64_t>(250, 256), 1);
            previous = record;
            record += (length + 31) & ~size_t{7};
            if (length < 24)
                break;
        }
    }
    const WalScanSummary summary = scan_wal(wal, start, page_size);
    RC_ASSERT(summary.end_of_records.value <= start.value + kMiB + wal.size());
    (void)transaction_ends(wal, start, page_size);
    (void)spanning_record(summary, summary);
}

} // namespace
} // namespace pgvigil
