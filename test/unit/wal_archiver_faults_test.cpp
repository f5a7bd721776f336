#include "wal_archiver_support.h"

#include <atomic>

namespace pgvigil {
namespace {

using test::ArchiverTest;
using test::read_wal_file;
using test::StoreCall;

constexpr const char *kFirst = "000000010000000000000001";

// The Nth operation of two repositories fails, before or after its effect: what a reader finds is the whole file or
// nothing, and the next attempt succeeds.
class ArchiverFaultTest : public ArchiverTest {
  protected:
    // False when there were fewer operations.
    bool run(unsigned nth, bool before_effect, const std::string &name, const Bytes &plain) {
        stores.clear();
        repositories.clear();
        use_repositories(repository_count);
        std::atomic<unsigned> count = 0;
        const auto fail = [&] {
            if (count++ == nth)
                throw Error(ErrorCode::kUnavailable, "injected").retryable();
        };
        for (const auto &store : stores) {
            if (before_effect)
                store->before = [&](StoreCall, std::string_view, const CancelToken &) { fail(); };
            else
                store->after = [&](StoreCall, std::string_view) { fail(); };
        }
        bool failed = false;
        {
            WalArchiver archiver(options(), repositories, log);
            failed = archive(archiver, name) == WalFileState::kFailed;
            EXPECT_TRUE(!failed || archiver.failure(name)->message() == "injected");
        }
        for (const auto &store : stores) {
            store->before = nullptr;
            store->after = nullptr;
            const auto found = read_wal_file(*store, layout.wal_file(name));
            EXPECT_TRUE(failed ? !found || *found == plain : found && *found == plain);
        }
        expect_archived(options(), name);
        for (const auto &store : stores)
            EXPECT_EQ(read_wal_file(*store, layout.wal_file(name)), plain);
        return failed;
    }
    size_t repository_count = 2;
};

TEST_F(ArchiverFaultTest, every_failing_operation_leaves_the_whole_file_or_nothing) {
    const Bytes plain = write_segment(kFirst);
    for (const bool before_effect : {true, false}) {
        unsigned nth = 0;
        while (run(nth, before_effect, kFirst, plain))
            ++nth;
        EXPECT_GE(nth, 2U);
    }
}

TEST_F(ArchiverFaultTest, every_failing_operation_of_a_large_segment) {
    segment_size = 64 * kMiB;
    repository_count = 1;
    const Bytes plain = write_segment(kFirst);
    for (const bool before_effect : {true, false}) {
        unsigned nth = 0;
        while (run(nth, before_effect, kFirst, plain))
            ++nth;
        EXPECT_GE(nth, 3U); // a look for the object, a part, the commit
    }
}

} // namespace
} // namespace pgvigil
