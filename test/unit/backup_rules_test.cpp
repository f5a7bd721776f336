#include "transfer/backup_rules.h"

#include <gtest/gtest.h>

namespace pgvigil {
namespace {

constexpr const char *kVersion = "PG_17_202406281";

TEST(BackupRules, directories_are_told_apart) {
    EXPECT_EQ(directory_role("", kVersion), DirectoryRole::kRoot);
    EXPECT_EQ(directory_role("global", kVersion), DirectoryRole::kGlobal);
    EXPECT_EQ(directory_role("pg_tblspc", kVersion), DirectoryRole::kTablespaces);
    EXPECT_EQ(directory_role("base/5", kVersion), DirectoryRole::kDatabase);
    EXPECT_EQ(directory_role("pg_tblspc/16400/PG_17_202406281/5", kVersion), DirectoryRole::kDatabase);
    EXPECT_EQ(directory_role("pg_tblspc/16400/PG_15_202209061/5", kVersion), DirectoryRole::kOther);
    EXPECT_EQ(directory_role("base", kVersion), DirectoryRole::kOther);
    EXPECT_EQ(directory_role("base/5x", kVersion), DirectoryRole::kOther);
    EXPECT_EQ(directory_role("extra/5", kVersion), DirectoryRole::kOther);
    EXPECT_EQ(directory_role("extra/base/5", kVersion), DirectoryRole::kOther);
}

TEST(BackupRules, names_that_are_left_out_anywhere) {
    for (const char *name : {"pgsql_tmp", "pgsql_tmp12.0", ".DS_Store", "postgresql.auto.conf.tmp",
                             "current_logfiles.tmp", "pg_internal.init", "pg_internal.init.123", "backup_label",
                             "tablespace_map", "backup_manifest", "postmaster.pid", "postmaster.opts"})
        for (const DirectoryRole role : {DirectoryRole::kRoot, DirectoryRole::kOther, DirectoryRole::kDatabase})
            EXPECT_TRUE(is_left_out(name, role)) << name;
    for (const char *name : {"postgresql.conf", "backup_label.old", "postmaster.pid.old", "xpgsql_tmp", "pg_control"})
        EXPECT_FALSE(is_left_out(name, DirectoryRole::kOther)) << name;
}

TEST(BackupRules, names_that_are_left_out_somewhere) {
    EXPECT_TRUE(is_left_out("pg_control", DirectoryRole::kGlobal));
    EXPECT_FALSE(is_left_out("pg_control", DirectoryRole::kDatabase));
    EXPECT_TRUE(is_left_out("t3_16384", DirectoryRole::kDatabase));
    EXPECT_TRUE(is_left_out("t3_16384_fsm.1", DirectoryRole::kDatabase));
    EXPECT_FALSE(is_left_out("t3_16384", DirectoryRole::kGlobal));
    EXPECT_TRUE(is_left_out("pgvigil.identity", DirectoryRole::kRoot));
    EXPECT_TRUE(is_left_out("pgvigil.owed", DirectoryRole::kRoot));
    EXPECT_FALSE(is_left_out("pgvigil.identity", DirectoryRole::kOther));
    EXPECT_FALSE(is_left_out("pgvigil", DirectoryRole::kRoot));
}

TEST(BackupRules, unlogged_relations_in_global_from_17_on) {
    EXPECT_TRUE(looks_for_unlogged(DirectoryRole::kDatabase, 15));
    EXPECT_FALSE(looks_for_unlogged(DirectoryRole::kGlobal, 16));
    EXPECT_TRUE(looks_for_unlogged(DirectoryRole::kGlobal, 17));
    EXPECT_FALSE(looks_for_unlogged(DirectoryRole::kOther, 18));
}

TEST(BackupRules, pages_are_checked_by_path_up_to_16_and_by_name_from_17_on) {
    EXPECT_EQ(first_checksummed_block("base/5/16384", 15, 131072), 0U);
    EXPECT_EQ(first_checksummed_block("base/5/16384.2", 15, 131072), 262144U);
    EXPECT_EQ(first_checksummed_block("base/5/16384.2", 18, 131072), 262144U);
    EXPECT_EQ(first_checksummed_block("global/1262", 17, 131072), 0U);
    EXPECT_EQ(first_checksummed_block("pg_tblspc/16400/PG_17_202406281/5/16385_vm", 17, 131072), 0U);
    EXPECT_EQ(first_checksummed_block("base/5/other", 16, 131072), 0U);
    EXPECT_EQ(first_checksummed_block("base/5/other", 17, 131072), std::nullopt);
    for (const unsigned version : {15U, 17U})
        for (const char *path :
             {"base/5/PG_VERSION", "base/5/pg_filenode.map", "base/5/pg_internal.init", "global/pg_control",
              "global/config_exec_params", "pg_xact/0000", "postgresql.conf", "base/5/notes.txt"})
            EXPECT_EQ(first_checksummed_block(path, version, 131072), std::nullopt) << path;
}

} // namespace
} // namespace pgvigil
