// The answers to a restore_command, and the read-ahead behind them.
#include "wal_read_support.h"

#include "transfer/wal_get.h"
#include "transfer/wal_get_ahead.h"
#include "transfer/wal_get_file.h"
#include "transfer/wal_get_reader.h"

#include <fcntl.h>
#include <filesystem>
#include <thread>

namespace pgvigil {
namespace {

using test::kFirst;
using test::kSecond;
using test::kThird;

class WalGet : public test::WalReadTest {
  protected:
    [[nodiscard]] WalGetRequest request(const std::string &name, WalGetMode mode = WalGetMode::kRecovery) const {
        WalGetRequest request;
        request.name = name;
        request.destination = target.path() + "/RECOVERYXLOG";
        request.mode = mode;
        request.patience = std::chrono::milliseconds(50);
        return request;
    }
    std::optional<uint64_t> get(const WalGetRequest &request) {
        WalReader fresh(repositories, test::kSystemIdentifier, log);
        const auto found = get_wal_file(fresh, request, log, never);
        return found ? std::optional(found->length) : std::nullopt;
    }
    [[nodiscard]] std::optional<Bytes> file(const std::string &name) const {
        std::ifstream in(target.path() + "/" + name, std::ios::binary);
        if (!in)
            return std::nullopt;
        const std::string text((std::istreambuf_iterator<char>(in)), {});
        return to_bytes(text);
    }
    [[nodiscard]] size_t files() const {
        return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(target.path()), {}));
    }
    test::TemporaryDirectory target;
};

TEST_F(WalGet, puts_the_file_into_its_place) {
    use_repositories(1);
    const Bytes segment = archive_into(0, kFirst);
    EXPECT_EQ(get(request(kFirst)), segment.size());
    EXPECT_EQ(file("RECOVERYXLOG"), segment);
    const Bytes second = archive_into(0, kSecond, 7);
    EXPECT_EQ(get(request(kSecond)), second.size());
    EXPECT_EQ(file("RECOVERYXLOG"), second);
    EXPECT_EQ(files(), 1U);
}

TEST_F(WalGet, the_end_is_absent_a_gap_is_an_error) {
    use_repositories(1);
    archive_into(0, kFirst);
    EXPECT_EQ(get(request(kSecond)), std::nullopt);
    archive_into(0, kThird);
    EXPECT_EQ(error_of([&] { return get(request(kSecond)); }).code(), ErrorCode::kNotFound);
    EXPECT_EQ(get(request(kSecond, WalGetMode::kStandby)), std::nullopt);
    EXPECT_EQ(files(), 0U);
}

TEST_F(WalGet, a_timeline_without_its_history_is_a_gap_but_for_the_first) {
    use_repositories(1);
    archive_into(0, kFirst);
    archive_into(0, "000000020000000000000002");
    EXPECT_EQ(get(request("00000001.history")), std::nullopt);
    EXPECT_EQ(get(request("00000003.history")), std::nullopt);
    EXPECT_EQ(error_of([&] { return get(request("00000002.history")); }).code(), ErrorCode::kNotFound);
}

TEST_F(WalGet, waits_for_a_gap_to_be_filled) {
    use_repositories(1);
    archive_into(0, kThird);
    WalGetRequest patient = request(kSecond);
    patient.patience = std::chrono::seconds(30);
    std::thread late([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        archive_into(0, kSecond);
    });
    EXPECT_EQ(get(patient), segment_size);
    late.join();
}

TEST_F(WalGet, an_outage_is_an_error_and_leaves_nothing) {
    use_repositories(1);
    archive_into(0, kFirst);
    take_down(0);
    for (const char *name : {kFirst, kSecond, "00000002.history"}) {
        EXPECT_EQ(error_of([&] { return get(request(name)); }).code(), ErrorCode::kUnavailable) << name;
        EXPECT_EQ(error_of([&] { return get(request(name, WalGetMode::kStandby)); }).code(), ErrorCode::kUnavailable);
    }
    EXPECT_EQ(files(), 0U);
}

TEST_F(WalGet, damage_leaves_nothing) {
    use_repositories(1);
    archive_into(0, kFirst);
    damage(0, layout.wal_file(kFirst), 1);
    EXPECT_EQ(error_of([&] { return get(request(kFirst)); }).code(), ErrorCode::kCorrupt);
    EXPECT_EQ(files(), 0U);
}

