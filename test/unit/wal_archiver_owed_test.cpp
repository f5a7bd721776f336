// required_repositories below all: what one repository lacks is acknowledged, recorded and filled in later (rules B6).
#include "transfer/wal_archiver.h"

#include "wal_archiver_support.h"

#include <atomic>

namespace pgvigil {
namespace {

using test::ArchiverTest;
using test::read_wal_file;
using test::StoreCall;

class OwedTest : public ArchiverTest {
  protected:
    [[nodiscard]] WalArchiverOptions one_required() const {
        WalArchiverOptions result = options();
        result.required = 1;
        result.owed_file = directory.path() + "/owed";
        return result;
    }
    void break_second() {
        stores[1]->before = [this](StoreCall, std::string_view, const CancelToken &) {
            if (broken)
                throw Error(ErrorCode::kUnavailable, "the store is down").retryable();
        };
        broken = true;
    }
    static bool wait_until_nothing_is_owed(WalArchiver &archiver) {
        for (int i = 0; i < 300 && !archiver.owed().empty(); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        return archiver.owed().empty();
    }
    static void wait_until_owed(WalArchiver &archiver) {
        for (int i = 0; i < 300 && archiver.owed().empty(); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }

    std::atomic<bool> broken = false;
    const std::string first = "000000010000000000000001";
    const std::string second = "000000010000000000000002";
};

TEST_F(OwedTest, file_is_acknowledged_and_filled_in_when_the_repository_is_back) {
    use_repositories(2);
    break_second();
    const Bytes plain = write_segment(first);
    WalArchiver archiver(one_required(), repositories, log);
    EXPECT_EQ(archive(archiver, first), WalFileState::kDone);
    wait_until_owed(archiver);
    ASSERT_EQ(archiver.owed().size(), 1U);
    EXPECT_EQ(archiver.owed()[0].repository, "memory:1");
    EXPECT_EQ(archiver.owed()[0].files, 1U);
    EXPECT_EQ(archiver.owed()[0].first, first);
    std::filesystem::remove(directory.path() + "/" + first); // recycled: it comes from the other repository
    broken = false;
    EXPECT_TRUE(wait_until_nothing_is_owed(archiver));
    EXPECT_EQ(read_wal_file(*stores[1], layout.wal_file(first)), plain);
    EXPECT_EQ(test::get(*stores[0], layout.wal_file(first)), test::get(*stores[1], layout.wal_file(first)));
}

TEST_F(OwedTest, debt_outlives_the_process) {
    use_repositories(2);
    break_second();
    const Bytes plain = write_segment(first);
    {
        WalArchiver archiver(one_required(), repositories, log);
        EXPECT_EQ(archive(archiver, first), WalFileState::kDone);
        wait_until_owed(archiver);
    }
    WalArchiver archiver(one_required(), repositories, log);
    ASSERT_EQ(archiver.owed().size(), 1U);
    EXPECT_EQ(archiver.owed()[0].first, first);
    broken = false;
    EXPECT_TRUE(wait_until_nothing_is_owed(archiver));
    EXPECT_EQ(read_wal_file(*stores[1], layout.wal_file(first)), plain);
}

TEST_F(OwedTest, journal_of_an_upload_that_was_killed_says_so) {
    use_repositories(2);
    stores[1]->before = [](StoreCall, std::string_view, const CancelToken &cancel) {
        if (!cancel.wait_for(std::chrono::seconds(30)))
            throw Error(ErrorCode::kCancelled, "cancelled");
    };
    const Bytes plain = write_segment(first);
    {
        WalArchiver archiver(one_required(), repositories, log);
        EXPECT_EQ(archive(archiver, first), WalFileState::kDone); // while the other upload hangs
    }
    stores[1]->before = nullptr;
    WalArchiver archiver(one_required(), repositories, log);
    EXPECT_TRUE(wait_until_nothing_is_owed(archiver));
    EXPECT_EQ(read_wal_file(*stores[1], layout.wal_file(first)), plain);
}

TEST_F(OwedTest, large_segment_is_filled_in_with_its_parts) {
    segment_size = 64 * kMiB;
    use_repositories(2);
    break_second();
    const Bytes plain = write_segment(first);
    WalArchiver archiver(one_required(), repositories, log);
    EXPECT_EQ(archive(archiver, first), WalFileState::kDone);
    wait_until_owed(archiver);
    broken = false;
    EXPECT_TRUE(wait_until_nothing_is_owed(archiver));
    EXPECT_EQ(read_wal_file(*stores[1], layout.wal_file(first)), plain);
}

TEST_F(OwedTest, repository_that_refuses_one_file_gets_the_others) {
    use_repositories(2);
    write_segment(first, 7);
    {
        WalArchiver archiver(options(), {repositories[1]}, log);
        EXPECT_EQ(archive(archiver, first), WalFileState::kDone);
    }
    write_segment(first, 1);
    const Bytes plain = write_segment(second, 1);
    WalArchiver archiver(one_required(), repositories, log);
    EXPECT_EQ(archive(archiver, first), WalFileState::kDone);
    EXPECT_EQ(archive(archiver, second), WalFileState::kDone);
    for (int i = 0; i < 100 && !read_wal_file(*stores[1], layout.wal_file(second)); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(read_wal_file(*stores[1], layout.wal_file(second)), plain);
    // What the store shows is taken off the list a moment later.
    const auto files = [&] { return archiver.owed().size() == 1 ? archiver.owed()[0].files : 0U; };
    for (int i = 0; i < 100 && files() != 1; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(files(), 1U);
    EXPECT_FALSE(log.warnings().empty());
}

TEST_F(OwedTest, too_few_repositories_is_a_failure) {
    use_repositories(3);
    for (const size_t i : {1U, 2U})
        stores[i]->before = [](StoreCall, std::string_view, const CancelToken &) {
            throw Error(ErrorCode::kUnavailable, "the store is down").retryable();
        };
    write_segment(first);
    WalArchiverOptions two = options();
    two.required = 2;
    WalArchiver archiver(two, repositories, log);
    EXPECT_EQ(archive(archiver, first), WalFileState::kFailed);
    EXPECT_TRUE(archiver.owed().empty());
}

} // namespace
} // namespace pgvigil
