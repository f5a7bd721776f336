#include "transfer/backup_writer.h"

#include "backup_support.h"

#include "base/wal_name.h"
#include "pgdata/page.h"
#include "repo/expired_wal.h"
#include "repo/pack.h"
#include "storage/faulty_store.h"
#include "transfer/wal_presence.h"

#include <chrono>
#include <sys/fsuid.h>
#include <thread>

namespace pgvigil {
namespace {

using test::BackupReadBack;
using test::RestoredTree;
using test::some_bytes;

class BackupWriterTest : public test::BackupTest {
  protected:
    static Bytes page(uint32_t block, Lsn lsn, unsigned filling, bool damaged = false) {
        Bytes bytes = some_bytes(8192, filling);
        const auto store = [&](size_t at, uint64_t value, size_t size) {
            std::memcpy(bytes.data() + at, &value, size);
        };
        store(0, lsn.value >> 32, 4);
        store(4, lsn.value & 0xffffffff, 4);
        store(14, 8192, 2); // pd_upper: not a new page
        store(8, page_checksum(bytes, block), 2);
        if (damaged)
            bytes[4000] ^= std::byte{1};
        return bytes;
    }
};

TEST_F(BackupWriterTest, everything_reads_back_from_every_repository) {
    use_repositories(2);
    make_cluster();
    const std::string id = back_up();
    EXPECT_EQ(committed_in, (std::vector<std::string>{"memory:0", "memory:1"}));
    for (const size_t i : {0U, 1U}) {
        const RestoredTree tree = restored(id, i);
        EXPECT_EQ(paths(tree),
                  (std::vector<std::string>{"PG_VERSION", "base/", "base/5/", "base/5/16384", "base/5/16385",
                                            "base/5/16386", "global/", "global/1262", "pg_logical/",
                                            "pg_logical/snapshots/", "pg_wal/", "pg_wal/archive_status/",
                                            "pg_wal/summaries/", "pg_xact/", "pg_xact/0000", "postgresql.conf"}));
        EXPECT_EQ(tree.at("base/5/16384").content, some_bytes(3 * kMiB + 8192, 1));
        EXPECT_EQ(tree.at("pg_xact/0000").content, some_bytes(8192, 4));
        EXPECT_EQ(tree.at("PG_VERSION").content, to_bytes("17\n"));
        EXPECT_EQ(tree.at("PG_VERSION").mode, 0600U);
        EXPECT_TRUE(tree.at("base/5/16386").content.empty());
    }
}

TEST_F(BackupWriterTest, commit_document_says_what_the_backup_is) {
    use_repositories(1);
    make_cluster();
    const std::string id = back_up({.compression = parse_compression("lz4")});
    const CommitDocument commit = BackupReadBack(*stores[0], id).commit().value();
    EXPECT_EQ(commit.id, id);
    EXPECT_TRUE(commit.full);
    EXPECT_EQ(commit.system_identifier, test::kCluster);
    EXPECT_EQ(commit.compression, "lz4");
    EXPECT_EQ(commit.host, "here");
    EXPECT_EQ(commit.started_ms, 1763625600000);
    EXPECT_GT(commit.stopped_ms, commit.started_ms);
    EXPECT_EQ(commit.totals.files, 7U);
    EXPECT_EQ(commit.totals.logical_bytes, 3 * kMiB + 3 * 8192 + 16384 + 3 + 37);
    EXPECT_EQ(commit.totals.new_bytes, commit.totals.logical_bytes);
    EXPECT_EQ(commit.totals.extents, 9U);
    EXPECT_EQ(commit.table.back().name, "index");
    EXPECT_TRUE(commit.damage.empty());
    uint64_t stored = 0;
    for (const auto *list : {&commit.packs, &commit.table, &commit.hashes})
        for (const StoredObject &object : *list)
            stored += object.size;
    EXPECT_EQ(commit.totals.stored_bytes, stored);
    EXPECT_EQ(progress.bytes_stored, stored);
    EXPECT_EQ(progress.bytes_done, commit.totals.logical_bytes);
    EXPECT_EQ(progress.bytes_total, commit.totals.logical_bytes);
    EXPECT_EQ(progress.files_total, 7U);
    EXPECT_EQ(progress.files_done, 7U);
    EXPECT_EQ(progress.phase, BackupPhase::kDone);
}

TEST_F(BackupWriterTest, id_that_is_taken_is_not_used_again) {
    use_repositories(2);
    make_cluster();
    const std::string first = back_up();
    const std::string second = back_up();
    EXPECT_EQ(first, make_backup_id(1763625600000, true));
    EXPECT_EQ(second, make_backup_id(1763625601000, true));
    EXPECT_EQ(restored(first).size(), restored(second).size());
}

TEST_F(BackupWriterTest, zeroes_are_not_stored) {
    use_repositories(1);
    Bytes bytes(20 * kMiB);
    const Bytes filled = some_bytes(8192, 1);
    std::copy(filled.begin(), filled.end(), bytes.begin() + static_cast<ptrdiff_t>(17 * kMiB));
    write_file("base/5/16384", bytes);
    const std::string id = back_up();
    EXPECT_EQ(restored(id).at("base/5/16384").content, bytes);
    EXPECT_EQ(BackupReadBack(*stores[0], id).commit()->totals.extents, 1U);
}

TEST_F(BackupWriterTest, small_files_share_frames) {
    use_repositories(1);
    for (int i = 0; i < 500; ++i)
        write_file("base/5/" + std::to_string(20000 + i), some_bytes(8192, static_cast<uint64_t>(i)));
    // The end of a large file is a small extent of it.
    write_file("base/5/30000", some_bytes(kMiB + 8192, 77));
    const std::string id = back_up();
    const RestoredTree tree = restored(id);
    for (int i = 0; i < 500; ++i)
        ASSERT_EQ(tree.at("base/5/" + std::to_string(20000 + i)).content, some_bytes(8192, static_cast<uint64_t>(i)));
    EXPECT_EQ(tree.at("base/5/30000").content, some_bytes(kMiB + 8192, 77));
    size_t frames = 0;
    size_t extents = 0;
    const CommitDocument commit = BackupReadBack(*stores[0], id).commit().value();
    for (const StoredObject &pack : commit.packs) {
        std::set<uint32_t> places;
        for (const PackedExtent &extent :
             read_pack_footer(stores[0]->get(pack_key(layout, id, pack), kMaxPackBytes, never).value(), pack.name)) {
            places.insert(extent.place.offset);
            ++extents;
            EXPECT_TRUE(extent.frame_length <= kMaxBundleBytes || extent.frame_length == extent.plain_length);
        }
        frames += places.size();
    }
    EXPECT_EQ(extents, 502U);
    EXPECT_LE(frames, 60U); // 16 extents of 8 KiB in each, and what the threads left over
}

TEST_F(BackupWriterTest, files_that_wait_in_bundles_do_not_stop_the_scan) {
    // More files than may be under way; the first of them is small, and what follows needs no bundle.
    use_repositories(1);
    write_file("base/5/1", some_bytes(100, 1));
    for (int i = 0; i < 33000; ++i)
        write_file("base/6/" + std::to_string(i), {});
    BackupOptions options;
    options.threads = 1;
    const RestoredTree tree = restored(back_up(options));
    EXPECT_EQ(tree.at("base/5/1").content, some_bytes(100, 1));
    EXPECT_GE(tree.size(), 33000U);
}

TEST_F(BackupWriterTest, large_file_is_read_by_several_threads) {
    use_repositories(1);
    const Bytes bytes = some_bytes(70 * kMiB + 12345, 1);
    write_file("base/5/16384", bytes);
    write_file("base/5/16385", some_bytes(100, 2));
    const std::string id = back_up({.threads = 4});
    EXPECT_EQ(restored(id).at("base/5/16384").content, bytes);
    EXPECT_GT(BackupReadBack(*stores[0], id).commit()->packs.size(), 1U);
}

TEST_F(BackupWriterTest, damaged_pages_are_reported_and_taken_as_they_are) {
    use_repositories(1);
    source.page_checksums = true;
    Bytes relation;
    for (uint32_t block = 0; block < 300; ++block) {
        const bool damaged = block == 3 || block >= 290;
        const Lsn lsn{block == 299 ? 0x1000000U : 0xffffffU}; // the last one changed since the start
        const Bytes next = page(131072 + block, lsn, block + 1, damaged);
        relation.insert(relation.end(), next.begin(), next.end());
    }
    write_file("base/5/16384.1", relation);
    write_file("base/5/16385", Bytes(16384)); // new pages
    write_file("base/5/16386", page(0, Lsn{1}, 1));
    write_file("base/5/not_a_relation", page(7, Lsn{1}, 1));
    const std::string id = back_up();
    const CommitDocument commit = BackupReadBack(*stores[0], id).commit().value();
    ASSERT_EQ(commit.damage.size(), 1U);
    EXPECT_EQ(commit.damage[0].path, "base/5/16384.1");
    EXPECT_EQ(commit.damage[0].bad_pages, 10U);
    EXPECT_EQ(commit.damage[0].first_blocks, (std::vector<uint64_t>{3, 290, 291, 292, 293}));
    EXPECT_EQ(progress.bad_pages, 10U);
    EXPECT_EQ(log.warnings().size(), 1U);
    EXPECT_EQ(restored(id).at("base/5/16384.1").content, relation);
    source.server_major_version = 16; // by path: also what is no relation
    const std::string older = back_up();
    EXPECT_EQ(BackupReadBack(*stores[0], older).commit()->damage.size(), 2U);
}

TEST_F(BackupWriterTest, wal_of_its_own_is_added_after_the_copy) {
    use_repositories(1);
    make_cluster();
    const Bytes segment = some_bytes(16 * kMiB, 9);
    BackupWriter writer(repositories, {}, progress, log);
    const std::string id = writer.begin(attempt(), true, never);
    writer.copy(source, never);
    writer.add_file("pg_wal/000000010000000000000002", segment, 0600, 5, never);
    writer.add_file("pg_wal/000000010000000000000001", segment, 0600, 5, never);
    EXPECT_EQ(test::error_of([&] {
                  writer.add_file("base/5/1", segment, 0600, 5, never);
                  return 0;
              }).code(),
              ErrorCode::kInternal);
    writer.commit(facts(), never);
    const RestoredTree tree = restored(id);
    EXPECT_EQ(tree.at("pg_wal/000000010000000000000001").content, segment);
    EXPECT_EQ(tree.at("pg_wal/000000010000000000000002").content, segment);
    EXPECT_EQ(tree.at("pg_xact/0000").content, some_bytes(8192, 4));
    EXPECT_EQ(tree.at("pg_wal/archive_status").kind, FileKind::kDirectory);
}

TEST_F(BackupWriterTest, added_file_stands_for_one_that_is_found) {
    use_repositories(1);
    make_cluster();
    BackupWriter writer(repositories, {}, progress, log);
    const std::string id = writer.begin(attempt(), true, never);
    writer.add_file("PG_VERSION", as_view("other\n"), 0600, 5, never);
    writer.add_file("aaa", as_view("first\n"), 0640, 5, never);
    writer.copy(source, never);
    writer.commit(facts(), never);
    EXPECT_EQ(restored(id).at("PG_VERSION").content, to_bytes("other\n"));
    EXPECT_EQ(restored(id).at("aaa").mode, 0640U);
}

TEST_F(BackupWriterTest, odd_names_survive) {
    use_repositories(1);
    for (const char *name :
         {"with space", "caf\xe9", "\x01\x02", "\"quoted\"", "new\nline", "base/\xff\xfe/x", "~", "'"})
        write_file(name, as_view(name));
    const RestoredTree tree = restored(back_up());
    for (const char *name :
         {"with space", "caf\xe9", "\x01\x02", "\"quoted\"", "new\nline", "base/\xff\xfe/x", "~", "'"})
        EXPECT_EQ(tree.at(name).content, to_bytes(name));
}

TEST_F(BackupWriterTest, unreadable_file_is_an_error_that_names_it) {
    use_repositories(1);
    make_cluster();
    chmod((directory.path() + "/base/5/16385").c_str(), 0);
    // Root reads everything: the threads of the backup inherit the identity of somebody else.
    if (geteuid() == 0) {
        for (const auto &entry : std::filesystem::recursive_directory_iterator(directory.path()))
            if (entry.path().filename() != "16385")
                chmod(entry.path().c_str(), 0755);
        chmod(directory.path().c_str(), 0755);
        setfsuid(65534);
    }
    const Error error = test::error_of([&] { return back_up(); });
    setfsuid(geteuid());
    EXPECT_EQ(error.code(), ErrorCode::kAccessDenied) << error.message();
    EXPECT_NE(error.message().find("base/5/16385"), std::string::npos);
}

TEST_F(BackupWriterTest, repository_that_fails_is_given_up_with_a_warning) {
    use_repositories(1);
    const auto faulty = std::make_shared<FaultyStore>(std::make_shared<MemoryStore>("memory:faulty"));
    use_store(faulty);
    make_cluster();
    faulty->set_plan([&](const FaultyStore::Call &call) -> std::optional<FaultyStore::Fault> {
        if (call.key.find("/data/") == std::string_view::npos)
            return std::nullopt;
        return FaultyStore::Fault{FaultMoment::kBefore, Error(ErrorCode::kUnavailable, "the store is down")};
    });
    const std::string id = back_up();
    EXPECT_EQ(committed_in, (std::vector<std::string>{"memory:0"}));
    ASSERT_EQ(log.warnings().size(), 1U);
    EXPECT_NE(log.warnings()[0].find("the store is down"), std::string::npos);
    EXPECT_EQ(restored(id).size(), 16U);
    EXPECT_FALSE(BackupReadBack(*stores[1], id).commit());
}

TEST_F(BackupWriterTest, last_repository_that_fails_ends_the_backup) {
    const auto faulty = std::make_shared<FaultyStore>(std::make_shared<MemoryStore>("memory:faulty"));
    use_store(faulty);
    write_file("base/5/16384", some_bytes(200 * kMiB, 1));
    faulty->fail_from(faulty->calls() + 3, FaultMoment::kBefore);
    EXPECT_EQ(test::error_of([&] { return back_up(); }).code(), ErrorCode::kUnavailable);
}

TEST_F(BackupWriterTest, pack_that_disappears_before_the_commit_is_noticed) {
    use_repositories(1);
    make_cluster();
    BackupWriter writer(repositories, {}, progress, log);
    const std::string id = writer.begin(attempt(), true, never);
    writer.copy(source, never);
    while (!stores[0]->head(layout.pack(id, 0), never))
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_TRUE(stores[0]->remove({layout.pack(id, 0)}, never).empty());
    const Error error = test::error_of([&] { return writer.commit(facts(), never); });
    EXPECT_EQ(error.code(), ErrorCode::kConflict);
    EXPECT_NE(error.message().find(layout.pack(id, 0)), std::string::npos);
    EXPECT_FALSE(BackupReadBack(*stores[0], id).commit());
}

TEST_F(BackupWriterTest, wal_that_expires_before_the_commit_is_noticed) {
    use_repositories(1);
    make_cluster();
    CommitDocument document = facts();
    document.wal_ranges = {{1, Lsn{0x1000028}, Lsn{0x3000000}}}; // segments 1 and 2
    const std::string name = segment_name(1, 2, 16 * kMiB);
    for (const bool own : {false, true}) {
        BackupWriter writer(repositories, {}, progress, log);
        const std::string id = writer.begin(attempt(), true, never);
        writer.copy(source, never);
        (void)mark_wal_expired(*repositories[0], {1, {2, 5}, 1}, never);
        if (own) { // what it brings itself may go
            writer.add_file("pg_wal/" + name, some_bytes(100, 1), 0600, 0, never);
            EXPECT_EQ(writer.commit(document, never).size(), 1U);
            continue;
        }
        const Error error = test::error_of([&] { return writer.commit(document, never); });
        EXPECT_EQ(error.code(), ErrorCode::kConflict);
        EXPECT_NE(error.message().find(name), std::string::npos) << error.message();
        EXPECT_FALSE(BackupReadBack(*stores[0], id).commit());
    }
}

TEST_F(BackupWriterTest, a_mark_of_expired_wal_makes_it_missing) {
    use_repositories(1);
    const auto put = [&](uint64_t segment) {
        const std::string key = layout.wal_file(segment_name(1, segment, 16 * kMiB));
        ASSERT_EQ(stores[0]->put_new({.key = key, .body = as_view("x")}, never), PutOutcome::kStored);
    };
    for (const uint64_t segment : {1, 2, 4})
        put(segment);
    const WalNeed need{{{1, Lsn{0x1000028}, Lsn{0x4000100}}}, 16 * kMiB, 0};
    const auto name = [](uint64_t segment) { return segment_name(1, segment, 16 * kMiB); };
    EXPECT_EQ(missing_segments(*repositories[0], need, 10, never), (std::vector<std::string>{name(3)}));
    (void)mark_wal_expired(*repositories[0], {1, {0, 1}, 1}, never);
    EXPECT_EQ(missing_segments(*repositories[0], need, 10, never), (std::vector<std::string>{name(3), name(1)}));
    EXPECT_EQ(missing_segments(*repositories[0], need, 1, never), (std::vector<std::string>{name(3)}));
    EXPECT_EQ(expired_segments(*repositories[0], need, 10, never), (std::vector<std::string>{name(1)}));
}

TEST_F(BackupWriterTest, cancel_ends_a_throttled_backup_within_a_second) {
    use_repositories(1);
    write_file("base/5/16384", some_bytes(20 * kMiB, 1));
    BackupWriter writer(repositories, {.max_rate = kMiB}, progress, log);
    writer.begin(attempt(), true, never);
    CancelToken cancel;
    std::chrono::steady_clock::time_point cancelled;
    std::thread later([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        cancelled = std::chrono::steady_clock::now();
        cancel.cancel();
    });
    EXPECT_EQ(test::error_of([&] {
                  writer.copy(source, cancel);
                  return 0;
              }).code(),
              ErrorCode::kCancelled);
    const auto ended = std::chrono::steady_clock::now();
    later.join();
    EXPECT_LT(ended - cancelled, std::chrono::seconds(1));
}

TEST_F(BackupWriterTest, cancel_ends_a_backup_whose_store_hangs) {
    // A store that answers only when it is told to stop.
    class HangingStore : public MemoryStore {
      public:
        PutOutcome put_new(const PutRequest &request, const CancelToken &cancel) override {
            if (request.role == ObjectRole::kPack && !cancel.wait_for(std::chrono::seconds(60)))
                throw Error(ErrorCode::kCancelled, "cancelled");
            return MemoryStore::put_new(request, cancel);
        }
    };
    use_store(std::make_shared<HangingStore>());
    write_file("base/5/16384", some_bytes(100 * kMiB, 1));
    const auto before = std::chrono::steady_clock::now();
    {
        BackupWriter writer(repositories, {.compression = parse_compression("none")}, progress, log);
        writer.begin(attempt(), true, never);
        CancelToken cancel;
        std::thread later([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(500));
            cancel.cancel();
        });
        EXPECT_EQ(test::error_of([&] {
                      writer.copy(source, cancel);
                      writer.commit(facts(), cancel);
                      return 0;
                  }).code(),
                  ErrorCode::kCancelled);
        later.join();
    }
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(3));
}

