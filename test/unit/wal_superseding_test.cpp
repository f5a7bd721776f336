#include "repo/accepted_wal.h"
#include "repo/epochs.h"
#include "transfer/wal_archiver.h"

#include "wal_archiver_support.h"

namespace pgvigil {
namespace {

using test::read_wal_file;

constexpr const char *kFirst = "000000010000000000000001";
constexpr const char *kSecond = "000000010000000000000002";

class SupersedingTest : public test::ArchiverTest {};

TEST_F(SupersedingTest, newer_epoch_writes_beside_an_older_ones_object) {
    use_repositories(1);
    const Bytes older = write_segment(kSecond, 1);
    expect_archived(options(), kSecond);
    const Bytes newer = write_segment(kSecond, 2);
    WalArchiverOptions mine = options();
    mine.epoch = 3;
    mine.epoch_start = Lsn{2 * segment_size + 100};
    expect_archived(mine, kSecond);
    EXPECT_EQ(read_wal_file(*stores[0], layout.wal_file(kSecond)), older);
    EXPECT_EQ(read_wal_file(*stores[0], layout.wal_file_of_epoch(kSecond, 3)), newer);
    expect_archived(mine, kSecond);
    write_segment(kSecond, 3);
    WalArchiver archiver(mine, repositories, log);
    EXPECT_EQ(archive(archiver, kSecond), WalFileState::kFailed);
    EXPECT_EQ(archiver.failure(kSecond)->code(), ErrorCode::kConflict);
}

TEST_F(SupersedingTest, segment_before_the_epochs_start_is_a_conflict) {
    use_repositories(1);
    write_segment(kFirst, 1);
    expect_archived(options(), kFirst);
    write_segment(kFirst, 2);
    WalArchiverOptions mine = options();
    mine.epoch = 3;
    mine.epoch_start = Lsn{2 * segment_size};
    WalArchiver archiver(mine, repositories, log);
    EXPECT_EQ(archive(archiver, kFirst), WalFileState::kFailed);
    EXPECT_EQ(archiver.failure(kFirst)->code(), ErrorCode::kConflict);
}

TEST_F(SupersedingTest, promoted_standby_writes_beside_what_its_primary_had_superseded) {
    use_repositories(1);
    const Bytes junk = write_segment(kFirst, 1);
    WalArchiverOptions fenced = options();
    fenced.epoch = 1;
    expect_archived(fenced, kFirst);
    const auto take_over = [&](uint64_t number, TimelineId timeline, uint64_t lsn) {
        EpochDocument epoch;
        epoch.number = number;
        epoch.timeline = timeline;
        epoch.lsn = Lsn{lsn};
        const Bytes document = encode_document(encode(epoch), number, random_uuid());
        ASSERT_EQ(stores[0]->put_new({.key = layout.epoch(number), .body = document}, CancelToken()),
                  PutOutcome::kStored);
    };
    take_over(2, 1, segment_size);
    take_over(3, 2, 3 * segment_size + 100);
    const Bytes rightful = write_segment(kFirst, 2);
    WalArchiverOptions promoted = options();
    promoted.epoch = 3;
    promoted.epoch_timeline = 2;
    promoted.epoch_start = Lsn{3 * segment_size + 100};
    expect_archived(promoted, kFirst);
    expect_archived(promoted, kFirst);
    EXPECT_EQ(read_wal_file(*stores[0], layout.wal_file(kFirst)), junk);
    EXPECT_EQ(read_wal_file(*stores[0], layout.wal_file_of_epoch(kFirst, 2)), rightful);
    const auto accepted = accepted_segment(*repositories[0], list_epochs(*repositories[0], 0, CancelToken()), 1, 1,
                                           segment_size, CancelToken());
    ASSERT_TRUE(accepted);
    EXPECT_EQ(accepted->key, layout.wal_file_of_epoch(kFirst, 2));
}

} // namespace
} // namespace pgvigil
