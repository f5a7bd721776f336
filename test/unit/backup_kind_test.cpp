#include "plan/backup_kind.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

class BackupKind : public ::testing::Test {
  protected:
    BackupKind() {
        now.system_identifier = 42;
        now.major_version = 17;
        now.checksum_version = 1;
        now.timeline = 3;
        now.ancestors = {{1, Lsn{0x1000}, ""}, {2, Lsn{0x2000}, ""}};
        now.start_lsn = Lsn{0x9000};
        add("20261101T000000F", {});
        add("20261102T000000I", {"20261101T000000F"});
        add("20261103T000000I", {"20261102T000000I", "20261101T000000F"});
    }
    void add(const std::string &id, std::vector<std::string> parents) {
        CommitDocument backup;
        backup.id = id;
        backup.full = parents.empty();
        backup.parents = std::move(parents);
        backup.system_identifier = 42;
        backup.server_version = 170004;
        backup.checksum_version = 1;
        backup.start_timeline = backup.stop_timeline = 3;
        backup.start_lsn = Lsn{0x3000 + 0x100 * backups.size()};
        backup.stop_lsn = Lsn{0x3080 + 0x100 * backups.size()};
        backup.block_hashes = true;
        backups.push_back(std::move(backup));
    }
    [[nodiscard]] KindDecision decide() const {
        return decide_kind(request, choose_parent(backups, expired, now), backups);
    }
    void expect_full(const std::string &because) const {
        const KindDecision decision = decide();
        EXPECT_TRUE(decision.full);
        EXPECT_TRUE(decision.parents.empty());
        EXPECT_NE(decision.reason.find(because), std::string::npos) << decision.reason;
        EXPECT_TRUE(decision.reason.ends_with("."));
    }
    std::vector<CommitDocument> backups;
    std::set<std::string, std::less<>> expired;
    ClusterFacts now;
    KindRequest request{
        .wanted = WantedKind::kAuto, .summaries_available = true, .no_summaries_reason = "No summaries."};
};

TEST_F(BackupKind, IncrementalOnTheNewestWithAllAncestors) {
    const KindDecision decision = decide();
    EXPECT_FALSE(decision.full);
    EXPECT_EQ(decision.method, ChangeMethod::kSummaries);
    EXPECT_EQ(decision.parents, (std::vector<std::string>{"20261103T000000I", "20261102T000000I", "20261101T000000F"}));
    request.wanted = WantedKind::kIncremental;
    EXPECT_FALSE(decide().full);
}

// The disk was put back to a state before the newest backup's end, and the server goes on beyond it on the same
// timeline.
TEST_F(BackupKind, NoParentOfAHistoryThatWasGivenUp) {
    for (CommitDocument &backup : backups)
        backup.epoch = 1;
    const auto epoch = [](uint64_t number, TimelineId timeline, uint64_t lsn, const std::string &reason) {
        EpochDocument document;
        document.number = number;
        document.timeline = timeline;
        document.lsn = Lsn{lsn};
        document.reason = reason;
        return document;
    };
    now.epochs = {epoch(1, 3, 0x100, "first"), epoch(2, 3, 0x3280, "take-over behind all backups")};
    EXPECT_EQ(decide().parents.front(), "20261103T000000I");
    now.epochs[1].lsn = Lsn{0x3190};
    EXPECT_EQ(decide().parents, (std::vector<std::string>{"20261102T000000I", "20261101T000000F"}));
    now.epochs[1].lsn = Lsn{0x3070};
    expect_full("is of a history that was given up: epoch 2 began at 0/3070 on timeline 3");
    // A backup of the new epoch that is built on an abandoned one inherits its blocks.
    backups.back().epoch = 2;
    expect_full("Backup 20261102T000000I is of a history that was given up");
    // A promotion begins its timeline: what standbys stored of that before the epoch was claimed is the same history.
    now.epochs = {epoch(1, 2, 0x100, "first"), epoch(2, 3, 0x2000, "promotion")};
    EXPECT_EQ(decide().parents.front(), "20261103T000000I");
    now.epochs = {epoch(1, 3, 0x100, "first"), epoch(2, 3, 0x2000, "promotion")};
    expect_full("history that was given up");
}

TEST_F(BackupKind, FullWhenAskedForOrNothingIsThere) {
    request.wanted = WantedKind::kFull;
    expect_full("asked for");
    request.wanted = WantedKind::kIncremental;
    backups.clear();
    expect_full("no backup to build on");
}

TEST_F(BackupKind, HashesWhereSummariesAreMissing) {
    request.summaries_available = false;
    const KindDecision decision = decide();
    EXPECT_FALSE(decision.full);
    EXPECT_EQ(decision.method, ChangeMethod::kHashes);
    EXPECT_NE(decision.reason.find("No summaries."), std::string::npos);
    backups[1].block_hashes = false;
    expect_full("Backup 20261102T000000I has no hashes");
    EXPECT_NE(decide().reason.find("No summaries."), std::string::npos);
    request.summaries_available = true;
    EXPECT_FALSE(decide().full);
}

TEST_F(BackupKind, WithoutHashesOfItsOwnItComparesNothing) {
    request.block_hashes = false;
    EXPECT_FALSE(decide().full);
    request.summaries_available = false;
    expect_full("\"pgvigil.block_hashes\" is off");
}