TEST_F(BackupWriterTest, rate_is_kept) {
    use_repositories(1);
    write_file("base/5/16384", some_bytes(6 * kMiB, 1));
    const auto before = std::chrono::steady_clock::now();
    back_up({.threads = 2, .max_rate = 10 * kMiB});
    EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(350));
}

TEST_F(BackupWriterTest, files_that_change_while_they_are_read_do_no_harm) {
    use_repositories(1);
    for (int i = 0; i < 200; ++i)
        write_file("base/5/" + std::to_string(20000 + i), some_bytes(64 * kKiB, 1));
    write_file("base/5/30000", some_bytes(40 * kMiB, 1));
    std::atomic<bool> stop = false;
    std::thread server([&] {
        for (unsigned round = 0; !stop; ++round) {
            const std::string name = directory.path() + "/base/5/" + std::to_string(20000 + round % 200);
            std::error_code ignored;
            if (round % 3 == 0)
                std::filesystem::remove(name, ignored);
            else if (round % 3 == 1)
                std::filesystem::resize_file(name, round % 7 * 8192, ignored);
            else
                write_file("base/5/" + std::to_string(20000 + round % 200), some_bytes(round % 5 * 40000, 2));
            std::filesystem::resize_file(directory.path() + "/base/5/30000", (40 - round % 40) * kMiB, ignored);
        }
    });
    for (int i = 0; i < 5; ++i) {
        const std::string id = back_up();
        const RestoredTree tree = restored(id); // every size, hash and digest fits
        EXPECT_GE(tree.at("base/5/30000").content.size(), kMiB);
    }
    stop = true;
    server.join();
}

TEST_F(BackupWriterTest, file_that_shrinks_is_filled_with_zeroes_up_to_the_size_it_had) {
    use_repositories(1);
    write_file("base/5/16384", some_bytes(64 * kMiB, 1));
    BackupWriter writer(repositories, {.threads = 1, .max_rate = 64 * kMiB}, progress, log);
    const std::string id = writer.begin(attempt(), true, never);
    std::thread server([&] {
        while (progress.bytes_done < 4 * kMiB)
            std::this_thread::yield();
        std::filesystem::resize_file(directory.path() + "/base/5/16384", 33 * kMiB + 100);
    });
    writer.copy(source, never);
    server.join();
    writer.commit(facts(), never);
    Bytes expected = some_bytes(64 * kMiB, 1);
    std::fill(expected.begin() + static_cast<ptrdiff_t>(33 * kMiB + 100), expected.end(), std::byte{0});
    EXPECT_EQ(restored(id).at("base/5/16384").content, expected);
}

TEST_F(BackupWriterTest, without_a_repository_there_is_no_backup) {
    EXPECT_THROW(BackupWriter({}, {}, progress, log), Error);
}

} // namespace
} // namespace pgvigil