TEST_F(WalGet, cuts_an_ancestor_where_the_plan_leaves_it) {
    use_repositories(1);
    const Bytes segment = archive_into(0, kSecond);
    archive_into(0, kThird);
    WalGetRequest planned = request(kSecond);
    planned.path = {parse_timeline_path("1@0/200400,2"), segment_size};
    EXPECT_EQ(get(planned), segment.size());
    Bytes expected = segment;
    std::fill(expected.begin() + 0x400, expected.end(), std::byte{0});
    EXPECT_EQ(file("RECOVERYXLOG"), expected);
    planned.name = kThird;
    EXPECT_EQ(get(planned), std::nullopt);
    // Behind the plan's end a gap is no concern of this recovery.
    archive_into(0, "000000010000000000000005");
    planned.name = "000000010000000000000004";
    EXPECT_EQ(get(planned), std::nullopt);
}

TEST(WalGetPath, is_written_as_it_is_read) {
    for (const char *text : {"1", "2", "1@0/3000028,2", "2@0/3000028,3", "1@0/3000028,2@0/5000000,7@1/0"})
        EXPECT_EQ(to_string(parse_timeline_path(text)), text);
    for (const char *text : {"", "0", "1,2", "2@0/1,1", "1@0/5,2@0/4,3", "1@", "1@0/0", "x", "1@0/1,", "1 "})
        EXPECT_THROW((void)parse_timeline_path(text), Error) << text;
}

// Where an ancestor holds another history the path begins with a later timeline.
TEST(WalGetPath, begins_behind_an_ancestor_that_is_left_out) {
    WalPath path{parse_timeline_path("2@0/500400,3"), kMiB};
    EXPECT_EQ(path.bytes_of(*parse_wal_file_name(segment_name(1, 3, kMiB))), 0U);
    EXPECT_EQ(path.bytes_of(*parse_wal_file_name(segment_name(2, 3, kMiB))), kMiB);
    path.steps.front().start = Lsn{0x300400};
    EXPECT_EQ(path.bytes_of(*parse_wal_file_name(segment_name(2, 2, kMiB))), 0U);
    EXPECT_EQ(path.bytes_of(*parse_wal_file_name(segment_name(2, 3, kMiB))), kMiB);
    EXPECT_EQ(path.bytes_of(*parse_wal_file_name(segment_name(2, 5, kMiB))), 0x400U);
}

TEST(WalGetPath, demands_what_was_planned) {
    const auto demands = [](const char *text, TimelineId timeline, uint64_t segment) {
        const WalPath path{parse_timeline_path(text), kMiB};
        return path.demands(*parse_wal_file_name(segment_name(timeline, segment, kMiB)));
    };
    // The segment of the switch is read from timeline 2.
    EXPECT_TRUE(demands("1@0/200400,2@0/400400", 1, 1));
    EXPECT_FALSE(demands("1@0/200400,2@0/400400", 1, 2));
    EXPECT_FALSE(demands("1@0/200400,2@0/400400", 1, 3));
    EXPECT_TRUE(demands("1@0/200400,2@0/400400", 2, 2));
    EXPECT_TRUE(demands("1@0/200400,2@0/400400", 2, 4));
    EXPECT_FALSE(demands("1@0/200400,2@0/400400", 2, 5));
    EXPECT_FALSE(demands("1@0/200400,2@0/400000", 2, 4));
    EXPECT_FALSE(demands("1@0/200400,2", 2, 3)) << "open";
    EXPECT_TRUE(demands("1@0/200000,2", 1, 1));
    // The plan ends where timeline 2 begins, of which nothing is there.
    EXPECT_TRUE(demands("1@0/200400,2@0/200400", 1, 2));
    EXPECT_FALSE(demands("1@0/200400,2@0/200400", 2, 2));
}

TEST_F(WalGet, what_the_plan_counts_on_is_not_absent) {
    use_repositories(1);
    archive_into(0, kFirst);
    WalGetRequest planned = request(kSecond);
    planned.path = {parse_timeline_path("1@0/200400"), segment_size};
    const Error error = error_of([&] { return get(planned); });
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_TRUE(error.is_retryable());
    // The server's own copy, which a backup has brought, is as good.
    std::ofstream(target.path() + "/" + kSecond) << "its own";
    EXPECT_EQ(get(planned), std::nullopt);
    std::filesystem::remove(target.path() + "/" + kSecond);
    planned.path = {parse_timeline_path("1@0/200000"), segment_size};
    EXPECT_EQ(get(planned), std::nullopt);
    planned.path = {parse_timeline_path("1@0/200400,2@0/300000"), segment_size};
    EXPECT_EQ(get(planned), std::nullopt) << "timeline 2 has it";
    planned.path = {parse_timeline_path("1@0/300400,2@0/400000"), segment_size};
    EXPECT_EQ(error_of([&] { return get(planned); }).code(), ErrorCode::kNotFound);
    EXPECT_EQ(get(request(kSecond)), std::nullopt) << "without a plan";
}

