// Segments that were only streamed: what wal-get makes of their pieces, and when it refuses.
#include "tail_support.h"
#include "wal_read_support.h"

#include "cli/archive_mode.h"
#include "transfer/wal_get.h"
#include "transfer/wal_get_file.h"

#include <filesystem>

namespace pgvigil {
namespace {

using test::kFirst;
using test::kSecond;
using test::kSystemIdentifier;
using test::kThird;
using test::piece_of;

constexpr TailRunId kOne{1, 1};
constexpr TailRunId kTwo{1, 2};

class TailRead : public test::WalReadTest {
  protected:
    void start_run(size_t index, TailRunId id, uint64_t first_segment, TimelineId timeline = 1) {
        test::put_run(*stores.at(index), layout, test::run_of(id, timeline, first_segment, segment_size));
    }
    // Streams bytes of a segment of `filling`; returns the whole segment.
    Bytes stream(size_t index, const std::string &name, TailRunId run, uint32_t from, uint32_t to, unsigned filling = 1,
                 uint64_t system_identifier = kSystemIdentifier) {
        const Bytes bytes = test::make_segment(
            {.name = name, .size = segment_size, .system_identifier = system_identifier, .filling = filling});
        const WalFileName file = parse_wal_file_name(name).value();
        last_key = test::put_piece(*stores.at(index), layout, file.timeline, segment_size,
                                   piece_of(run, segment_number(file, segment_size), from, to), bytes);
        return bytes;
    }
    static Bytes filled(Bytes segment, size_t end) {
        std::fill(segment.begin() + static_cast<ptrdiff_t>(end), segment.end(), std::byte{0});
        return segment;
    }
    [[nodiscard]] WalGetRequest request(const std::string &name, WalGetMode mode = WalGetMode::kRecovery) const {
        WalGetRequest request;
        request.name = name;
        request.destination = target.path() + "/RECOVERYXLOG";
        request.mode = mode;
        request.patience = std::chrono::milliseconds(50);
        request.tails = mode == WalGetMode::kRecovery;
        return request;
    }
    std::optional<WalFileFacts> get(const WalGetRequest &request) {
        WalReader fresh(repositories, kSystemIdentifier, log);
        return get_wal_file(fresh, request, log, never);
    }
    // What the server finds; nullopt when the answer was "absent".
    std::optional<Bytes> fetch(const WalGetRequest &request) {
        if (!get(request))
            return std::nullopt;
        std::ifstream in(request.destination, std::ios::binary);
        const std::string text((std::istreambuf_iterator<char>(in)), {});
        return to_bytes(text);
    }
    std::optional<Bytes> fetch(const std::string &name) { return fetch(request(name)); }
    Error refusal(const std::string &name) {
        return error_of([&] { return get(request(name)); });
    }
    [[nodiscard]] size_t files() const {
        return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(target.path()), {}));
    }

    test::TemporaryDirectory target;
    std::string last_key;
};

TEST_F(TailRead, fills_the_segment_with_zeroes) {
    use_repositories(1);
    archive_into(0, kFirst);
    start_run(0, kOne, 2);
    const Bytes segment = stream(0, kSecond, kOne, 0, 20000);
    EXPECT_TRUE(fetch(kSecond) == filled(segment, 20000));
    stream(0, kSecond, kOne, 20000, 30000);
    stream(0, kSecond, kOne, 10000, 25000);
    EXPECT_TRUE(fetch(kSecond) == filled(segment, 30000)) << "pieces may overlap";
    const auto facts = get(request(kSecond));
    EXPECT_EQ(facts->length, segment_size);
    EXPECT_EQ(facts->end, 30000U);
    EXPECT_TRUE(facts->streamed);
    EXPECT_EQ(fetch(kThird), std::nullopt);
}

TEST_F(TailRead, a_complete_segment_goes_first) {
    use_repositories(2);
    start_run(0, kOne, 2);
    stream(0, kSecond, kOne, 0, 20000);
    const Bytes segment = archive_into(1, kSecond);
    EXPECT_TRUE(fetch(kSecond) == segment);
    EXPECT_FALSE(get(request(kSecond))->streamed);
}

