// test/independent_reader.py, which shares nothing with this code, reads what this code writes: a backup, and WAL in
// one object and in parts.

#include "base/json.h"
#include "chain_support.h"
#include "repo/commit_index.h"
#include "repo/envelope.h"
#include "repo/epochs.h"
#include "repo/expired_wal.h"
#include "repo/wal_index.h"
#include "storage/posix/posix_store.h"
#include "tail_support.h"
#include "wal_archiver_support.h"

#include <cstdio>
#include <sys/wait.h>

namespace pgvigil::test {
namespace {

std::filesystem::path reader_program() {
    const std::filesystem::path beside = std::filesystem::path(__FILE__).parent_path().parent_path();
    for (const std::filesystem::path &place : {beside, std::filesystem::path("test")})
        if (std::filesystem::exists(place / "independent_reader.py"))
            return place / "independent_reader.py";
    throw std::runtime_error("run this from the top of the source: test/independent_reader.py is not there");
}

class IndependentReader : public BackupTest {
  protected:
    IndependentReader() {
        use_store(std::make_shared<PosixStore>(root(), "file://" + root(), log));
        make_cluster();
        write_file("base/5/holes", Bytes(5 * kMiB));
        write_file("base/5/caf\xe9 \"quoted\"", some_bytes(10, 9));
        for (int i = 0; i < 1000; ++i)
            write_file("many/" + std::to_string(i), some_bytes(static_cast<size_t>(i), static_cast<uint64_t>(i)));
        make_directory("pg_tblspc");
    }

