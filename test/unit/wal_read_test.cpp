// Reading WAL back: which repository, which writer's object, and what counts as absent.
#include "wal_read_support.h"

namespace pgvigil {
namespace {

using test::kFirst;
using test::kSecond;
using test::kSystemIdentifier;
using test::kThird;
using WalRead = test::WalReadTest;

TEST_F(WalRead, returns_what_was_archived) {
    use_repositories(1);
    const Bytes segment = archive_into(0, kFirst);
    EXPECT_EQ(read(kFirst), segment);
    EXPECT_EQ(read(kSecond), std::nullopt);
}

TEST_F(WalRead, reads_history_files) {
    use_repositories(1);
    const std::string history = "1\t0/3000028\tno recovery target specified\n";
    write_file("00000002.history", as_view(history));
    put_file(0, "00000002.history");
    EXPECT_EQ(as_text(read("00000002.history").value()), history);
    EXPECT_EQ(read("00000003.history"), std::nullopt);
}

TEST_F(WalRead, puts_the_parts_of_a_large_segment_together) {
    segment_size = 128 * kMiB;
    use_repositories(1);
    const Bytes segment = archive_into(0, kFirst);
    EXPECT_TRUE(read(kFirst) == segment);
    damage(0, test::keys_of(*stores[0], layout.wal_file(kFirst) + ".part").at(1), 100);
    EXPECT_EQ(error_of([&] { return read(kFirst); }).code(), ErrorCode::kCorrupt);
}

TEST_F(WalRead, reads_what_does_not_compress_in_several_pieces) {
    segment_size = 64 * kMiB;
    use_repositories(1);
    const Bytes segment = test::make_segment({.name = kFirst, .size = segment_size, .compressible = false});
    write_file(kFirst, segment);
    put_file(0, kFirst);
    size_t ranges = 0;
    stores[0]->before = [&](test::StoreCall call, std::string_view, const CancelToken &) {
        ranges += call == test::StoreCall::kRange ? 1U : 0U;
    };
    EXPECT_TRUE(read(kFirst) == segment);
    EXPECT_GT(ranges, 8U);
}

TEST_F(WalRead, a_missing_part_is_no_missing_segment) {
    segment_size = 64 * kMiB;
    use_repositories(1);
    archive_into(0, kFirst);
    ASSERT_TRUE(stores[0]->remove({test::keys_of(*stores[0], layout.wal_file(kFirst) + ".part").at(0)}, never).empty());
    EXPECT_EQ(error_of([&] { return read(kFirst); }).code(), ErrorCode::kNotFound);
}

TEST_F(WalRead, asks_the_next_repository_after_damage) {
    use_repositories(2);
    const Bytes segment = archive_into(0, kFirst);
    put_file(1, kFirst);
    const std::string key = layout.wal_file(kFirst);
    const size_t size = stores[0]->get(key, 64 * kMiB, never)->size();
    // A flipped bit anywhere: in the header, in a frame's header, in its bytes.
    for (const size_t from_end : {size, size - 20, size / 2, size_t{1}}) {
        damage(0, key, from_end);
        EXPECT_TRUE(read(kFirst) == segment) << from_end;
        damage(0, key, from_end);
    }
    damage(0, key, 1);
    damage(1, key, 1);
    const Error error = error_of([&] { return read(kFirst); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_NE(error.message().find(key), std::string::npos) << error.message();
}

TEST_F(WalRead, notices_every_truncation) {
    use_repositories(1);
    archive_into(0, kFirst);
    const std::string key = layout.wal_file(kFirst);
    const Bytes whole = stores[0]->get(key, 64 * kMiB, never).value();
    for (size_t length = 0; length < whole.size(); length += 1 + whole.size() / 97) {
        stores[0]->overwrite_for_test(key, Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length)));
        EXPECT_EQ(error_of([&] { return read(kFirst); }).code(), ErrorCode::kCorrupt) << length;
    }
    Bytes longer = whole;
    longer.push_back(std::byte{0});
    stores[0]->overwrite_for_test(key, longer);
    EXPECT_EQ(error_of([&] { return read(kFirst); }).code(), ErrorCode::kCorrupt);
}

TEST_F(WalRead, absent_needs_every_repository) {
    use_repositories(2);
    archive_into(0, kFirst);
    EXPECT_EQ(read(kSecond), std::nullopt);
    take_down(1);
    EXPECT_EQ(error_of([&] { return read(kSecond); }).code(), ErrorCode::kUnavailable);
    take_down(0);
    stores[1]->before = nullptr;
    EXPECT_EQ(error_of([&] { return read(kSecond); }).code(), ErrorCode::kUnavailable);
}

TEST_F(WalRead, an_empty_directory_is_no_repository) {
    use_repositories(1);
    ASSERT_TRUE(stores[0]->remove({"pgvigil.json"}, never).empty());
    EXPECT_EQ(error_of([&] { return read(kFirst); }).code(), ErrorCode::kForeign);
    WalReader asked = reader();
    EXPECT_EQ(error_of([&] { return asked.anything_later(kFirst, never); }).code(), ErrorCode::kForeign);
}

TEST_F(WalRead, a_repository_that_is_down_is_asked_last_for_a_while) {
    use_repositories(2);
    const Bytes segment = archive_into(1, kFirst);
    take_down(0);
    WalReader asked = reader();
    EXPECT_EQ(read(asked, kFirst), segment);
    size_t calls = 0;
    stores[0]->before = [&](test::StoreCall, std::string_view, const CancelToken &) { ++calls; };
    EXPECT_EQ(read(asked, kFirst), segment);
    EXPECT_EQ(calls, 0U);
}

TEST_F(WalRead, refuses_a_segment_in_another_ones_place) {
    use_repositories(1);
    archive_into(0, kFirst);
    archive_into(0, kSecond);
    stores[0]->overwrite_for_test(layout.wal_file(kFirst),
                                  stores[0]->get(layout.wal_file(kSecond), 64 * kMiB, never).value());
    EXPECT_EQ(error_of([&] { return read(kFirst); }).code(), ErrorCode::kCorrupt);
    WalReader other(repositories, kSystemIdentifier + 1, log);
    const ClusterLayout layout_of_other(kSystemIdentifier + 1);
    stores[0]->overwrite_for_test(layout_of_other.wal_file(kSecond),
                                  stores[0]->get(layout.wal_file(kSecond), 64 * kMiB, never).value());
    const auto foreign =
        std::make_shared<Repository>(stores[0], repositories[0]->document(), "memory:0", kSystemIdentifier + 1);
    WalReader reads_foreign({foreign}, kSystemIdentifier + 1, log);
    EXPECT_EQ(error_of([&] { return read(reads_foreign, kSecond); }).code(), ErrorCode::kForeign);
}

TEST_F(WalRead, of_two_writers_the_later_epoch_holds_from_where_it_began) {
    use_repositories(1);
    put_epoch(0, 1, 1, Lsn{kMiB});
    const Bytes first = archive_into(0, kFirst, 1);
    const Bytes stale_second = archive_into(0, kSecond, 1);
    const Bytes stale_third = archive_into(0, kThird, 1);
    // Another instance takes over in the middle of the second segment.
    const Lsn takeover{2 * kMiB + 5000};
    put_epoch(0, 2, 1, takeover);
    EXPECT_EQ(read(kFirst), first);
    EXPECT_EQ(read(kSecond), std::nullopt);
    EXPECT_EQ(read(kThird), std::nullopt);
    const Bytes second = archive_into(0, kSecond, 2, 2, takeover);
    ASSERT_NE(second, stale_second);
    EXPECT_EQ(read(kSecond), second);
    // The paused writer goes on: still nobody sees it.
    archive_into(0, "000000010000000000000004", 1);
    EXPECT_EQ(read("000000010000000000000004"), std::nullopt);
}

TEST_F(WalRead, an_epoch_of_a_later_timeline_leaves_its_ancestors_alone) {
    use_repositories(1);
    put_epoch(0, 1, 1, Lsn{kMiB});
    const Bytes second = archive_into(0, kSecond, 1);
    put_epoch(0, 2, 2, Lsn{kMiB});
    EXPECT_EQ(read(kSecond), second);
}

TEST_F(WalRead, an_epoch_says_nothing_of_other_timelines) {
    use_repositories(1);
    put_epoch(0, 1, 1, Lsn{kMiB});
    put_epoch(0, 2, 1, Lsn{3 * kMiB});
    // A standby of the first writer, promoted before the second took over, went its own way.
    const std::string own = "000000020000000000000004";
    const Bytes segment = archive_into(0, own, 1, 1);
    EXPECT_EQ(read(own), segment);
    // Nor does the writer of another timeline supersede it.
    EXPECT_EQ(archive_into(0, own, 1, 2, Lsn{3 * kMiB}), segment);
    EXPECT_FALSE(stores[0]->head(layout.wal_file_of_epoch(own, 2), never));
}

TEST_F(WalRead, what_a_fenced_writer_stored_is_nothing_later) {
    use_repositories(1);
    put_epoch(0, 1, 1, Lsn{kMiB});
    archive_into(0, kFirst, 1);
    const Lsn takeover{2 * kMiB};
    put_epoch(0, 2, 1, takeover);
    archive_into(0, kThird, 1);
    WalReader before = reader();
    EXPECT_FALSE(before.anything_later(kFirst, never));
    EXPECT_FALSE(before.anything_later(kSecond, never));
    archive_into(0, kThird, 2, 2, takeover);
    WalReader after = reader();
    EXPECT_TRUE(after.anything_later(kSecond, never));
    EXPECT_FALSE(after.anything_later(kThird, never));
}

TEST_F(WalRead, knows_whether_anything_comes_later) {
    use_repositories(2);
    archive_into(0, kFirst);
    archive_into(1, kThird);
    WalReader asked = reader();
    EXPECT_TRUE(asked.anything_later(kSecond, never));
    EXPECT_FALSE(asked.anything_later(kThird, never));
    EXPECT_FALSE(asked.anything_later("000000020000000000000001", never));
    EXPECT_FALSE(asked.anything_later("00000002.history", never));
    EXPECT_TRUE(asked.anything_later("00000001.history", never));
    take_down(1);
    EXPECT_EQ(error_of([&] { return asked.anything_later(kThird, never); }).code(), ErrorCode::kUnavailable);
}

TEST_F(WalRead, refuses_names_that_are_none) {
    use_repositories(1);
    for (const char *name : {"", "../../etc/passwd", "00000001000000000000000", "000000010000000000000001.gz"})
        EXPECT_EQ(error_of([&] { return read(name); }).code(), ErrorCode::kInvalidArgument) << name;
}

} // namespace
} // namespace pgvigil
