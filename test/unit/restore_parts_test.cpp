// The parts a restore is made of: checksums joined, settings written, paths kept inside, reads merged.
#include "storage_test_support.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "transfer/restore_crc.h"
#include "transfer/restore_extents.h"
#include "transfer/restore_job.h"
#include "transfer/restore_tree.h"

#include <filesystem>
#include <fstream>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

namespace fs = std::filesystem;

RC_GTEST_PROP(RestoreCrc, joined_is_that_of_the_whole, (std::string a, std::string b, uint16_t zeroes)) {
    const uint32_t joined = crc32c_join(crc32c(as_view(a)), crc32c(as_view(b)), b.size());
    RC_ASSERT(joined == crc32c(as_view(a + b)));
    RC_ASSERT(crc32c_of_zeroes(zeroes) == crc32c(Bytes(zeroes)));
}

RecoverySettings some_settings() {
    RecoverySettings settings;
    settings.command.program = "/opt/my tools/pgvigil";
    settings.command.repositories = {"s3://bucket/a%2Cb?region=x&ca_file=/ca", "file:///it's"};
    settings.command.credentials_file = "/etc/pgvigil/credentials";
    settings.command.system_identifier = 7;
    settings.command.path = {{1, {}, Lsn{0x3000028}}, {2, Lsn{0x3000028}, {}}};
    settings.command.wal_segment_size = 16 * kMiB;
    settings.target_setting = "recovery_target_time";
    settings.target_value = "2026-11-20 08:59:00+00";
    settings.timeline = 2;
    return settings;
}

TEST(RestoreSettings, the_command_is_quoted_for_the_shell_and_for_the_server) {
    EXPECT_EQ(
        restore_command(some_settings().command),
        R"('/opt/my tools/pgvigil' wal-get --repository 's3://bucket/a%%2Cb?region=x&ca_file=/ca,file:///it'\''s')"
        R"( --credentials-file /etc/pgvigil/credentials --system-identifier 7 --path 1@0/3000028,2)"
        R"( --segment-size 16777216 "%f" "%p")");
}

TEST(RestoreSettings, the_chosen_target_comes_last_and_old_ones_go) {
    const std::string text = with_recovery_settings("# a comment\n"
                                                    "work_mem = '8MB'\n"
                                                    "  Recovery_Target_XID='5'\n"
                                                    "restore_command 'old'\n"
                                                    "primary_conninfo = 'host=x'\n"
                                                    "recovery_target_timeline = 'latest'\n"
                                                    "my.recovery_target = 'stays'",
                                                    some_settings());
    EXPECT_EQ(text.find("# a comment\nwork_mem = '8MB'\nmy.recovery_target = 'stays'\nrestore_command = "), 0U) << text;
    const size_t chosen = text.find("recovery_target_time = '2026-11-20 08:59:00+00'\n");
    ASSERT_NE(chosen, std::string::npos);
    for (const char *other : {"recovery_target = ''", "recovery_target_lsn = ''", "recovery_target_name = ''",
                              "recovery_target_xid = ''", "recovery_target_timeline = '2'"})
        EXPECT_LT(text.find(other), chosen) << other;
    EXPECT_EQ(text.find("recovery_target_time = ''"), std::string::npos);
    EXPECT_EQ(text.find("host=x"), std::string::npos);
    // Backslashes and quotes of the command, doubled.
    EXPECT_NE(text.find(R"(it''\\''''s)"), std::string::npos) << text;
}

TEST(RestoreSettings, a_standby_keeps_where_it_streams_from) {
    RecoverySettings settings = some_settings();
    settings.standby = true;
    settings.target_setting.clear();
    const std::string text = with_recovery_settings("primary_conninfo = 'host=x'\n", settings);
    EXPECT_EQ(text.find("primary_conninfo = 'host=x'\n"), 0U);
    EXPECT_NE(text.find("recovery_target_timeline = 'latest'\n"), std::string::npos);
}

TEST(RestoreSettings, a_line_break_is_refused) {
    RecoverySettings settings = some_settings();
    settings.command.credentials_file = "/a\nb";
    EXPECT_THROW((void)with_recovery_settings("", settings), Error);
}

TEST(RestoreSettings, map_lines_are_escaped_as_the_server_does) {
    EXPECT_EQ(tablespace_map_line(16400, "/a b\\c\nd"), "16400 /a b\\\\c\\\nd\n");
}