// Rules A5: each fact alone forces a full backup, whatever was asked for.
TEST_F(BackupKind, FactsThatForceAFull) {
    const ClusterFacts good = now;
    for (const WantedKind wanted : {WantedKind::kAuto, WantedKind::kIncremental}) {
        request.wanted = wanted;
        now = good;
        now.system_identifier = 43;
        expect_full("system identifier");
        now = good;
        now.major_version = 18;
        expect_full("made by PostgreSQL 17, and this is 18");
        now = good;
        now.checksum_version = 0;
        expect_full("Page checksums were turned off");
        now = good;
        now.block_size = 16384;
        expect_full("blocks of 8192 bytes");
        now = good;
        now.relation_segment_blocks = 1024;
        expect_full("and the cluster 8192 and 1024");
    }
}

TEST_F(BackupKind, ParentMustLieOnTheClustersPast) {
    // Behind the end of WAL on its own timeline: the cluster was set back.
    now.start_lsn = Lsn{0x3000};
    expect_full("behind the cluster's");
    now.start_lsn = Lsn{0x9000};
    for (CommitDocument &backup : backups)
        backup.start_timeline = backup.stop_timeline = 2;
    expect_full("after timeline 2 was left at 0/2000");
    for (CommitDocument &backup : backups)
        backup.stop_lsn = Lsn{0x2000};
    EXPECT_FALSE(decide().full);
    for (CommitDocument &backup : backups)
        backup.stop_timeline = 4;
    expect_full("no ancestor of timeline 3");
}

// A promotion to before the newest backup's end: the one before it still serves.
TEST_F(BackupKind, AnOlderOneOnThePathIsTaken) {
    now.timeline = 4;
    now.ancestors.push_back({3, Lsn{0x3190}, ""});
    const KindDecision decision = decide();
    EXPECT_FALSE(decision.full);
    EXPECT_EQ(decision.parents.front(), "20261102T000000I");
}

TEST_F(BackupKind, ExpiredAndBrokenChainsAreNotBuiltOn) {
    expired = {"20261103T000000I"};
    EXPECT_EQ(decide().parents.front(), "20261102T000000I");
    expired = {"20261102T000000I"};
    EXPECT_EQ(decide().parents.front(), "20261101T000000F");
    expired = {"20261101T000000F"};
    expect_full("which is being expired");
    expired.clear();
    backups.erase(backups.begin());
    expect_full("which is missing");
}

TEST_F(BackupKind, ChainsEnd) {
    request.chain_max = 2;
    expect_full("has 2 incremental backups, and the limit is 2");
    request.chain_max = 3;
    EXPECT_FALSE(decide().full);
    request.chain_max = 0;
    EXPECT_FALSE(decide().full);
}

TEST(BackupKindNames, Parse) {
    EXPECT_EQ(parse_wanted_kind("auto"), WantedKind::kAuto);
    EXPECT_EQ(parse_wanted_kind("full"), WantedKind::kFull);
    EXPECT_EQ(parse_wanted_kind("incremental"), WantedKind::kIncremental);
    EXPECT_EQ(parse_wanted_kind("Full"), std::nullopt);
}

// Whatever the history: an incremental never builds on a backup with an objection, and its parents end in a full.
RC_GTEST_PROP(BackupKindProperty, never_against_an_objection, ()) {
    ClusterFacts now;
    now.system_identifier = 1;
    now.major_version = 17;
    now.timeline = 2;
    now.ancestors = {{1, Lsn{50}, ""}};
    now.start_lsn = Lsn{100};
    std::vector<CommitDocument> backups;
    std::set<std::string, std::less<>> expired;
    for (int i = *rc::gen::inRange(0, 8); i > 0; --i) {
        CommitDocument backup;
        const CommitDocument *parent =
            backups.empty() ? nullptr : &backups[*rc::gen::inRange<size_t>(0, backups.size())];
        backup.full = parent == nullptr || *rc::gen::inRange(0, 3) == 0;
        backup.id = make_backup_id(1795163000000 + static_cast<int64_t>(backups.size()) * 1000, backup.full);
        if (!backup.full) {
            backup.parents = {parent->id};
            backup.parents.insert(backup.parents.end(), parent->parents.begin(), parent->parents.end());
        }
        backup.system_identifier = *rc::gen::element<uint64_t>(1U, 1U, 1U, 2U);
        backup.server_version = *rc::gen::element<uint32_t>(170001U, 170002U, 160001U);
        backup.stop_timeline = *rc::gen::element<uint32_t>(1U, 2U, 3U);
        backup.stop_lsn = Lsn{*rc::gen::inRange<uint64_t>(1, 120)};
        backup.block_hashes = *rc::gen::arbitrary<bool>();
        if (*rc::gen::inRange(0, 5) == 0)
            expired.insert(backup.id);
        backups.push_back(std::move(backup));
    }
    KindRequest request;
    request.summaries_available = *rc::gen::arbitrary<bool>();
    request.no_summaries_reason = "None.";
    const KindDecision decision = decide_kind(request, choose_parent(backups, expired, now), backups);
    if (decision.full) {
        RC_ASSERT(decision.parents.empty() && !decision.reason.empty());
        return;
    }
    RC_ASSERT(decision.parents.back().ends_with("F"));
    for (const std::string &id : decision.parents) {
        RC_ASSERT(!expired.contains(id));
        const auto at = std::find_if(backups.begin(), backups.end(), [&](const auto &b) { return b.id == id; });
        RC_ASSERT(at != backups.end());
        if (decision.method == ChangeMethod::kHashes)
            RC_ASSERT(at->block_hashes);
        if (id == decision.parents.front())
            RC_ASSERT(!objection_to(*at, now));
    }
}

} // namespace
} // namespace pgvigil