TEST_F(TailRead, serves_recovery_only) {
    use_repositories(1);
    archive_into(0, kFirst);
    start_run(0, kOne, 2);
    stream(0, kSecond, kOne, 0, 20000);
    EXPECT_EQ(fetch(request(kSecond, WalGetMode::kStandby)), std::nullopt);
    WalGetRequest without = request(kSecond);
    without.tails = false;
    EXPECT_EQ(fetch(without), std::nullopt);
    EXPECT_EQ(read(kSecond), std::nullopt) << "nor does it serve those who read the archive";
    WalGetRequest refused = request(kSecond);
    refused.tail_objection = [] { return std::string("Because."); };
    EXPECT_EQ(fetch(refused), std::nullopt);
    ASSERT_EQ(log.warnings().size(), 1U);
    EXPECT_NE(log.warnings()[0].find(kSecond), std::string::npos);
    refused.tail_objection = []() -> std::string { throw Error(ErrorCode::kIo, "nobody knows"); };
    EXPECT_EQ(error_of([&] { return get(refused); }).message(), "nobody knows");
    EXPECT_EQ(files(), 0U);
}

TEST_F(TailRead, a_part_with_more_wal_behind_it_is_a_gap) {
    use_repositories(1);
    start_run(0, kOne, 1);
    const Bytes first = stream(0, kFirst, kOne, 0, 20000);
    EXPECT_TRUE(fetch(kFirst) == filled(first, 20000));
    stream(0, kSecond, kOne, 0, 20000);
    EXPECT_EQ(refusal(kFirst).code(), ErrorCode::kNotFound);
    stream(0, kFirst, kOne, 20000, static_cast<uint32_t>(segment_size));
    EXPECT_TRUE(fetch(kFirst) == first) << "a whole tail is a segment";
    archive_into(0, kThird);
    EXPECT_EQ(refusal(kSecond).code(), ErrorCode::kNotFound);
    // Where the plan leaves the segment before, nothing is missing.
    WalGetRequest planned = request(kSecond);
    planned.path = {parse_timeline_path("1@0/204000,2"), segment_size};
    EXPECT_TRUE(fetch(planned).has_value());
    planned.path = {parse_timeline_path("1@0/205000,2"), segment_size};
    EXPECT_EQ(error_of([&] { return get(planned); }).code(), ErrorCode::kNotFound);
}

TEST_F(TailRead, a_tail_that_is_shorter_than_the_plan_saw_is_a_gap) {
    use_repositories(1);
    archive_into(0, kFirst);
    start_run(0, kOne, 2);
    const Bytes segment = stream(0, kSecond, kOne, 0, 20000);
    WalGetRequest planned = request(kSecond);
    planned.path = {parse_timeline_path("1@0/204E20"), segment_size};
    EXPECT_TRUE(fetch(planned) == filled(segment, 20000));
    planned.path = {parse_timeline_path("1@0/204E21"), segment_size};
    EXPECT_EQ(error_of([&] { return get(planned); }).code(), ErrorCode::kNotFound);
    planned.path = {parse_timeline_path("1@0/204E21,2"), segment_size};
    EXPECT_TRUE(fetch(planned) == filled(segment, 20000)) << "timeline 2 has the segment";
}

TEST_F(TailRead, a_take_over_that_hides_a_tail_is_not_the_end) {
    use_repositories(1);
    put_epoch(0, 1, 1, Lsn{kMiB});
    archive_into(0, kFirst);
    start_run(0, kOne, 2);
    stream(0, kSecond, kOne, 0, 20000);
    put_epoch(0, 2, 1, Lsn{2 * kMiB});
    const Error error = refusal(kSecond);
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_NE(error.detail().find("Epoch 2"), std::string::npos) << error.detail();
    // A new run whose beginning is not there yet has nothing that can be read.
    start_run(0, {2, 1}, 2);
    const Bytes segment = stream(0, kSecond, {2, 1}, 10000, 20000, 2);
    EXPECT_EQ(refusal(kSecond).code(), ErrorCode::kNotFound);
    stream(0, kSecond, {2, 1}, 0, 10000, 2);
    EXPECT_TRUE(fetch(kSecond) == filled(segment, 20000));
    EXPECT_EQ(fetch(kThird), std::nullopt);
}

TEST_F(TailRead, absence_with_a_tail_behind_it_is_a_gap) {
    use_repositories(2);
    archive_into(0, kFirst);
    start_run(1, kOne, 3);
    stream(1, kThird, kOne, 0, 20000);
    EXPECT_EQ(refusal(kSecond).code(), ErrorCode::kNotFound);
    start_run(1, kOne, 3, 2);
    stream(1, "000000020000000000000003", kOne, 0, 20000);
    EXPECT_EQ(refusal("00000002.history").code(), ErrorCode::kNotFound);
}