class Tree : public ::testing::Test {
  protected:
    test::TemporaryDirectory parent;
    const std::string root = parent.path() + "/a/b";
};

TEST_F(Tree, paths_stay_inside) {
    RestoreTree tree(root, false);
    for (const std::string path : {"", "/etc/passwd", "..", "../x", "a/../b", "a/./b", "a//b", "a/", ".", "a/.."}) {
        EXPECT_THROW((void)tree.open_file(path), Error) << path;
        EXPECT_THROW(tree.make_directory(path), Error) << path;
    }
    EXPECT_THROW(check_restore_path(std::string("a\0b", 3)), Error);
    EXPECT_THROW(check_restore_path(std::string(300, 'a')), Error);
    EXPECT_NO_THROW(check_restore_path("base/5/..16384"));
}

TEST_F(Tree, follows_no_symbolic_links) {
    RestoreTree tree(root, false);
    fs::create_directory(parent.path() + "/outside");
    fs::create_directory_symlink(parent.path() + "/outside", root + "/link");
    std::ofstream(parent.path() + "/outside/file") << "untouched";
    fs::create_symlink(parent.path() + "/outside/file", root + "/file");
    EXPECT_THROW((void)tree.open_file("link/new"), Error);
    EXPECT_THROW(tree.make_directory("link"), Error);
    EXPECT_THROW(tree.make_directory("link/new"), Error);
    EXPECT_THROW((void)tree.open_file("file"), Error);
    EXPECT_THROW((void)tree.read_file("file", 100), Error);
    EXPECT_EQ(std::distance(fs::directory_iterator(parent.path() + "/outside"), {}), 1);
    EXPECT_EQ(fs::file_size(parent.path() + "/outside/file"), 9U);
}

TEST_F(Tree, many_directories_are_no_problem) {
    RestoreTree tree(root, false);
    tree.make_directory("base");
    for (int i = 0; i < 300; ++i) {
        tree.make_directory("base/" + std::to_string(i));
        tree.write_file("base/" + std::to_string(i) + "/1", std::to_string(i));
    }
    for (int i = 0; i < 300; ++i)
        EXPECT_EQ(tree.read_file("base/" + std::to_string(i) + "/1", 100), std::to_string(i));
    tree.sync_all(2, CancelToken());
}

TEST(RestoreTablespaces, must_not_collide) {
    const std::vector<Tablespace> two = {{1, "/a"}, {2, "/b"}, {3, ""}};
    EXPECT_EQ(tablespace_locations(two, {{"/a", "/c"}}, "/data").at(1), "/c");
    EXPECT_EQ(tablespace_locations(two, {}, "/data").size(), 2U);
    EXPECT_THROW((void)tablespace_locations(two, {{"/a", "/b"}}, "/data"), Error);
    EXPECT_THROW((void)tablespace_locations(two, {{"/a", "/data/x"}}, "/data"), Error);
    EXPECT_THROW((void)tablespace_locations(two, {{"/a", "/data"}}, "/data"), Error);
    EXPECT_THROW((void)tablespace_locations(two, {{"/x", "/y"}}, "/data"), Error);
}

RC_GTEST_PROP(RestoreExtents, merged_ranges_hold_every_extent_once, ()) {
    const auto count = *rc::gen::inRange<size_t>(0, 200);
    const auto file = std::make_shared<RestoredFile>();
    std::vector<ExtentRead> reads;
    for (size_t i = 0; i < count; ++i) {
        ExtentRead read;
        read.file = file;
        read.piece = static_cast<uint32_t>(i);
        read.pack = *rc::gen::inRange<uint32_t>(0, 3);
        read.place = {*rc::gen::inRange<uint32_t>(0, 30 << 20), *rc::gen::inRange<uint32_t>(40, 1 << 20)};
        reads.push_back(read);
    }
    std::vector<bool> seen(count);
    for (const RangeRead &range : merge_reads(std::move(reads))) {
        RC_ASSERT(range.range.length <= kMaxRangeBytes);
        for (const ExtentRead &read : range.extents) {
            RC_ASSERT(!seen[read.piece]);
            seen[read.piece] = true;
            RC_ASSERT(read.pack == range.pack);
            RC_ASSERT(read.place.offset >= range.range.offset);
            RC_ASSERT(uint64_t{read.place.offset} + read.place.length <= range.range.offset + range.range.length);
        }
    }
    RC_ASSERT(std::find(seen.begin(), seen.end(), false) == seen.end());
}

} // namespace
} // namespace pgvigil