// A new writer rules from its epoch on, and has stored nothing: what is there of the old one does not count.
TEST_F(WalGet, a_take_over_that_hides_wal_is_not_the_end) {
    use_repositories(2);
    put_epoch(0, 1, 1, Lsn{kMiB});
    put_epoch(1, 1, 1, Lsn{kMiB});
    archive_into(0, kFirst);
    archive_into(1, kSecond);
    EXPECT_EQ(get(request(kThird)), std::nullopt);
    put_epoch(0, 2, 1, Lsn{2 * kMiB});
    put_epoch(1, 2, 1, Lsn{2 * kMiB});
    const Error error = error_of([&] { return get(request(kSecond)); });
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_TRUE(error.is_retryable());
    EXPECT_NE(error.detail().find("Epoch 2 of host \"host\" began at 0/200000 on timeline 1"), std::string::npos)
        << error.detail();
    EXPECT_EQ(get(request(kSecond, WalGetMode::kStandby)), std::nullopt);
    EXPECT_EQ(get(request(kThird)), std::nullopt) << "nothing is hidden behind";
    WalGetRequest planned = request(kSecond);
    planned.path = {parse_timeline_path("1@0/200000"), segment_size};
    EXPECT_EQ(get(planned), std::nullopt) << "the plan ends there";
    // Once the new writer has stored something, what lies behind that is nobody's.
    archive_into(1, kThird);
    EXPECT_EQ(error_of([&] { return get(request(kThird)); }).code(), ErrorCode::kNotFound);
    archive_into(0, kSecond, 2, 2, Lsn{2 * kMiB});
    EXPECT_EQ(get(request(kThird)), std::nullopt);
}

// A timeline that nothing was stored of yet is not entered: its switch lies behind the end that was planned.
TEST(WalGetPath, leaves_out_a_timeline_that_begins_behind_the_planned_end) {
    const TimelinePath path = parse_timeline_path("1@0/200400,2@0/500000,3");
    for (const auto &[end, text] : {std::pair{Lsn{0x200000}, "1@0/200000"},
                                    {Lsn{0x200400}, "1@0/200400,2@0/200400"},
                                    {Lsn{0x300000}, "1@0/200400,2@0/300000"},
                                    {Lsn{0x600000}, "1@0/200400,2@0/500000,3@0/600000"}}) {
        const TimelinePath ended = path_up_to(path, end);
        EXPECT_EQ(to_string(ended), text);
        EXPECT_EQ(to_string(parse_timeline_path(to_string(ended))), text);
    }
}

class ReadAhead : public WalGet {
  protected:
    ReadAhead() : directory_of_ahead(target.path() + "/" + std::string(kAheadDirectory) + "/key") {}
    ~ReadAhead() override { stop(); }