TEST_F(TailRead, an_ancestor_is_cut_where_the_plan_leaves_it) {
    use_repositories(1);
    start_run(0, kOne, 2);
    const Bytes segment = stream(0, kSecond, kOne, 0, 20000);
    WalGetRequest planned = request(kSecond);
    planned.path = {parse_timeline_path("1@0/201000,2"), segment_size};
    EXPECT_TRUE(fetch(planned) == filled(segment, 0x1000));
    planned.path = {parse_timeline_path("1@0/200000,2"), segment_size};
    EXPECT_EQ(fetch(planned), std::nullopt);
}

TEST_F(TailRead, the_longest_of_all_repositories_is_taken) {
    use_repositories(3);
    start_run(0, kOne, 2);
    start_run(1, {1, 7}, 2);
    stream(0, kSecond, kOne, 0, 20000);
    const Bytes segment = stream(1, kSecond, {1, 7}, 0, 30000);
    EXPECT_TRUE(fetch(kSecond) == filled(segment, 30000));
    take_down(2);
    EXPECT_EQ(refusal(kSecond).code(), ErrorCode::kUnavailable) << "it may have more";
}

TEST_F(TailRead, a_higher_epoch_goes_before_a_longer_tail) {
    use_repositories(2);
    put_epoch(0, 1, 1, Lsn{kMiB});
    put_epoch(1, 1, 1, Lsn{kMiB});
    start_run(0, kOne, 2);
    start_run(1, kOne, 2);
    stream(0, kSecond, kOne, 0, 40000);
    stream(1, kSecond, kOne, 0, 40000);
    put_epoch(1, 2, 1, Lsn{2 * kMiB});
    start_run(1, {2, 1}, 2);
    const Bytes segment = stream(1, kSecond, {2, 1}, 0, 20000, 2);
    EXPECT_TRUE(fetch(kSecond) == filled(segment, 20000));
    // Also where the new writer has streamed nothing yet.
    use_repositories(1);
    put_epoch(2, 1, 1, Lsn{kMiB});
    put_epoch(2, 2, 1, Lsn{3 * kMiB});
    start_run(0, {1, 5}, 3);
    stream(0, kThird, {1, 5}, 0, 20000);
    start_run(2, kOne, 3);
    EXPECT_EQ(fetch(kThird), std::nullopt);
}

TEST_F(TailRead, what_recovery_rewrote_is_not_mixed_in) {
    use_repositories(1);
    start_run(0, kOne, 1);
    stream(0, kFirst, kOne, 0, static_cast<uint32_t>(segment_size));
    stream(0, kSecond, kOne, 0, 40000);
    start_run(0, kTwo, 1);
    const Bytes segment = stream(0, kFirst, kTwo, 0, 10000, 2);
    EXPECT_TRUE(fetch(kFirst) == filled(segment, 10000));
    EXPECT_EQ(fetch(kSecond), std::nullopt);
    const Bytes second = stream(0, kSecond, kTwo, 0, 5000, 2);
    EXPECT_TRUE(fetch(kSecond) == filled(second, 5000));
    // The run began with a segment that is complete now, and lost its pieces with that.
    use_repositories(1);
    archive_into(1, kFirst);
    start_run(1, kOne, 1);
    start_run(1, kTwo, 1);
    stream(1, kThird, kOne, 0, 500);
    repositories.erase(repositories.begin());
    EXPECT_EQ(fetch(kThird), std::nullopt);
}

TEST_F(TailRead, a_hole_is_an_error_unless_another_repository_has_the_bytes) {
    use_repositories(2);
    start_run(0, kOne, 2);
    stream(0, kSecond, kOne, 0, 20000);
    stream(0, kSecond, kOne, 20001, 30000);
    EXPECT_EQ(refusal(kSecond).code(), ErrorCode::kCorrupt);
    start_run(1, kOne, 2);
    const Bytes segment = stream(1, kSecond, kOne, 0, 25000);
    EXPECT_EQ(refusal(kSecond).code(), ErrorCode::kCorrupt);
    stream(1, kSecond, kOne, 25000, 30000);
    EXPECT_TRUE(fetch(kSecond) == filled(segment, 30000));
}

