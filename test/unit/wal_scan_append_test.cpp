#include "pgdata/wal_scan.h"

#include <gtest/gtest.h>

namespace pgvigil {
namespace {

WalScanSummary piece(uint32_t first_xid, uint32_t last_xid, int64_t first_us, int64_t last_us) {
    WalScanSummary summary;
    summary.first_xid = first_xid;
    summary.last_xid = last_xid;
    summary.first_time_us = first_us;
    summary.last_time_us = last_us;
    summary.commits = 2;
    return summary;
}

TEST(AppendScan, ALongTransactionOfTheLaterPieceWidensTheRange) {
    const WalScanSummary before = piece(100, 110, 5, 9);
    WalScanSummary whole = before;
    append_scan(whole, before, piece(95, 105, 3, 12));
    EXPECT_EQ(whole.first_xid, 95U);
    EXPECT_EQ(whole.last_xid, 110U);
    EXPECT_EQ(whole.first_time_us, 3);
    EXPECT_EQ(whole.last_time_us, 12);
    EXPECT_EQ(whole.commits, 4U);
}

TEST(AppendScan, RangesCrossTheWraparound) {
    const WalScanSummary before = piece(4294967290U, 4294967295U, 1, 1);
    WalScanSummary whole = before;
    append_scan(whole, before, piece(3, 8, 2, 2));
    EXPECT_EQ(whole.first_xid, 4294967290U);
    EXPECT_EQ(whole.last_xid, 8U);
}

TEST(AppendScan, PaddingBehindASwitchChangesNothing) {
    WalScanSummary before = piece(1, 2, 1, 2);
    before.end_of_records = Lsn{1000};
    before.ends_in_switch = true;
    WalScanSummary whole = before;
    append_scan(whole, before, WalScanSummary{});
    EXPECT_EQ(whole.end_of_records, Lsn{1000});
    EXPECT_TRUE(whole.ends_in_switch);
}

} // namespace
} // namespace pgvigil