    void start(const std::string &first, ReadAheadOptions how = {}) {
        how.directory = directory_of_ahead;
        how.first = first;
        how.segment_size = segment_size;
        thread = std::thread([this, how] {
            WalReader fresh(repositories, test::kSystemIdentifier, quiet);
            run_read_ahead(how, fresh, ending);
        });
    }
    void stop() {
        ending.cancel();
        if (thread.joinable())
            thread.join();
    }
    template <class Condition> static bool soon(Condition &&condition) {
        for (int i = 0; i < 3000; ++i) {
            if (condition())
                return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        return false;
    }
    [[nodiscard]] bool ready(const std::string &name) const {
        return std::filesystem::exists(directory_of_ahead + "/" + name);
    }
    [[nodiscard]] AheadAnswer take(const std::string &name) const {
        return take_ahead(directory_of_ahead, name, target.path() + "/RECOVERYXLOG", 10000);
    }
    static std::string name_of(uint64_t segment) { return segment_name(1, segment, kMiB); }

    const std::string directory_of_ahead;
    test::RememberingLog quiet;
    CancelToken ending;
    std::thread thread;
};

TEST_F(ReadAhead, keeps_ahead_of_replay) {
    use_repositories(1);
    std::vector<Bytes> segments;
    for (uint64_t i = 1; i <= 40; ++i)
        segments.push_back(archive_into(0, name_of(i), static_cast<unsigned>(i)));
    start(name_of(1));
    ASSERT_TRUE(soon([&] { return ahead_reader_lives(directory_of_ahead); }));
    for (uint64_t i = 1; i <= 40; ++i) {
        ASSERT_TRUE(soon([&] { return take(name_of(i)) == AheadAnswer::kTaken; })) << i;
        EXPECT_EQ(file("RECOVERYXLOG"), segments[i - 1]) << i;
        EXPECT_FALSE(ready(name_of(i + 17))) << i; // never more than 16 ahead
    }
    EXPECT_EQ(take(name_of(41)), AheadAnswer::kNotReady);
    stop();
    EXPECT_EQ(take(name_of(41)), AheadAnswer::kNoReader);
    EXPECT_FALSE(std::filesystem::exists(target.path() + "/" + std::string(kAheadDirectory)));
}

TEST_F(ReadAhead, follows_a_jump_and_forgets_what_is_behind) {
    use_repositories(1);
    for (uint64_t i = 1; i <= 60; ++i)
        archive_into(0, name_of(i), static_cast<unsigned>(i));
    start(name_of(1));
    ASSERT_TRUE(soon([&] { return ready(name_of(5)); }));
    want_ahead(directory_of_ahead, name_of(50));
    ASSERT_TRUE(soon([&] { return ready(name_of(50)) && !ready(name_of(5)); }));
}

TEST_F(ReadAhead, shows_nothing_damaged_and_goes_on_when_it_is_there) {
    use_repositories(1);
    archive_into(0, kFirst);
    damage(0, layout.wal_file(kFirst), 1);
    start(kFirst);
    ASSERT_TRUE(soon([&] { return ahead_reader_lives(directory_of_ahead); }));
    EXPECT_EQ(take(kFirst), AheadAnswer::kNotReady);
    damage(0, layout.wal_file(kFirst), 1);
    EXPECT_TRUE(soon([&] { return take(kFirst) == AheadAnswer::kTaken; }));
}

TEST_F(ReadAhead, one_reader_for_a_directory) {
    use_repositories(1);
    start(kFirst);
    ASSERT_TRUE(soon([&] { return ahead_reader_lives(directory_of_ahead); }));
    ReadAheadOptions second;
    second.directory = directory_of_ahead;
    second.first = kFirst;
    second.segment_size = segment_size;
    WalReader fresh(repositories, test::kSystemIdentifier, log);
    run_read_ahead(second, fresh, never); // returns at once
    EXPECT_TRUE(ahead_reader_lives(directory_of_ahead));
}

TEST_F(ReadAhead, ends_when_idle_and_when_the_server_is_gone) {
    use_repositories(1);
    ReadAheadOptions idle;
    idle.idle = std::chrono::milliseconds(10);
    start(kFirst, idle);
    thread.join();
    ReadAheadOptions orphaned;
    orphaned.server_lives = [] { return false; };
    start(kFirst, orphaned);
    thread.join();
    EXPECT_FALSE(std::filesystem::exists(directory_of_ahead));
}

TEST_F(ReadAhead, what_a_crash_left_behind_is_not_trusted) {
    std::filesystem::create_directories(directory_of_ahead);
    std::ofstream(directory_of_ahead + "/" + kFirst) << "left behind";
    EXPECT_EQ(take(kFirst), AheadAnswer::kNoReader);
    use_repositories(1);
    start(kThird);
    ASSERT_TRUE(soon([&] { return ahead_reader_lives(directory_of_ahead); }));
    EXPECT_EQ(take(kFirst), AheadAnswer::kNotReady);
}

TEST_F(ReadAhead, cuts_and_excludes_by_the_plan) {
    use_repositories(1);
    const Bytes segment = archive_into(0, kSecond);
    archive_into(0, kThird);
    ReadAheadOptions how;
    how.path = {parse_timeline_path("1@0/200400"), segment_size};
    start(kSecond, how);
    ASSERT_TRUE(soon([&] { return take(kSecond) == AheadAnswer::kTaken; }));
    Bytes expected = segment;
    std::fill(expected.begin() + 0x400, expected.end(), std::byte{0});
    EXPECT_EQ(file("RECOVERYXLOG"), expected);
    EXPECT_EQ(take(kThird), AheadAnswer::kNotReady);
}

} // namespace
} // namespace pgvigil
