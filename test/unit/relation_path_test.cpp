#include "pgdata/relation_path.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <string>

namespace pgvigil {
namespace {

TEST(RelationPath, FileNames) {
    const auto plain = parse_relation_file_name("16384");
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->number, 16384U);
    EXPECT_EQ(plain->fork, RelationFork::kMain);
    EXPECT_EQ(plain->segment, 0U);
    const auto vm = parse_relation_file_name("16384_vm.12");
    ASSERT_TRUE(vm);
    EXPECT_EQ(vm->fork, RelationFork::kVm);
    EXPECT_EQ(vm->segment, 12U);
    EXPECT_EQ(parse_relation_file_name("4294967295_init")->fork, RelationFork::kInit);
    EXPECT_EQ(parse_relation_file_name("1_fsm")->fork, RelationFork::kFsm);
    for (const char *bad : {"", "0", "016384", "4294967296", "16384_", "16384_xx", "16384.", "16384.0", "16384.01",
                            "16384.1x", "16384_vm_fsm", "t3_16384", "PG_VERSION", "pg_filenode.map", "1 ", " 1", "+1"})
        EXPECT_FALSE(parse_relation_file_name(bad)) << bad;
}

TEST(RelationPath, TemporaryNames) {
    for (const char *good : {"t3_16384", "t0_1", "t12_16384_fsm", "t3_16384_vm.1"})
        EXPECT_TRUE(is_temp_relation_name(good)) << good;
    for (const char *bad : {"", "t", "t_1", "t3", "t3_", "16384", "t3_0", "tx_1", "t3_16384_xx", "t-1_5"})
        EXPECT_FALSE(is_temp_relation_name(bad)) << bad;
}

TEST(RelationPath, Paths) {
    const auto base = parse_relation_path("base/5/16384.1");
    ASSERT_TRUE(base);
    EXPECT_EQ(base->tablespace, 1663U);
    EXPECT_EQ(base->database, 5U);
    EXPECT_EQ(base->file.segment, 1U);
    const auto global = parse_relation_path("global/1262");
    ASSERT_TRUE(global);
    EXPECT_EQ(global->tablespace, 1664U);
    EXPECT_EQ(global->database, 0U);
    const auto spc = parse_relation_path("pg_tblspc/16400/PG_15_202209061/5/16385_vm");
    ASSERT_TRUE(spc);
    EXPECT_EQ(spc->tablespace, 16400U);
    EXPECT_EQ(spc->file.fork, RelationFork::kVm);
    for (const char *bad : {"", "base", "base/", "base/5", "base/5/", "base/x/1", "base/5/1/2", "global/pg_control",
                            "global/5/1", "pg_tblspc/16400/5/1", "pg_tblspc/16400/PG_15/5", "pg_xact/0000", "1",
                            "/base/5/1", "base//1", "base/5/t3_1", "pg_tblspc/x/PG_15/5/1"})
        EXPECT_FALSE(parse_relation_path(bad)) << bad;
}

RC_GTEST_PROP(RelationPath, AnyNameIsHandled, (const std::string &name)) {
    (void)parse_relation_file_name(name);
    (void)is_temp_relation_name(name);
    (void)parse_relation_path(name);
}

RC_GTEST_PROP(RelationPath, NamesRoundTrip, ()) {
    const auto number = *rc::gen::inRange<uint32_t>(1, UINT32_MAX);
    const auto segment = *rc::gen::inRange<uint32_t>(0, 5000);
    const auto fork = *rc::gen::inRange(0, 4);
    static const char *const kForks[] = {"", "_fsm", "_vm", "_init"};
    const std::string name =
        std::to_string(number) + kForks[fork] + (segment == 0 ? "" : "." + std::to_string(segment));
    const auto file = parse_relation_file_name(name);
    RC_ASSERT(file.has_value());
    RC_ASSERT(file->number == number);
    RC_ASSERT(file->segment == segment);
    RC_ASSERT(file->fork == static_cast<RelationFork>(fork));
    RC_ASSERT(is_temp_relation_name("t7_" + name));
}

} // namespace
} // namespace pgvigil