    [[nodiscard]] std::string root() const { return area_.path() + "/repository"; }
    [[nodiscard]] std::string run(const std::string &arguments, bool expect_success = true) const {
        const std::string command = "python3 " + reader_program().string() + " " + arguments + " 2>&1";
        FILE *pipe = popen(command.c_str(), "r");
        std::string output;
        char buffer[65536];
        for (size_t got = 0; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
            output.append(buffer, got);
        EXPECT_EQ(pclose(pipe) == 0, expect_success) << command << "\n" << output.substr(0, 2000);
        return output;
    }
    Bytes archive_segment(const std::string &name, uint64_t size, const char *compression) {
        const Bytes bytes = make_segment({.name = name, .size = size, .filling = 3});
        std::ofstream(area_.path() + "/" + name, std::ios::binary) << as_text(bytes);
        archive_file(name, size, compression);
        return bytes;
    }
    void archive_file(const std::string &name, uint64_t segment_size, const char *compression) {
        WalArchiverOptions options;
        options.system_identifier = kCluster;
        options.segment_size = segment_size;
        options.page_magic = kMagic;
        options.wal_directory = area_.path();
        options.epoch = 1;
        options.epoch_timeline = 1;
        options.compression = parse_compression(compression);
        WalArchiver archiver(options, repositories, log);
        ASSERT_TRUE(archiver.submit(name));
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        while (archiver.state(name) == WalFileState::kPending && std::chrono::steady_clock::now() < deadline) {
            pollfd event{archiver.event_fd(), POLLIN, 0};
            poll(&event, 1, 100);
            archiver.clear_event();
        }
        ASSERT_EQ(archiver.state(name), WalFileState::kDone) << archiver.failure(name)->message();
    }

    TemporaryDirectory area_;
};

TEST_F(IndependentReader, ReadsTheStreamedTail) {
    const ClusterLayout &layout = repositories[0]->layout();
    ObjectStore &store = repositories[0]->store();
    const std::string name = "000000010000000000000003";
    const std::string next = "000000010000000000000004";
    const Bytes segment = make_segment({.name = name, .size = kMiB, .filling = 3});
    const Bytes other = make_segment({.name = name, .size = kMiB, .filling = 4});
    const Bytes later = make_segment({.name = next, .size = kMiB, .filling = 3});
    put_run(store, layout, run_of({1, 1}, 1, 3, kMiB));
    put_piece(store, layout, 1, kMiB, piece_of({1, 1}, 3, 0, 5000), segment);
    put_piece(store, layout, 1, kMiB, piece_of({1, 1}, 3, 5000, 9000), segment);
    put_piece(store, layout, 1, kMiB, piece_of({1, 1}, 3, 2000, 8000), segment);
    put_piece(store, layout, 1, kMiB, piece_of({1, 1}, 4, 0, 700), later);
    EXPECT_EQ(run("tail " + root() + " " + name), as_text(ByteView(segment).first(9000)));
    EXPECT_EQ(run("tail " + root() + " " + next), as_text(ByteView(later).first(700)));
    const Json found = Json::parse(run("check " + root())).at(std::to_string(kCluster)).at("tail");
    EXPECT_EQ(found.at(name), to_hex(sha256(ByteView(segment).first(9000))));
    // Recovery ended in the first of the two, and wrote something else.
    put_run(store, layout, run_of({1, 2}, 1, 3, kMiB));
    EXPECT_EQ(run("tail " + root() + " " + next).size(), 700U);
    put_piece(store, layout, 1, kMiB, piece_of({1, 2}, 3, 0, 6000), other);
    EXPECT_EQ(run("tail " + root() + " " + name), as_text(ByteView(other).first(6000)));
    EXPECT_EQ(run("tail " + root() + " " + next), "");
    put_piece(store, layout, 1, kMiB, piece_of({1, 2}, 3, 7000, 8000), other);
    EXPECT_NE(run("tail " + root() + " " + name, false).find("a piece is missing"), std::string::npos);
}

TEST_F(IndependentReader, ReadsBackupsAndWal) {
    EpochDocument epoch;
    epoch.number = 1;
    epoch.host = "h\xf6st";
    epoch.timeline = 1;
    ASSERT_FALSE(claim_epoch(*repositories[0], epoch, never));

    std::vector<std::string> backups;
    for (const char *compression : {"none", "lz4", "zstd:1"}) {
        BackupOptions options;
        options.compression = parse_compression(compression);
        backups.push_back(back_up(options));
    }
    std::map<std::string, Bytes> wal;
    wal["000000010000000000000003"] = archive_segment("000000010000000000000003", 16 * kMiB, "zstd:1");
    wal["000000010000000000000004"] = archive_segment("000000010000000000000004", 16 * kMiB, "lz4");
    wal["000000010000000100000001"] = archive_segment("000000010000000100000001", 128 * kMiB, "zstd:1");
    std::ofstream(area_.path() + "/00000002.history") << "1\t0/3000000\tno recovery target specified\n";
    archive_file("00000002.history", 16 * kMiB, "zstd:1");

    const Json found = Json::parse(run("check " + root()));
    const Json &cluster = found.at(std::to_string(kCluster));
    EXPECT_EQ(cluster.at("wal").size(), wal.size() + 1);
    for (const auto &[name, bytes] : wal)
        EXPECT_EQ(cluster.at("wal").at(layout.wal_file(name)).get<std::string>(), to_hex(sha256(bytes))) << name;
    EXPECT_TRUE(cluster.at("wal").contains(layout.wal_file("00000002.history")));

    ASSERT_EQ(cluster.at("backups").size(), backups.size());
    const RestoredTree tree = restored(backups[2]);
    size_t files = 0;
    for (const auto &[path, file] : tree)
        files += file.kind == FileKind::kRegular ? 1 : 0;
    EXPECT_GT(files, 1000U);
    for (const std::string &backup : backups) {
        const Json &listed = cluster.at("backups").at(backup);
        EXPECT_EQ(listed.size(), files);
        for (const char *path : {"PG_VERSION", "base/5/16384", "base/5/16386", "base/5/holes", "many/999"}) {
            std::ifstream in(directory.path() + "/" + path, std::ios::binary);
            const std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
            EXPECT_EQ(listed.at(path).get<std::string>(), to_hex(sha256(as_view(content)))) << path;
        }
    }

    const std::string target = area_.path() + "/restored";
    std::filesystem::create_directory(target);
    (void)run("restore " + root() + " " + backups[2] + " " + target);
    for (const auto &[path, file] : tree) {
        if (file.kind == FileKind::kDirectory) {
            EXPECT_TRUE(std::filesystem::is_directory(target + "/" + path)) << path;
            continue;
        }
        std::ifstream in(target + "/" + path, std::ios::binary);
        const std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
        EXPECT_TRUE(as_text(file.content) == content) << path;
    }
    EXPECT_TRUE(std::filesystem::exists(target + "/backup_label"));
}

TEST_F(IndependentReader, ReadsTheIndexesOfWalAndBackups) {
    WalBlock block;
    block.timeline = 1;
    block.span = 256;
    block.start = 512;
    block.segment_size = 16 * kMiB;
    block.epoch = 3;
    std::vector<IndexedSegment> segments;
    for (const uint64_t number : {520, 521, 530}) {
        IndexedSegment segment{number, number == 530 ? 3U : 0U, WalScanSummary{}};
        segment.scan->first_time_us = 1700000000000000 - static_cast<int64_t>(number);
        segment.scan->last_time_us = 1700000000000000 + static_cast<int64_t>(number);
        segment.scan->first_xid = 4294967295U;
        segment.scan->last_xid = static_cast<uint32_t>(number);
        segment.scan->end_of_records = Lsn{segment_start(number, block.segment_size).value + 77};
        segment.scan->spanning_out = Bytes(5, std::byte{1});
        segments.push_back(std::move(segment));
    }
    segments[1].scan->restore_points.push_back({"before it", 1700000000000001, Lsn{0x20900000}});
    segments.push_back({540, 0, std::nullopt});
    summarise(block, segments, nullptr);
    const Repository &repository = *repositories[0];
    const auto put = [&](const std::string &key, const Bytes &body) {
        PutRequest request;
        request.key = key;
        request.body = body;
        ASSERT_EQ(repository.store().put_new(request, never), PutOutcome::kStored);
    };
    const std::string key = wal_block_key(layout, block);
    put(key, encode_wal_block(block, segments));
    mark_wal_expired(repository, {1, {0, 519}, 3}, never);
    CommitDocument commit;
    commit.id = "20260101T000000F";
    commit.wal_segment_size = 16 * kMiB;
    commit.stop_lsn = Lsn{0x20900000};
    put(commit_index_key(layout, {commit.id, commit.id}),
        encode_document(encode_commit_index({commit}), 0, random_uuid()));

    const Json cluster = Json::parse(run("check " + root())).at(std::to_string(kCluster));
    const Json &index = cluster.at("walindex").at(key);
    EXPECT_EQ(index.size(), 4U);
    EXPECT_EQ(index.at("530").at("epoch").get<uint64_t>(), 3U);
    EXPECT_EQ(index.at("521").at("last_us").get<int64_t>(), 1700000000000521);
    EXPECT_EQ(index.at("521").at("end_of_records").get<uint64_t>(), 521 * block.segment_size + 77);
    EXPECT_EQ(index.at("521").at("restore_points").at("before it").at(1).get<uint64_t>(), 0x20900000U);
    EXPECT_EQ(index.at("540").size(), 1U);
    EXPECT_EQ(cluster.at("commitindex").at(commit.id).get<std::string>(), "0/20900000");
}

TEST_F(IndependentReader, SeesDamage) {
    const std::string id = back_up({});
    (void)run("check " + root());
    const std::filesystem::path pack = root() + "/" + layout.pack(id, 0);
    Bytes bytes = stores[0]->get(layout.pack(id, 0), 64 * kMiB, never).value();
    bytes[bytes.size() / 2] ^= std::byte{1};
    std::filesystem::permissions(pack, std::filesystem::perms::owner_all);
    std::ofstream(pack, std::ios::binary) << as_text(bytes);
    EXPECT_NE(run("check " + root(), false).find(id), std::string::npos);
}

// Incrementals: truncated, dropped, extended and bundled blocks.
TEST_F(IndependentReader, ReadsChains) {
    ChainHistory history(*stores[0]);
    uint32_t state = 1;
    const auto choose = [&state](uint32_t limit) {
        state = state * 1664525 + 1013904223;
        return (state >> 16) % limit;
    };
    for (int backup = 0; backup < 8; ++backup) {
        for (int step = 0; step < 40; ++step) {
            const std::string path = "base/5/" + std::to_string(choose(3));
            const uint32_t block = choose(50);
            switch (choose(8)) {
            case 0:
                history.truncate(path, block);
                break;
            case 1:
                history.drop(path);
                break;
            case 2:
                history.zero(path, block);
                break;
            default:
                history.write(path, block);
            }
        }
        CommitDocument document = facts();
        document.system_identifier = kCluster;
        history.back_up(backup == 0, document, choose);
    }
    const Json found = Json::parse(run("check " + root()));
    const Json &backups = found.at(std::to_string(kCluster)).at("backups");
    for (const auto &[id, files] : history.states()) {
        EXPECT_EQ(backups.at(id).size(), files.size());
        for (const auto &[path, blocks] : files)
            EXPECT_EQ(backups.at(id).at(path).get<std::string>(), to_hex(sha256(ChainHistory::bytes_of(blocks))))
                << id << " " << path;
    }
}

} // namespace
} // namespace pgvigil::test
