#include "repo/writer_decision.h"

#include <gtest/gtest.h>

namespace pgvigil {
namespace {

const Uuid kMe = parse_uuid("11111111-1111-4111-8111-111111111111");
const Uuid kOther = parse_uuid("22222222-2222-4222-8222-222222222222");

LocalFacts me(IdentityState state = IdentityState::kOwn) {
    LocalFacts local;
    local.identity.state = state;
    if (state != IdentityState::kNone)
        local.identity.identity.instance = kMe;
    local.timeline = 2;
    local.wal_end = Lsn{0x5000000};
    return local;
}

RepositoryFacts repository(uint64_t number, const Uuid &instance) {
    RepositoryFacts facts;
    facts.name = "file:///r";
    if (number > 0) {
        EpochDocument epoch;
        epoch.number = number;
        epoch.instance = instance;
        epoch.host = "db-other";
        epoch.reason = "first";
        epoch.created_ms = 1795163013123;
        facts.highest = epoch;
    }
    return facts;
}
RepositoryFacts unused() {
    return repository(0, {});
}
RepositoryFacts ahead(RepositoryFacts facts) {
    facts.record_behind_end = Lsn{0x6000000};
    return facts;
}
RepositoryFacts different(RepositoryFacts facts) {
    facts.other_bytes_at = Lsn{0x3000000};
    return facts;
}

void expect_writes(const LocalFacts &local, const std::vector<RepositoryFacts> &repositories, uint64_t epoch,
                   bool claim, const std::string &reason) {
    const WriterDecision decision = decide_writer(local, repositories);
    ASSERT_EQ(decision.standing, WriterStanding::kWriter)
        << (decision.refusal ? decision.refusal->message() + " " + decision.refusal->detail() : "");
    EXPECT_FALSE(decision.refusal);
    EXPECT_EQ(decision.epoch, epoch);
    EXPECT_EQ(decision.claim, claim);
    EXPECT_EQ(decision.reason, reason);
}

Error expect_refused(const LocalFacts &local, const std::vector<RepositoryFacts> &repositories,
                     WriterStanding standing) {
    const WriterDecision decision = decide_writer(local, repositories);
    EXPECT_EQ(decision.standing, standing);
    if (!decision.refusal) {
        ADD_FAILURE() << "no refusal";
        return {ErrorCode::kInternal, ""};
    }
    EXPECT_EQ(decision.refusal->code(), ErrorCode::kNotWriter);
    EXPECT_FALSE(decision.refusal->is_retryable());
    return *decision.refusal;
}

TEST(WriterDecision, FreshClusterClaimsTheFirstEpoch) {
    expect_writes(me(IdentityState::kNone), {unused()}, 1, true, "first");
    expect_writes(me(), {unused(), unused()}, 1, true, "first");
    expect_writes(me(IdentityState::kCopied), {unused()}, 1, true, "first");
}

TEST(WriterDecision, TheSameInstanceKeepsItsEpoch) {
    expect_writes(me(), {repository(3, kMe)}, 3, false, "");
    expect_writes(me(), {repository(3, kMe), repository(3, kMe)}, 3, false, "");
}

TEST(WriterDecision, ACutOffClaimIsCompleted) {
    expect_writes(me(), {repository(3, kMe), repository(2, kMe)}, 3, true, "continuation");
    LocalFacts pending = me();
    pending.identity.identity.pending_epoch = 3;
    pending.identity.identity.registered_standby = true;
    pending.identity.identity.standby_epoch = 2;
    expect_writes(pending, {repository(3, kMe), repository(2, kOther)}, 3, true, "continuation");
    expect_writes(pending, {repository(2, kOther), repository(3, kMe), unused()}, 3, true, "continuation");
}

TEST(WriterDecision, ARepositoryAddedLaterGetsTheSameEpoch) {
    LocalFacts local = me();
    local.identity.identity.held_epoch = 3;
    expect_writes(local, {repository(3, kMe), unused()}, 3, true, "continuation");
}

TEST(WriterDecision, ARepositoryOfAnotherServerIsNeverHijackedByAddingIt) {
    LocalFacts local = me();
    local.identity.identity.held_epoch = 5;
    expect_refused(local, {repository(5, kMe), repository(2, kOther)}, WriterStanding::kFenced);
}

TEST(WriterDecision, RestoredAndCopiedServersAreDetached) {
    const Error restored = expect_refused(me(IdentityState::kNone), {repository(3, kOther)}, WriterStanding::kDetached);
    EXPECT_NE(restored.message().find("detached"), std::string::npos);
    EXPECT_NE(restored.detail().find("db-other"), std::string::npos);
    EXPECT_NE(restored.detail().find(to_string(kOther)), std::string::npos);
    EXPECT_NE(restored.detail().find("2026-11-20 08:23:33"), std::string::npos);
    EXPECT_NE(restored.hint().find("pgv_take_over"), std::string::npos);
    const Error copied = expect_refused(me(IdentityState::kCopied), {repository(3, kMe)}, WriterStanding::kDetached);
    EXPECT_NE(copied.detail().find("pgvigil.identity"), std::string::npos);
    expect_refused(me(), {repository(3, kOther)}, WriterStanding::kDetached);
    expect_refused(me(IdentityState::kNone), {unused(), repository(1, kOther)}, WriterStanding::kDetached);
}

TEST(WriterDecision, APromotedRegisteredStandbyTakesTheNextEpoch) {
    LocalFacts local = me();
    local.identity.identity.registered_standby = true;
    local.identity.identity.standby_epoch = 3;
    local.identity.identity.standby_timeline = 1;
    expect_writes(local, {repository(3, kOther)}, 4, true, "promotion");
    expect_writes(local, {repository(3, kOther), unused()}, 4, true, "promotion");
    // Not registered with the present writer: somebody else was promoted before it.
    const Error fenced = expect_refused(local, {repository(4, kOther)}, WriterStanding::kFenced);
    EXPECT_NE(fenced.detail().find("epoch 4"), std::string::npos);
    // Its standby.signal was removed: it runs on its primary's timeline.
    local.identity.identity.standby_timeline = 2;
    expect_refused(local, {repository(3, kOther)}, WriterStanding::kDetached);
    // A copy of a registered standby is a copy.
    local.identity.identity.standby_timeline = 1;
    local.identity.state = IdentityState::kCopied;
    expect_refused(local, {repository(3, kOther)}, WriterStanding::kDetached);
}

TEST(WriterDecision, OnAWeakStoreNobodyTakesOverByItself) {
    LocalFacts local = me();
    local.identity.identity.registered_standby = true;
    local.identity.identity.standby_epoch = 3;
    local.identity.identity.standby_timeline = 1;
    RepositoryFacts weak = repository(3, kOther);
    weak.conditional_create = false;
    const Error refused = expect_refused(local, {repository(3, kOther), weak}, WriterStanding::kDetached);
    EXPECT_NE(refused.hint().find("pgv_take_over"), std::string::npos);
    local.take_over = "a person says so";
    expect_writes(local, {repository(3, kOther), weak}, 4, true, "a person says so");
    // Who is the writer stays it.
    RepositoryFacts own = repository(4, kMe);
    own.conditional_create = false;
    local.take_over.reset();
    local.identity.identity.registered_standby = false;
    local.identity.identity.held_epoch = 4;
    expect_writes(local, {own}, 4, false, "");
}

TEST(WriterDecision, AFormerWriterIsFenced) {
    LocalFacts local = me();
    local.identity.identity.held_epoch = 3;
    const Error error = expect_refused(local, {repository(4, kOther)}, WriterStanding::kFenced);
    EXPECT_NE(error.detail().find("db-other"), std::string::npos);
    EXPECT_NE(error.hint().find("pgv_take_over"), std::string::npos);
    expect_refused(local, {repository(3, kMe), repository(4, kOther)}, WriterStanding::kFenced);
    expect_refused(local, {repository(4, kMe), repository(4, kOther)}, WriterStanding::kFenced);
}

TEST(WriterDecision, StaleCopiesAreRefused) {
    const Error error = expect_refused(me(), {ahead(repository(3, kMe))}, WriterStanding::kStaleCopy);
    EXPECT_NE(error.detail().find("0/5000000"), std::string::npos);
    EXPECT_NE(error.detail().find("0/6000000"), std::string::npos);
    EXPECT_NE(error.hint().find("pgv_take_over"), std::string::npos);
    expect_refused(me(), {repository(3, kMe), ahead(repository(3, kMe))}, WriterStanding::kStaleCopy);
    expect_refused(me(IdentityState::kNone), {ahead(unused())}, WriterStanding::kStaleCopy);
    LocalFacts promoted = me();
    promoted.identity.identity.registered_standby = true;
    promoted.identity.identity.standby_epoch = 3;
    promoted.identity.identity.standby_timeline = 1;
    expect_refused(promoted, {ahead(repository(3, kOther))}, WriterStanding::kStaleCopy);
}

TEST(WriterDecision, StaleCopiesThatHaveGrownAreRefused) {
    const Error error = expect_refused(me(), {different(repository(3, kMe))}, WriterStanding::kStaleCopy);
    EXPECT_NE(error.detail().find("0/3000000"), std::string::npos);
    expect_refused(me(), {repository(3, kMe), different(repository(3, kMe))}, WriterStanding::kStaleCopy);
    LocalFacts ordered = me();
    ordered.take_over = "disaster";
    expect_writes(ordered, {different(repository(3, kMe))}, 4, true, "disaster");
}

TEST(WriterDecision, InRecoveryNothingIsClaimed) {
    for (LocalFacts local : {me(), me(IdentityState::kNone)}) {
        local.in_recovery = true;
        expect_refused(local, {unused()}, WriterStanding::kInRecovery);
        expect_refused(local, {repository(3, kMe)}, WriterStanding::kInRecovery);
        local.take_over = "please";
        expect_refused(local, {repository(3, kOther)}, WriterStanding::kInRecovery);
    }
}

TEST(WriterDecision, TakingOver) {
    for (LocalFacts local : {me(), me(IdentityState::kNone), me(IdentityState::kCopied)}) {
        local.take_over = "disaster";
        expect_writes(local, {repository(3, kOther)}, 4, true, "disaster");
        expect_writes(local, {repository(3, kOther), repository(7, kOther), unused()}, 8, true, "disaster");
        expect_writes(local, {unused()}, 1, true, "disaster");
        expect_writes(local, {ahead(repository(3, kOther))}, 4, true, "disaster");
    }
    LocalFacts local = me();
    local.take_over = "disaster";
    expect_writes(local, {repository(3, kMe)}, 3, false, "disaster");
    expect_writes(local, {ahead(repository(3, kMe))}, 4, true, "disaster");
    expect_writes(local, {repository(4, kMe), repository(4, kOther)}, 5, true, "disaster");
    local.identity.identity.pending_epoch = 4;
    expect_writes(local, {repository(4, kMe), repository(3, kOther)}, 4, true, "disaster");
}

TEST(WriterDecision, EpochsThatVanishedAreNotUsedTwice) {
    LocalFacts local = me();
    local.identity.identity.held_epoch = 6;
    expect_writes(local, {unused()}, 7, true, "first");
}

} // namespace
} // namespace pgvigil
