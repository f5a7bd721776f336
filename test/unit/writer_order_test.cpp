// A take-over that was decided by what was known of one epoch.
#include "repo/writer_claim.h"

#include "base/error.h"
#include "repo/epochs.h"
#include "storage/memory/memory_store.h"
#include "writer_claim_support.h"

#include <gtest/gtest.h>

namespace pgvigil {
namespace {

using test::Server;

TEST(WriterOrder, IsRefusedWhereAThirdServerWasFaster) {
    const CancelToken cancel;
    const auto memory = std::make_shared<MemoryStore>();
    const std::vector<NamedStore> stores = {{"file:///r", memory}};
    Server first("db1");
    EXPECT_EQ(claim_writer(first.input, stores, cancel).value().epoch, 1);
    Server faster("db2");
    EXPECT_EQ(take_over(faster.input, stores, "faster", cancel).value().epoch, 2);

    Server late("db3");
    late.input.only_after = 1;
    const ClaimResult refused = take_over(late.input, stores, "db1 was silent", cancel);
    EXPECT_NE(refused.standing, WriterStanding::kWriter);
    ASSERT_TRUE(refused.refusal);
    EXPECT_EQ(refused.refusal->code(), ErrorCode::kNotWriter);

    late.input.only_after = 2;
    const Claim taken = take_over(late.input, stores, "db2 was silent", cancel).value();
    EXPECT_EQ(taken.epoch, 3);
    EXPECT_EQ(highest_epoch(*taken.repositories[0], cancel)->number, 3);
    // Repeated after a lost answer.
    EXPECT_EQ(take_over(late.input, stores, "db2 was silent", cancel).value().epoch, 3);
}

} // namespace
} // namespace pgvigil
