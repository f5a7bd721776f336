#include "repo/expired_wal.h"
#include "storage/faulty_store.h"
#include "tail_writer_support.h"

#include <filesystem>
#include <gtest/gtest.h>

namespace pgvigil::test {

namespace {

ByteView prefix(const Bytes &bytes, size_t length) {
    return ByteView(bytes).first(length);
}

TEST_F(TailWriterTest, StreamsWhatIsFlushedAndSaysHowFar) {
    use_repositories(1);
    const Bytes segment = write_segment(name_of(1));
    TailWriter writer(tail_options(), repositories, log);
    for (const uint64_t offset : {100, 5000, 8192, 8193, 300000}) {
        writer.advance(at(1, offset));
        ASSERT_TRUE(wait_durable(writer, at(1, offset)));
        const Bytes stored = tail_bytes(*repositories[0], 1, segment_size, 1);
        ASSERT_GE(stored.size(), offset);
        EXPECT_TRUE(std::equal(stored.begin(), stored.end(), segment.begin()));
    }
    EXPECT_TRUE(writer.trouble().empty());
}

TEST_F(TailWriterTest, DoesNothingWhenNothingIsFlushed) {
    use_repositories(1);
    write_segment(name_of(1));
    TailWriterOptions how = tail_options();
    how.wal_end = at(1, 0);
    TailWriter writer(how, repositories, log);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_TRUE(keys_of(*stores[0], layout.tail_prefix()).empty());
}

TEST_F(TailWriterTest, ShipsOnlyWhatIsFlushed) {
    use_repositories(1);
    write_segment(name_of(1));
    TailShipper shipper(tail_options(), repositories[0]);
    drive(shipper, {at(1, 777), false});
    EXPECT_EQ(tail_bytes(*repositories[0], 1, segment_size, 1).size(), 777U);
}

TEST_F(TailWriterTest, ASegmentThatTheArchiverStoresIsNotShippedAgain) {
    use_repositories(1);
    write_segment(name_of(1));
    write_segment(name_of(2), 2);
    TailShipper shipper(tail_options(), repositories[0]);
    EXPECT_EQ(drive(shipper, {at(2, 500), false}), TailStep::kWaiting);
    EXPECT_TRUE(keys_of(*stores[0], layout.tail_prefix()).empty());
    shipper.segment_archived(1, true);
    drive(shipper, {at(2, 500), false});
    EXPECT_EQ(shipper.position(), at(2, 500));
    EXPECT_TRUE(tail_bytes(*repositories[0], 1, segment_size, 1).empty());
    EXPECT_EQ(tail_bytes(*repositories[0], 1, segment_size, 2).size(), 500U);
}

TEST_F(TailWriterTest, WhatTheArchiverDoesNotStoreIsShippedAfterAWhile) {
    use_repositories(1);
    const Bytes first = write_segment(name_of(1));
    write_segment(name_of(2), 2);
    TailWriter writer(tail_options(), repositories, log);
    writer.advance(at(2, 500));
    ASSERT_TRUE(wait_durable(writer, at(2, 500)));
    EXPECT_EQ(tail_bytes(*repositories[0], 1, segment_size, 1), first);
}

TEST_F(TailWriterTest, ASegmentThatOtherRepositoriesHaveIsLookedForInThisOne) {
    use_repositories(1);
    write_segment(name_of(1));
    write_segment(name_of(2), 2);
    TailShipper shipper(tail_options(), repositories[0]);
    EXPECT_EQ(drive(shipper, {at(2, 500), false}), TailStep::kWaiting);
    // Stored in enough repositories, and not here: it does not count here.
    shipper.segment_archived(1, false);
    EXPECT_EQ(drive(shipper, {at(2, 500), false}), TailStep::kWaiting);
    EXPECT_EQ(shipper.position(), at(1, 0));
    expect_archived(options(), name_of(1));
    shipper.segment_archived(1, false);
    drive(shipper, {at(2, 500), false});
    EXPECT_EQ(shipper.position(), at(2, 500));
}

TEST_F(TailWriterTest, BeginsWithTheFirstSegmentThatIsMissing) {
    use_repositories(1);
    for (uint64_t segment = 1; segment <= 4; ++segment)
        write_segment(name_of(segment), static_cast<unsigned>(segment));
    expect_archived(options(), name_of(1));
    expect_archived(options(), name_of(3));
    TailWriterOptions how = tail_options();
    how.wal_end = at(4, 100);
    TailShipper shipper(how, repositories[0]);
    EXPECT_EQ(drive(shipper, {at(4, 100), false}), TailStep::kWaiting);
    EXPECT_EQ(shipper.position(), at(2, 0)); // nothing behind the hole counts
    drive(shipper, {at(4, 100), true});
    EXPECT_EQ(shipper.position(), at(4, 100));
    EXPECT_EQ(tail_bytes(*repositories[0], 1, segment_size, 2).size(), segment_size);
    EXPECT_TRUE(tail_bytes(*repositories[0], 1, segment_size, 3).empty());
}

TEST_F(TailWriterTest, ANewRunHoldsASegmentOnceItHasAllThatTheOneBeforeHad) {
    use_repositories(1);
    const Bytes before = write_segment(name_of(1));
    {
        TailShipper shipper(tail_options(), repositories[0]);
        drive(shipper, {at(1, 3000), false});
        drive(shipper, {at(1, 20000), false});
    }
    // Recovery replaced what stood behind byte 19000.
    Bytes after = before;
    std::fill(after.begin() + 19000, after.begin() + 24000, std::byte{7});
    write_file(name_of(1), after);
    TailWriterOptions how = tail_options();
    how.wal_end = at(1, 21000);
    TailShipper shipper(how, repositories[0]);
    shipper.begin(CancelToken());
    EXPECT_TRUE(std::ranges::equal(tail_bytes(*repositories[0], 1, segment_size, 1), prefix(before, 20000)));
    drive(shipper, {at(1, 21000), false});
    EXPECT_TRUE(std::ranges::equal(tail_bytes(*repositories[0], 1, segment_size, 1), prefix(after, 21000)));
}

TEST_F(TailWriterTest, AWholeTailCountsWhenItIsThisServers) {
    use_repositories(1);
    write_segment(name_of(1));
    write_segment(name_of(2));
    {
        TailShipper shipper(tail_options(), repositories[0]);
        drive(shipper, {at(2, 100), true});
    }
    TailWriterOptions how = tail_options();
    how.wal_end = at(2, 100);
    {
        TailShipper shipper(how, repositories[0]);
        drive(shipper, {at(2, 100), false});
        EXPECT_EQ(shipper.position(), at(2, 100)) << "the whole tail is as good as the segment";
        EXPECT_EQ(shipper.counters().pieces, 1U);
    }
    // The disk was put back, and the server wrote something else.
    const Bytes other = write_segment(name_of(1), 5);
    TailShipper shipper(how, repositories[0]);
    EXPECT_EQ(drive(shipper, {at(2, 100), false}), TailStep::kWaiting);
    drive(shipper, {at(2, 100), true});
    EXPECT_EQ(tail_bytes(*repositories[0], 1, segment_size, 1), other);
}

TEST_F(TailWriterTest, WhatHasExpiredIsNotStreamedAgain) {
    use_repositories(1);
    for (uint64_t segment = 1; segment <= 3; ++segment)
        write_segment(name_of(segment), static_cast<unsigned>(segment));
    EXPECT_TRUE(mark_wal_expired(*repositories[0], {1, {0, 2}, 1}, CancelToken()));
    TailWriterOptions how = tail_options();
    how.wal_end = at(3, 100);
    TailShipper shipper(how, repositories[0]);
    drive(shipper, {at(3, 100), false});
    EXPECT_EQ(shipper.position(), at(3, 100));
    EXPECT_EQ(shipper.counters().pieces, 1U);
}

TEST_F(TailWriterTest, ALargeSegmentsBeginningIsStoredLast) {
    segment_size = 128 * kMiB;
    use_repositories(1);
    const Bytes segment = write_segment(name_of(1));
    {
        TailShipper shipper(tail_options(), repositories[0]);
        drive(shipper, {at(1, 3000), false});
    }
    TailWriterOptions how = tail_options();
    how.wal_end = at(1, 70 * kMiB);
    size_t puts = 0;
    stores[0]->after = [&](StoreCall call, std::string_view key) {
        if (call != StoreCall::kPut || key.find("/runs/") != std::string_view::npos)
            return;
        ++puts;
        const size_t expected = puts < 3 ? 3000 : 70 * kMiB;
        EXPECT_EQ(tail_bytes(*repositories[0], 1, segment_size, 1).size(), expected);
    };
    TailShipper shipper(how, repositories[0]);
    drive(shipper, {at(1, 70 * kMiB), false});
    EXPECT_EQ(puts, 3U);
    stores[0]->after = {};
    EXPECT_TRUE(std::ranges::equal(tail_bytes(*repositories[0], 1, segment_size, 1), prefix(segment, 70 * kMiB)));
}

TEST_F(TailWriterTest, AFileThatIsRecycledWhileItIsReadDoesNotCount) {
    use_repositories(1);
    const std::string path = directory.path() + "/" + name_of(1);
    write_segment(name_of(1));
    TailShipper shipper(tail_options(), repositories[0]);
    drive(shipper, {at(1, 100), false});
    std::filesystem::rename(path, directory.path() + "/" + name_of(9));
    EXPECT_THROW((void)shipper.step({at(1, 9000), false}, CancelToken()), Error);
    // Another segment's bytes below the name.
    write_file(name_of(1), make_segment({.name = name_of(5), .size = segment_size}));
    EXPECT_THROW((void)shipper.step({at(1, 9000), false}, CancelToken()), Error);
    EXPECT_EQ(shipper.position(), at(1, 100));
}

TEST_F(TailWriterTest, PagesOfOtherWalAreRefusedAndThoseWithoutAHeaderAreNot) {
    use_repositories(1);
    Bytes segment = make_segment({.name = name_of(1), .size = segment_size});
    std::fill(segment.begin() + 2 * kWalPage, segment.begin() + 3 * kWalPage, std::byte{0}); // behind a switch
    write_file(name_of(1), segment);
    TailShipper shipper(tail_options(), repositories[0]);
    drive(shipper, {at(1, 4 * kWalPage), false});
    EXPECT_EQ(shipper.position(), at(1, 4 * kWalPage));
    const Bytes other = make_segment({.name = name_of(7), .size = segment_size});
    std::copy(other.begin() + 5 * kWalPage, other.begin() + 6 * kWalPage, segment.begin() + 5 * kWalPage);
    write_file(name_of(1), segment);
    EXPECT_THROW((void)shipper.step({at(1, 7 * kWalPage), false}, CancelToken()), Error);
    EXPECT_EQ(shipper.position(), at(1, 4 * kWalPage));
}

TEST_F(TailWriterTest, ARepositoryThatHangsHoldsUpNoOther) {
    use_repositories(2);
    write_segment(name_of(1));
    stores[1]->before = [](StoreCall, std::string_view, const CancelToken &cancel) {
        while (cancel.wait_for(std::chrono::milliseconds(10)))
            ;
        cancel.check();
    };
    TailWriterOptions how = tail_options();
    how.required = 1;
    {
        TailWriter writer(how, repositories, log);
        writer.advance(at(1, 5000));
        EXPECT_TRUE(wait_durable(writer, at(1, 5000)));
    }
    how.required = 0;
    TailWriter writer(how, repositories, log);
    writer.advance(at(1, 6000));
    EXPECT_FALSE(wait_durable(writer, at(1, 6000), std::chrono::seconds(1)));
    EXPECT_FALSE(writer.durable().is_valid());
}

TEST_F(TailWriterTest, TroubleIsToldAndEnds) {
    use_repositories(1);
    write_segment(name_of(1));
    std::atomic<bool> away{true};
    stores[0]->before = [&](StoreCall, std::string_view, const CancelToken &) {
        if (away)
            throw Error(ErrorCode::kUnavailable, "away").retryable();
    };
    TailWriter writer(tail_options(), repositories, log);
    writer.advance(at(1, 5000));
    EXPECT_FALSE(wait_durable(writer, at(1, 5000), std::chrono::seconds(1)));
    ASSERT_EQ(writer.trouble().size(), 1U);
    EXPECT_EQ(writer.trouble()[0].error.message(), "away");
    EXPECT_FALSE(writer.trouble()[0].fatal);
    away = false;
    EXPECT_TRUE(wait_durable(writer, at(1, 5000)));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!writer.trouble().empty() && std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(writer.trouble().empty());
}

TEST_F(TailWriterTest, FewPiecesCountHoweverManyThereWere) {
    use_repositories(1);
    const Bytes segment = write_segment(name_of(1));
    TailWriterOptions how = tail_options();
    how.interval = std::chrono::milliseconds(0);
    TailWriter writer(how, repositories, log);
    for (uint64_t offset = 1000; offset <= 1000 * 1000; offset += 1000) {
        writer.advance(at(1, offset));
        ASSERT_TRUE(wait_durable(writer, at(1, offset)));
    }
    const CancelToken never;
    const auto epochs = list_epochs(*repositories[0], 0, never);
    const auto count = [&] {
        const TimelineTail tail = list_tail(*repositories[0], 1, segment_size, 0, never);
        return tail_cover(tail, {epochs, [](uint64_t) { return false; }}, 1)->pieces.size();
    };
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (count() > 64 && std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_LE(count(), 64U);
    EXPECT_TRUE(std::ranges::equal(tail_bytes(*repositories[0], 1, segment_size, 1), prefix(segment, 1000 * 1000)));
}

TEST(TailPieces, AFewAreNotMergedAndManyBecomeFew) {
    TailPieces pieces(32 * kMiB);
    size_t most = 0;
    uint64_t merged_bytes = 0;
    for (uint32_t i = 0; i < 5000; ++i) {
        pieces.add({i * 100, (i + 1) * 100, ""});
        while (const auto range = pieces.begin_merge()) {
            EXPECT_GE(i + 1, TailPieces::kMany);
            merged_bytes += range->to - range->from;
            pieces.end_merge(*range, true);
        }
        most = std::max(most, pieces.size());
    }
    EXPECT_LE(most, 64U);
    EXPECT_LT(merged_bytes, 5U * 500000U);
}

TEST_F(TailWriterTest, CleanupRemovesPiecesOnceTheSegmentIsStored) {
    use_repositories(1);
    write_segment(name_of(1));
    write_segment(name_of(2), 2);
    TailWriterOptions how = tail_options();
    how.cleanup = true;
    TailWriter writer(how, repositories, log);
    writer.advance(at(1, 5000));
    ASSERT_TRUE(wait_durable(writer, at(1, 5000)));
    expect_archived(options(), name_of(1));
    writer.segment_archived(1, true);
    writer.advance(at(2, 700));
    ASSERT_TRUE(wait_durable(writer, at(2, 700)));
    const std::string pieces = layout.tail_segment_prefix(name_of(1));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!keys_of(*stores[0], pieces).empty() && std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_TRUE(keys_of(*stores[0], pieces).empty());
    EXPECT_EQ(tail_bytes(*repositories[0], 1, segment_size, 2).size(), 700U);
}

TEST_F(TailWriterTest, CleanupThatIsRefusedIsSaidOnceAndNotTriedAgain) {
    use_repositories(1);
    std::atomic<int> removals{0};
    stores[0]->before = [&](StoreCall call, std::string_view, const CancelToken &) {
        if (call != StoreCall::kRemove)
            return;
        ++removals;
        throw Error(ErrorCode::kAccessDenied, "access denied");
    };
    TailWriterOptions how = tail_options();
    how.cleanup = true;
    TailWriter writer(how, repositories, log);
    for (uint64_t segment = 1; segment <= 3; ++segment) {
        write_segment(name_of(segment), static_cast<unsigned>(segment));
        writer.advance(at(segment, 5000));
        ASSERT_TRUE(wait_durable(writer, at(segment, 5000)));
        expect_archived(options(), name_of(segment));
        writer.segment_archived(segment, true);
    }
    write_segment(name_of(4), 4);
    writer.advance(at(4, 700));
    ASSERT_TRUE(wait_durable(writer, at(4, 700)));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (log.warnings().empty() && std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_EQ(log.warnings().size(), 1U);
    EXPECT_NE(log.warnings().front().find("lets nothing be deleted"), std::string::npos);
    EXPECT_EQ(removals, 1);
}

// Every operation fails once, before its effect or after it: what is called durable can be read, whatever happened.
TEST_F(TailWriterTest, AnyOperationMayFail) {
    const Bytes first = write_segment(name_of(1));
    const Bytes second = write_segment(name_of(2), 2);
    for (const FaultMoment moment : {FaultMoment::kBefore, FaultMoment::kAfter})
        for (uint64_t number = 1; number < 20; ++number) {
            const auto inner = std::make_shared<MemoryStore>("memory:");
            const auto document = create_repository_document(*inner, CancelToken());
            const auto faulty = std::make_shared<FaultyStore>(inner);
            const auto repository = std::make_shared<Repository>(faulty, document, "memory:", kSystemIdentifier);
            const Repository reader(inner, document, "memory:", kSystemIdentifier);
            faulty->fail_once(number, moment);
            TailShipper shipper(tail_options(), repository);
            for (const Lsn goal : {at(1, 100), at(1, 9000), at(1, segment_size - 1000), at(2, 50), at(2, 60000)})
                while (shipper.position() < goal) {
                    try {
                        (void)shipper.step({goal, true}, CancelToken());
                    } catch (const Error &error) {
                        ASSERT_EQ(error.code(), ErrorCode::kUnavailable) << error.message();
                    }
                    const Lsn position = shipper.position();
                    if (position <= at(1, 0))
                        continue;
                    const uint64_t segment = segment_of(Lsn{position.value - 1}, segment_size);
                    const Bytes &wanted = segment == 1 ? first : second;
                    const Bytes stored = tail_bytes(reader, 1, segment_size, segment);
                    ASSERT_GE(stored.size(), position.value - segment * segment_size);
                    ASSERT_TRUE(std::equal(stored.begin(), stored.end(), wanted.begin()));
                }
        }
}

} // namespace

} // namespace pgvigil::test
