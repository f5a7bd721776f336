#include "backup_support.h"
#include "storage/faulty_store.h"

namespace pgvigil {
namespace {

using test::BackupReadBack;
using test::RestoredTree;

using BackupFaultTest = test::BackupTest;

// Operation N and all after it fail, before or after its effect: afterwards there is the complete backup or none.
TEST_F(BackupFaultTest, every_failing_operation_leaves_a_whole_backup_or_none) {
    make_cluster();
    for (const FaultMoment moment : {FaultMoment::kBefore, FaultMoment::kAfter}) {
        for (uint64_t number = 1;; ++number) {
            stores.clear();
            repositories.clear();
            const auto inner = std::make_shared<MemoryStore>();
            const auto faulty = std::make_shared<FaultyStore>(inner);
            use_store(faulty);
            const std::string old = back_up();
            const RestoredTree before = restored(old);
            const uint64_t from = faulty->calls();
            faulty->fail_from(from + number, moment);
            bool failed = false;
            try {
                back_up();
            } catch (const Error &error) {
                failed = true;
                EXPECT_EQ(error.code(), ErrorCode::kUnavailable) << error.message();
            }
            faulty->set_plan({});
            EXPECT_EQ(paths(restored(old)), paths(before));
            const std::string next = make_backup_id(1763625601000, true);
            const auto files = BackupReadBack(*inner, next).files();
            EXPECT_TRUE(!files || paths(*files) == paths(before)) << number;
            EXPECT_TRUE(failed || files) << number;
            // The next attempt is not in the way of anything the dead one left.
            const RestoredTree after = restored(back_up());
            EXPECT_EQ(paths(after), paths(before));
            if (!failed) {
                EXPECT_GE(number, 6U); // attempt, pack, table, index, looks, commit
                break;
            }
        }
    }
}

} // namespace
} // namespace pgvigil