TEST_F(TailRead, damage_is_an_error_unless_another_repository_has_the_bytes) {
    use_repositories(2);
    start_run(0, kOne, 2);
    const Bytes segment = stream(0, kSecond, kOne, 0, 20000);
    const std::string key = last_key;
    damage(0, key, 1);
    EXPECT_EQ(refusal(kSecond).code(), ErrorCode::kCorrupt);
    start_run(1, kOne, 2);
    stream(1, kSecond, kOne, 0, 20000);
    EXPECT_TRUE(fetch(kSecond) == filled(segment, 20000));
    damage(1, key, 1);
    EXPECT_EQ(refusal(kSecond).code(), ErrorCode::kCorrupt);
    EXPECT_EQ(files(), 1U);
}

TEST_F(TailRead, pieces_of_another_cluster_or_segment_are_refused) {
    use_repositories(1);
    start_run(0, kOne, 2);
    stream(0, kSecond, kOne, 0, 20000, 1, 17);
    EXPECT_EQ(refusal(kSecond).code(), ErrorCode::kForeign);
    const Bytes third = test::make_segment({.name = kThird, .size = segment_size});
    start_run(0, kTwo, 2);
    test::put_piece(*stores[0], layout, 1, segment_size, piece_of(kTwo, 2, 0, 20000), third);
    EXPECT_EQ(refusal(kSecond).code(), ErrorCode::kCorrupt);
}

TEST_F(TailRead, pieces_that_vanish_lead_to_the_complete_segment) {
    use_repositories(1);
    start_run(0, kOne, 2);
    const Bytes segment = stream(0, kSecond, kOne, 0, 20000);
    const std::string key = last_key;
    bool done = false;
    const auto complete = [&] {
        if (std::exchange(done, true))
            return;
        archive_into(0, kSecond);
        ASSERT_TRUE(stores[0]->remove({key}, never).empty());
    };
    // Between the listing and the reading of a piece.
    stores[0]->before = [&](test::StoreCall call, std::string_view what, const CancelToken &) {
        if (call == test::StoreCall::kGet && what == key)
            complete();
    };
    EXPECT_TRUE(fetch(kSecond) == segment);
    EXPECT_TRUE(done);
    // And before the listing.
    stream(0, kThird, kOne, 0, 20000);
    const std::string third_key = last_key;
    done = false;
    stores[0]->before = [&](test::StoreCall call, std::string_view what, const CancelToken &) {
        if (call == test::StoreCall::kList && what.find("/tail/") != std::string_view::npos &&
            !std::exchange(done, true)) {
            archive_into(0, kThird);
            ASSERT_TRUE(stores[0]->remove({third_key}, never).empty());
        }
    };
    EXPECT_TRUE(fetch(kThird) == test::make_segment({.name = kThird, .size = segment_size}));
    // Again and again: an error, not the end of recovery.
    const std::string fourth = "000000010000000000000004";
    stream(0, fourth, kOne, 0, 20000);
    const std::string gone = last_key;
    std::optional<Bytes> hidden;
    stores[0]->before = [&](test::StoreCall call, std::string_view what, const CancelToken &) {
        if (call == test::StoreCall::kGet && what == gone) {
            const Bytes object = stores[0]->MemoryStore::get(gone, kMiB, never).value();
            ASSERT_TRUE(stores[0]->remove({gone}, never).empty());
            hidden = object;
        } else if (call == test::StoreCall::kList && hidden) {
            stores[0]->overwrite_for_test(gone, *std::exchange(hidden, std::nullopt));
        }
    };
    EXPECT_EQ(refusal(fourth).code(), ErrorCode::kNotFound);
}

TEST(ArchiveMode, reads_how_the_server_was_started) {
    using Words = std::vector<std::string>;
    EXPECT_EQ(cli::parse_postmaster_options("/usr/lib/postgresql/17/bin/postgres \"-D\" \"/data\" \"-c\" \"a=b c\"\n"),
              (Words{"-D", "/data", "-c", "a=b c"}));
    EXPECT_EQ(cli::parse_postmaster_options("/x/postgres\n"), Words{});
    EXPECT_EQ(cli::parse_postmaster_options(""), Words{});
    EXPECT_EQ(cli::parse_postmaster_options("/x/postgres \"-k\" \"\"\n"), (Words{"-k", ""}));
}

} // namespace
} // namespace pgvigil
