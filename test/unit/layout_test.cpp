#include "repo/layout.h"

#include "base/error.h"

#include <gtest/gtest.h>

namespace pgvigil {
namespace {

TEST(Layout, Keys) {
    const ClusterLayout layout(7321234567890123456U);
    const std::string root = "7321234567890123456/";
    EXPECT_EQ(layout.root(), root);
    EXPECT_EQ(layout.epoch(3), root + "epochs/0000000003.json");
    EXPECT_EQ(layout.wal_file("00000002000001AB000000FF"), root + "wal/00000002/000001AB/00000002000001AB000000FF");
    EXPECT_EQ(layout.wal_file("00000002.history"), root + "wal/00000002/00000002.history");
    EXPECT_EQ(layout.wal_file("000000010000000000000003.00000028.backup"),
              root + "wal/00000001/00000000/000000010000000000000003.00000028.backup");
    EXPECT_EQ(layout.wal_file_of_epoch("00000002000001AB000000FF", 12),
              root + "wal/00000002/000001AB/00000002000001AB000000FF~12");
    EXPECT_EQ(layout.partial_file("00000002000001AB000000FF.partial", "0123456789abcdef0123"),
              root + "wal/00000002/000001AB/00000002000001AB000000FF.partial-0123456789abcdef");
    EXPECT_EQ(layout.wal_part("00000002000001AB000000FF", 2, "uuid"),
              root + "wal/00000002/000001AB/00000002000001AB000000FF.part002-uuid");
    EXPECT_EQ(layout.pack("20261120T084013F", 42), root + "data/20261120T084013F/000042");
    EXPECT_EQ(layout.table_part("20261120T084013F", 1), root + "files/20261120T084013F/000001");
    EXPECT_EQ(layout.table_index("20261120T084013F"), root + "files/20261120T084013F/index");
    EXPECT_EQ(layout.commit("20261120T084013F"), root + "commits/20261120T084013F.json");
    EXPECT_EQ(layout.attempt("20261120T084013F"), root + "attempts/20261120T084013F.json");
}

TEST(Layout, RefusesForeignNames) {
    const ClusterLayout layout(1);
    for (const char *bad : {"", "x", "../00000002000001AB000000FF", "00000002000001ab000000ff", "00000002.history/..",
                            "00000002000001AB000000FF.bz2"})
        EXPECT_THROW((void)layout.wal_file(bad), Error) << bad;
    EXPECT_THROW((void)layout.partial_file("00000002000001AB000000FF", "0123456789abcdef"), Error);
}

TEST(Layout, BackupIds) {
    EXPECT_EQ(make_backup_id(0, true), "19700101T000000F");
    EXPECT_EQ(make_backup_id(86400000, false), "19700102T000000I");
    EXPECT_LT(make_backup_id(86400000, true), make_backup_id(86401000, true));
    EXPECT_TRUE(is_backup_id("19700101T000000F"));
    for (const char *bad :
         {"", "19700101T000000", "19700101T000000X", "19700101 000000F", "1970010aT000000F", "19700101T000000F/"})
        EXPECT_FALSE(is_backup_id(bad)) << bad;
}

} // namespace
} // namespace pgvigil
