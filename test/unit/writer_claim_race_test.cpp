#include "repo/epochs.h"
#include "storage/faulty_store.h"
#include "storage/memory/memory_store.h"
#include "writer_claim_support.h"

#include <gtest/gtest.h>
#include <set>

namespace pgvigil {
namespace {

using test::Server;

// Model: contenders over two repositories. One is stopped at each of its store operations in turn; there the other
// runs, itself cut off at each of its operations; then the first goes on or is cut off too. Whatever happens: an epoch
// number belongs to one instance in a repository, whoever still passes check_still_writer() is alone, and a further
// order to take over always succeeds.
class ClaimRace : public ::testing::Test {
  protected:
    struct Outcome {
        std::optional<Claim> claim;
    };

    Outcome contend(Server &server, const std::vector<NamedStore> &stores, bool order) {
        try {
            ClaimResult result =
                order ? take_over(server.input, stores, "order", cancel_) : claim_writer(server.input, stores, cancel_);
            return {result.claim};
        } catch (const Error &error) {
            EXPECT_EQ(error.code(), ErrorCode::kUnavailable) << error.message();
            return {};
        }
    }

    void check_invariants(const std::vector<Claim> &claims) {
        std::set<Uuid> writers;
        for (const Claim &claim : claims) {
            try {
                check_still_writer(claim, cancel_);
                writers.insert(claim.instance);
                for (const auto &repository : claim.repositories) {
                    EXPECT_EQ(highest_epoch(*repository, cancel_)->instance, claim.instance);
                    EXPECT_EQ(highest_epoch(*repository, cancel_)->number, claim.epoch);
                }
            } catch (const Error &error) {
                EXPECT_EQ(error.code(), ErrorCode::kNotWriter);
            }
        }
        EXPECT_LE(writers.size(), 1U);
    }

    // Returns how many store operations the first contender made.
    uint64_t race(uint64_t pause_at, uint64_t cut_second_at, FaultMoment moment, uint64_t cut_first_at, bool fresh) {
        const std::vector<std::shared_ptr<MemoryStore>> bottom = {std::make_shared<MemoryStore>("memory:one"),
                                                                  std::make_shared<MemoryStore>("memory:two")};
        const auto through = [&](std::vector<std::shared_ptr<FaultyStore>> &faulty) {
            std::vector<NamedStore> stores;
            for (size_t i = 0; i < bottom.size(); ++i) {
                faulty.push_back(std::make_shared<FaultyStore>(bottom[i]));
                stores.push_back({"file:///" + std::to_string(i), faulty.back()});
            }
            return stores;
        };
        std::vector<std::shared_ptr<FaultyStore>> faulty_a;
        std::vector<std::shared_ptr<FaultyStore>> faulty_b;
        const auto stores_a = through(faulty_a);
        const auto stores_b = through(faulty_b);
        Server original("original");
        if (!fresh) {
            std::vector<NamedStore> plain;
            for (size_t i = 0; i < bottom.size(); ++i)
                plain.push_back({"file:///" + std::to_string(i), bottom[i]});
            (void)claim_writer(original.input, plain, cancel_).value();
        }
        Server a("a");
        Server b("b");
        std::vector<Claim> claims;
        const auto keep = [&](const Outcome &outcome) {
            if (outcome.claim)
                claims.push_back(*outcome.claim);
        };

        uint64_t calls_b = 0;
        for (const auto &store : faulty_b)
            store->set_plan([&, raw = store.get()](const FaultyStore::Call &call) -> std::optional<FaultyStore::Fault> {
                if (cut_second_at != 0 && ++calls_b >= cut_second_at)
                    return FaultyStore::Fault{moment, raw->unavailable(call.operation)};
                return std::nullopt;
            });
        uint64_t calls_a = 0;
        for (const auto &store : faulty_a)
            store->set_plan([&, raw = store.get()](const FaultyStore::Call &call) -> std::optional<FaultyStore::Fault> {
                if (++calls_a == pause_at)
                    keep(contend(b, stores_b, !fresh));
                if (cut_first_at != 0 && calls_a >= cut_first_at)
                    return FaultyStore::Fault{moment, raw->unavailable(call.operation)};
                return std::nullopt;
            });
        keep(contend(a, stores_a, !fresh));
        for (const auto &store : faulty_a)
            store->set_plan({});
        for (const auto &store : faulty_b)
            store->set_plan({});
        check_invariants(claims);

        // Everybody restarts, with the stores well again.
        for (Server *server : {&a, &b, &original})
            keep(contend(*server, server == &b ? stores_b : stores_a, false));
        check_invariants(claims);
        keep(contend(b, stores_b, true));
        check_invariants(claims);
        EXPECT_NO_THROW(check_still_writer(claims.back(), cancel_)) << "the last order was not obeyed";
        return calls_a;
    }

    CancelToken cancel_;
};

TEST_F(ClaimRace, ExhaustiveOverPausesAndCuts) {
    for (const bool fresh : {true, false}) {
        uint64_t operations = race(0, 0, FaultMoment::kBefore, 0, fresh);

        EXPECT_GT(operations, 10U);
        for (const FaultMoment moment : {FaultMoment::kBefore, FaultMoment::kAfter})
            for (uint64_t pause = 1; pause <= operations; ++pause) {
                for (uint64_t cut_b = 0; cut_b <= operations; ++cut_b)
                    (void)race(pause, cut_b, moment, 0, fresh);
                for (uint64_t cut_a = pause; cut_a <= operations + 4; ++cut_a)
                    (void)race(pause, 0, moment, cut_a, fresh);
            }
        if (HasFailure())
            return;
    }
}

} // namespace
} // namespace pgvigil
