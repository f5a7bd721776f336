#include "transfer/wal_archiver.h"

#include "wal_archiver_support.h"

#include <atomic>
#include <fcntl.h>
#include <filesystem>

namespace pgvigil {
namespace {

using test::ArchiverTest;
using test::read_wal_file;
using test::StoreCall;

constexpr const char *kFirst = "000000010000000000000001";
constexpr const char *kSecond = "000000010000000000000002";

TEST_F(ArchiverTest, segment_is_stored_in_every_repository_and_reads_back) {
    use_repositories(2);
    const Bytes plain = write_segment(kFirst);
    expect_archived(options(), kFirst);
    for (const auto &store : stores)
        EXPECT_EQ(read_wal_file(*store, layout.wal_file(kFirst)), plain);
}

TEST_F(ArchiverTest, both_repositories_get_the_same_bytes) {
    use_repositories(2);
    write_segment(kFirst);
    expect_archived(options(), kFirst);
    EXPECT_EQ(test::get(*stores[0], layout.wal_file(kFirst)), test::get(*stores[1], layout.wal_file(kFirst)));
}

TEST_F(ArchiverTest, same_content_again_succeeds_and_writes_nothing) {
    use_repositories(1);
    write_segment(kFirst);
    expect_archived(options(), kFirst);
    const auto before = test::get(*stores[0], layout.wal_file(kFirst));
    WalArchiverOptions other = options();
    other.compression = parse_compression("lz4"); // the stored bytes would differ, the plain ones do not
    expect_archived(other, kFirst);
    EXPECT_EQ(test::get(*stores[0], layout.wal_file(kFirst)), before);
    EXPECT_EQ(test::keys_of(*stores[0], layout.wal_root()).size(), 1U);
}

TEST_F(ArchiverTest, other_content_under_the_same_name_fails_and_names_both_sides) {
    use_repositories(1);
    const Bytes stored = write_segment(kFirst, 1);
    expect_archived(options(), kFirst);
    const Bytes mine = write_segment(kFirst, 2);
    const Error error = failure_of(kFirst);
    EXPECT_EQ(error.code(), ErrorCode::kConflict);
    EXPECT_NE(error.message().find(kFirst), std::string::npos);
    EXPECT_NE(error.detail().find(to_hex(sha256(stored))), std::string::npos);
    EXPECT_NE(error.detail().find(to_hex(sha256(mine))), std::string::npos);
    EXPECT_FALSE(error.hint().empty());
    EXPECT_EQ(read_wal_file(*stores[0], layout.wal_file(kFirst)), stored);
}

TEST_F(ArchiverTest, conflict_names_the_host_of_the_other_epoch) {
    use_repositories(1);
    EpochDocument epoch;
    epoch.number = 2;
    epoch.host = "db-two.example";
    const Bytes document = encode_document(encode(epoch), 2, random_uuid());
    ASSERT_EQ(stores[0]->put_new({.key = layout.epoch(2), .body = document}, CancelToken()), PutOutcome::kStored);
    WalArchiverOptions other = options();
    other.epoch = 2;
    write_segment(kFirst, 1);
    expect_archived(other, kFirst);
    write_segment(kFirst, 2);
    EXPECT_NE(failure_of(kFirst).detail().find("db-two.example"), std::string::npos);
}

TEST_F(ArchiverTest, foreign_or_damaged_segments_are_refused_before_anything_is_written) {
    use_repositories(1);
    const size_t before = test::keys_of(*stores[0]).size();
    write_file(kFirst, test::make_segment({.name = kFirst, .system_identifier = 42}));
    EXPECT_EQ(failure_of(kFirst).code(), ErrorCode::kForeign);
    write_file(kFirst, test::make_segment({.name = kSecond}));
    EXPECT_EQ(failure_of(kFirst).code(), ErrorCode::kCorrupt);
    write_file(kFirst, test::make_segment({.name = kFirst, .page_timeline = 3}));
    EXPECT_EQ(failure_of(kFirst).code(), ErrorCode::kCorrupt);
    write_file(kFirst, Bytes(segment_size));
    EXPECT_NE(failure_of(kFirst).message().find(kFirst), std::string::npos);
    EXPECT_EQ(test::keys_of(*stores[0]).size(), before);
}

TEST_F(ArchiverTest, pages_of_an_ancestor_timeline_are_accepted_with_its_history_only) {
    use_repositories(1);
    const std::string name = "000000030000000000000005";
    write_file(name, test::make_segment({.name = name, .page_timeline = 2}));
    EXPECT_EQ(failure_of(name).code(), ErrorCode::kCorrupt);
    write_file("00000003.history", as_view("1\t0/300000\tbefore\n2\t0/500080\tno recovery target specified\n"));
    expect_archived(options(), name);
}

TEST_F(ArchiverTest, incomplete_and_absent_files_are_errors_that_name_them) {
    use_repositories(1);
    const Bytes whole = test::make_segment({.name = kFirst});
    write_file(kFirst, ByteView(whole).first(whole.size() - 1));
    EXPECT_EQ(failure_of(kFirst).code(), ErrorCode::kCorrupt);
    EXPECT_NE(failure_of(kFirst).message().find(kFirst), std::string::npos);
    const Error gone = failure_of(kSecond);
    EXPECT_EQ(gone.code(), ErrorCode::kNotFound);
    EXPECT_NE(gone.message().find(kSecond), std::string::npos);
    EXPECT_EQ(failure_of("nonsense").code(), ErrorCode::kInvalidArgument);
    std::filesystem::create_directory(directory.path() + "/" + kSecond);
    EXPECT_NE(failure_of(kSecond).message().find("not a regular file"), std::string::npos);
    std::filesystem::remove(directory.path() + "/" + kSecond);
    ASSERT_EQ(mkfifo((directory.path() + "/" + kSecond).c_str(), 0600), 0);
    EXPECT_NE(failure_of(kSecond).message().find("not a regular file"), std::string::npos);
}

TEST_F(ArchiverTest, history_and_backup_history_keep_their_names) {
    use_repositories(1);
    const std::string history = "00000002.history";
    const std::string backup = "000000010000000000000002.00000028.backup";
    write_file(history, as_view("1\t0/300000\tno recovery target specified\n"));
    write_file(backup, as_view("START WAL LOCATION: 0/2000028\n"));
    expect_archived(options(), history);
    expect_archived(options(), backup);
    EXPECT_EQ(read_wal_file(*stores[0], layout.wal_file(history)),
              to_bytes("1\t0/300000\tno recovery target specified\n"));
    expect_archived(options(), history);
    write_file(history, as_view("1\t0/400000\tno recovery target specified\n"));
    EXPECT_EQ(failure_of(history).code(), ErrorCode::kConflict);
    write_file(history, {});
    EXPECT_EQ(failure_of(history).code(), ErrorCode::kCorrupt);
}

TEST_F(ArchiverTest, partial_files_of_two_standbys_stand_side_by_side) {
    use_repositories(1);
    const std::string partial = std::string(kFirst) + ".partial";
    for (const unsigned filling : {1U, 2U, 1U}) {
        const Bytes plain = test::make_segment({.name = kFirst, .filling = filling});
        write_file(partial, plain);
        expect_archived(options(), partial);
        EXPECT_EQ(read_wal_file(*stores[0], layout.partial_file(partial, to_hex(sha256(plain)))), plain);
    }
    EXPECT_EQ(test::keys_of(*stores[0], layout.wal_root()).size(), 2U);
}

TEST_F(ArchiverTest, large_segment_is_cut_into_parts_and_committed_last) {
    segment_size = 64 * kMiB;
    use_repositories(2);
    const Bytes plain = write_segment(kFirst);
    std::atomic<bool> commit_seen = false;
    std::atomic<bool> part_after_commit = false;
    stores[0]->before = [&](StoreCall call, std::string_view key, const CancelToken &) {
        if (call != StoreCall::kPut)
            return;
        if (key.find(".part") == std::string_view::npos)
            commit_seen = true;
        else if (commit_seen)
            part_after_commit = true;
    };
    expect_archived(options(), kFirst);
    EXPECT_TRUE(commit_seen);
    EXPECT_FALSE(part_after_commit);
    for (const auto &store : stores) {
        EXPECT_EQ(read_wal_file(*store, layout.wal_file(kFirst)), plain);
        EXPECT_EQ(test::keys_of(*store, layout.wal_root()).size(), 2U);
    }
    stores[0]->before = nullptr;
    expect_archived(options(), kFirst); // found by its digest: no further parts
    EXPECT_EQ(test::keys_of(*stores[0], layout.wal_root()).size(), 2U);
    write_segment(kFirst, 2);
    EXPECT_EQ(failure_of(kFirst).code(), ErrorCode::kConflict);
    EXPECT_EQ(test::keys_of(*stores[0], layout.wal_root()).size(), 2U);
}

TEST_F(ArchiverTest, large_segment_whose_part_cannot_be_stored_is_not_committed) {
    segment_size = 128 * kMiB;
    use_repositories(1);
    const Bytes plain = write_segment(kFirst);
    stores[0]->before = [&](StoreCall call, std::string_view key, const CancelToken &) {
        if (call == StoreCall::kPut && key.find(".part001") != std::string_view::npos)
            throw Error(ErrorCode::kUnavailable, "out of order").retryable();
    };
    EXPECT_EQ(failure_of(kFirst).message(), "out of order");
    EXPECT_FALSE(test::get(*stores[0], layout.wal_file(kFirst)));
    stores[0]->before = nullptr;
    expect_archived(options(), kFirst);
    EXPECT_EQ(read_wal_file(*stores[0], layout.wal_file(kFirst)), plain);
}

TEST_F(ArchiverTest, look_ahead_is_bounded_in_number) {
    use_repositories(1);
    std::atomic<bool> open = false;
    stores[0]->before = [&](StoreCall call, std::string_view, const CancelToken &cancel) {
        while (call == StoreCall::kPut && !open && !cancel.is_cancelled())
            static_cast<void>(cancel.wait_for(std::chrono::milliseconds(5)));
    };
    WalArchiverOptions few = options();
    few.look_ahead = 3;
    WalArchiver archiver(few, repositories, log);
    for (uint64_t i = 1; i <= 4; ++i)
        write_segment(segment_name(1, i, segment_size));
    for (uint64_t i = 1; i <= 3; ++i)
        EXPECT_TRUE(archiver.submit(segment_name(1, i, segment_size)));
    EXPECT_FALSE(archiver.submit(segment_name(1, 4, segment_size)));
    EXPECT_TRUE(archiver.submit(segment_name(1, 1, segment_size))); // known
    open = true;
    for (uint64_t i = 1; i <= 3; ++i)
        EXPECT_EQ(wait_for(archiver, segment_name(1, i, segment_size)), WalFileState::kDone);
    EXPECT_TRUE(archiver.submit(segment_name(1, 4, segment_size)));
    EXPECT_EQ(wait_for(archiver, segment_name(1, 4, segment_size)), WalFileState::kDone);
    EXPECT_EQ(archiver.counters().files, 4U);
    EXPECT_EQ(archiver.counters().plain_bytes, 4 * segment_size);
    archiver.forget(kFirst);
    EXPECT_EQ(archiver.state(kFirst), WalFileState::kUnknown);
}

TEST_F(ArchiverTest, look_ahead_is_bounded_in_bytes) {
    use_repositories(1);
    std::atomic<unsigned> at_once = 0;
    std::atomic<unsigned> most = 0;
    stores[0]->before = [&](StoreCall call, std::string_view, const CancelToken &cancel) {
        if (call != StoreCall::kPut)
            return;
        const unsigned now = ++at_once;
        most = std::max(most.load(), now);
        static_cast<void>(cancel.wait_for(std::chrono::milliseconds(20)));
        --at_once;
    };
    WalArchiverOptions little = options();
    little.compression = parse_compression("none");
    little.look_ahead = 8;
    little.memory_limit = 3 * kMiB; // a plain piece, and less than two bodies
    WalArchiver archiver(little, repositories, log);
    for (uint64_t i = 1; i <= 8; ++i) {
        write_segment(segment_name(1, i, segment_size));
        EXPECT_TRUE(archiver.submit(segment_name(1, i, segment_size)));
    }
    for (uint64_t i = 1; i <= 8; ++i)
        EXPECT_EQ(wait_for(archiver, segment_name(1, i, segment_size)), WalFileState::kDone);
    EXPECT_EQ(most, 1U);
}

TEST_F(ArchiverTest, failed_file_can_be_submitted_again) {
    use_repositories(2);
    const Bytes plain = write_segment(kFirst);
    stores[1]->before = [](StoreCall, std::string_view, const CancelToken &) {
        throw Error(ErrorCode::kUnavailable, "the store is down").retryable();
    };
    WalArchiver archiver(options(), repositories, log);
    EXPECT_EQ(archive(archiver, kFirst), WalFileState::kFailed);
    EXPECT_EQ(archiver.failure(kFirst)->message(), "the store is down");
    EXPECT_TRUE(archiver.failure(kFirst)->is_retryable());
    stores[1]->before = nullptr;
    EXPECT_EQ(archive(archiver, kFirst), WalFileState::kDone);
    EXPECT_EQ(read_wal_file(*stores[1], layout.wal_file(kFirst)), plain);
}

TEST_F(ArchiverTest, refused_file_does_not_hold_up_the_next) {
    use_repositories(1);
    write_segment(kFirst, 1);
    expect_archived(options(), kFirst);
    write_segment(kFirst, 2);
    write_segment(kSecond);
    WalArchiver archiver(options(), repositories, log);
    EXPECT_EQ(archive(archiver, kFirst), WalFileState::kFailed);
    EXPECT_EQ(archive(archiver, kSecond), WalFileState::kDone);
}

// With a backlog two segments are read and hashed together: each keeps its own content, and its own error.
TEST_F(ArchiverTest, backlog_with_damaged_segments_in_it) {
    use_repositories(1);
    constexpr uint64_t kSegments = 40;
    const auto damaged = [](uint64_t segment) { return segment % 7 == 3; };
    std::map<std::string, Bytes> plains;
    for (uint64_t i = 1; i <= kSegments; ++i) {
        const std::string name = segment_name(1, i, segment_size);
        plains[name] = write_segment(name, static_cast<unsigned>(i));
        if (damaged(i))
            write_file(name, test::make_segment({.name = name, .system_identifier = i}));
    }
    WalArchiverOptions many = options();
    many.look_ahead = kSegments;
    WalArchiver archiver(many, repositories, log);
    for (uint64_t i = 1; i <= kSegments; ++i)
        EXPECT_TRUE(archiver.submit(segment_name(1, i, segment_size)));
    for (uint64_t i = 1; i <= kSegments; ++i) {
        const std::string name = segment_name(1, i, segment_size);
        if (damaged(i)) {
            EXPECT_EQ(wait_for(archiver, name), WalFileState::kFailed);
            EXPECT_NE(archiver.failure(name)->message().find(name), std::string::npos);
            EXPECT_EQ(archiver.failure(name)->code(), ErrorCode::kForeign);
        } else {
            EXPECT_EQ(wait_for(archiver, name), WalFileState::kDone);
            EXPECT_EQ(read_wal_file(*stores[0], layout.wal_file(name)), plains[name]);
        }
    }
}

TEST_F(ArchiverTest, ends_at_once_while_a_store_hangs) {
    use_repositories(1);
    write_segment(kFirst);
    std::atomic<bool> hanging = false;
    stores[0]->before = [&](StoreCall, std::string_view, const CancelToken &cancel) {
        hanging = true;
        if (!cancel.wait_for(std::chrono::seconds(30)))
            throw Error(ErrorCode::kCancelled, "cancelled");
    };
    auto archiver = std::make_unique<WalArchiver>(options(), repositories, log);
    ASSERT_TRUE(archiver->submit(kFirst));
    while (!hanging)
        std::this_thread::yield();
    const auto before = std::chrono::steady_clock::now();
    archiver.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(1));
}

TEST_F(ArchiverTest, answer_that_was_lost_is_found_by_the_next_attempt) {
    use_repositories(1);
    const Bytes plain = write_segment(kFirst);
    stores[0]->after = [](StoreCall, std::string_view) {
        throw Error(ErrorCode::kUnavailable, "connection reset").retryable();
    };
    EXPECT_EQ(failure_of(kFirst).message(), "connection reset");
    stores[0]->after = nullptr;
    const auto stored = test::get(*stores[0], layout.wal_file(kFirst));
    ASSERT_TRUE(stored);
    expect_archived(options(), kFirst);
    EXPECT_EQ(test::get(*stores[0], layout.wal_file(kFirst)), stored);
    EXPECT_EQ(read_wal_file(*stores[0], layout.wal_file(kFirst)), plain);
}

TEST_F(ArchiverTest, impossible_options_are_refused) {
    use_repositories(1);
    WalArchiverOptions bad = options();
    bad.required = 2;
    EXPECT_THROW(WalArchiver(bad, repositories, log), Error);
    bad = options();
    bad.look_ahead = 0;
    EXPECT_THROW(WalArchiver(bad, repositories, log), Error);
    bad = options();
    bad.segment_size = 3 * kMiB;
    EXPECT_THROW(WalArchiver(bad, repositories, log), Error);
    EXPECT_THROW(WalArchiver(options(), {}, log), Error);
}

} // namespace
} // namespace pgvigil
