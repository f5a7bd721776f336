#include "transfer/backup_scan.h"

#include "backup_support.h"

namespace pgvigil {
namespace {

class BackupScanTest : public test::BackupTest {
  protected:
    std::vector<std::string> scan() {
        std::vector<std::string> seen;
        BackupScan scan(source, log);
        scan.run(
            [&](ScannedFile &&file) { seen.push_back(file.path + (file.kind == FileKind::kDirectory ? "/" : "")); },
            never);
        return seen;
    }
    void touch(const std::string &path) const { write_file(path, as_view("x")); }
    using Paths = std::vector<std::string>;
};

TEST_F(BackupScanTest, order_is_that_of_the_file_table) {
    for (const char *path : {"base/5/1", "base/5/10", "base/5/2", "base/5.x", "base-x", "a", "z/y"})
        touch(path);
    const Paths seen = scan();
    EXPECT_EQ(seen,
              (Paths{"a", "base/", "base/5/", "base/5/1", "base/5/10", "base/5/2", "base/5.x", "base-x", "z/", "z/y"}));
}

TEST_F(BackupScanTest, temporary_and_unlogged_relations_are_left_out) {
    for (const char *path : {"base/5/16384", "base/5/16384.1", "base/5/16384_fsm", "base/5/16384_init", "base/5/16385",
                             "base/5/t5_99", "base/5/163840", "base/pgsql_tmp/x", "global/17000", "global/17000_init",
                             "global/pg_control", "global/1262", "extra/16384", "extra/16384_init", "extra/t5_99"})
        touch(path);
    EXPECT_EQ(scan(),
              (Paths{"base/", "base/5/", "base/5/163840", "base/5/16384_init", "base/5/16385", "extra/", "extra/16384",
                     "extra/16384_init", "extra/t5_99", "global/", "global/1262", "global/17000_init"}));
    source.server_major_version = 16;
    const Paths seen = scan();
    EXPECT_NE(std::find(seen.begin(), seen.end(), "global/17000"), seen.end());
}

TEST_F(BackupScanTest, directories_whose_contents_are_made_anew_are_kept_empty) {
    for (const char *path : {"pg_replslot/slot/state", "pg_notify/0000", "pg_subtrans/0000", "pg_stat_tmp/x",
                             "pg_dynshmem/x", "pg_serial/x", "pg_snapshots/x", "pg_wal/000000010000000000000001",
                             "pg_wal/summaries/x.summary", "pg_wal/archive_status/x.ready", "pg_xact/0000"})
        touch(path);
    const Paths expected = {"pg_dynshmem/",           "pg_notify/",        "pg_replslot/", "pg_serial/",
                            "pg_snapshots/",          "pg_stat_tmp/",      "pg_subtrans/", "pg_wal/",
                            "pg_wal/archive_status/", "pg_wal/summaries/", "pg_xact/",     "pg_xact/0000"};
    EXPECT_EQ(scan(), expected);
    source.server_major_version = 16;
    const Paths older = scan();
    EXPECT_EQ(std::find(older.begin(), older.end(), "pg_wal/summaries/"), older.end());
    EXPECT_NE(std::find(older.begin(), older.end(), "pg_wal/archive_status/"), older.end());
}

TEST_F(BackupScanTest, wal_directory_elsewhere_is_recorded_as_a_directory) {
    const test::TemporaryDirectory elsewhere;
    std::filesystem::create_directory_symlink(elsewhere.path(), directory.path() + "/pg_wal");
    std::filesystem::create_directory_symlink(elsewhere.path(), directory.path() + "/pg_replslot");
    EXPECT_EQ(scan(), (Paths{"pg_replslot/", "pg_wal/", "pg_wal/archive_status/", "pg_wal/summaries/"}));
    EXPECT_TRUE(log.warnings().empty());
}

TEST_F(BackupScanTest, links_and_special_files_are_passed_over_with_a_warning) {
    touch("postgresql.conf");
    std::filesystem::create_symlink("/etc/passwd", directory.path() + "/link");
    ASSERT_EQ(mkfifo((directory.path() + "/pipe").c_str(), 0600), 0);
    EXPECT_EQ(scan(), (Paths{"postgresql.conf"}));
    ASSERT_EQ(log.warnings().size(), 2U);
    EXPECT_NE(log.warnings()[0].find("\"link\""), std::string::npos);
}

TEST_F(BackupScanTest, of_a_tablespace_only_the_version_directory_is_taken) {
    const test::TemporaryDirectory outside;
    const std::string version = test::kVersionDirectory;
    std::filesystem::create_directories(outside.path() + "/" + version + "/5");
    std::ofstream(outside.path() + "/" + version + "/5/16385") << "x";
    std::ofstream(outside.path() + "/" + version + "/5/t1_16385") << "x";
    std::ofstream(outside.path() + "/stray") << "x";
    make_directory("pg_tblspc");
    std::filesystem::create_directory_symlink(outside.path(), directory.path() + "/pg_tblspc/16400");
    std::filesystem::create_directory_symlink(outside.path(), directory.path() + "/pg_tblspc/16500");
    touch("pg_tblspc/16600/" + version + "/5/1"); // in place
    touch("pg_tblspc/16600/PG_15_202209061/5/1");
    source.tablespaces = {{16400, outside.path()}, {16600, ""}};
    EXPECT_EQ(scan(),
              (Paths{"pg_tblspc/", "pg_tblspc/16400/" + version + "/", "pg_tblspc/16400/" + version + "/5/",
                     "pg_tblspc/16400/" + version + "/5/16385", "pg_tblspc/16600/", "pg_tblspc/16600/" + version + "/",
                     "pg_tblspc/16600/" + version + "/5/", "pg_tblspc/16600/" + version + "/5/1"}));
}

TEST_F(BackupScanTest, tablespace_inside_of_the_data_directory_is_taken_once) {
    const std::string version = test::kVersionDirectory;
    touch("ts1/" + version + "/5/16385");
    make_directory("pg_tblspc");
    std::filesystem::create_directory_symlink(directory.path() + "/ts1", directory.path() + "/pg_tblspc/16400");
    source.tablespaces = {{16400, directory.path() + "/ts1"}};
    EXPECT_EQ(scan(), (Paths{"pg_tblspc/", "pg_tblspc/16400/" + version + "/", "pg_tblspc/16400/" + version + "/5/",
                             "pg_tblspc/16400/" + version + "/5/16385", "ts1/"}));
}

TEST_F(BackupScanTest, what_cannot_be_read_is_an_error_that_names_it) {
    source.data_directory = directory.path() + "/missing";
    const Error error = test::error_of([&] { return scan(); });
    EXPECT_NE(error.message().find("missing"), std::string::npos);
}

TEST_F(BackupScanTest, ends_when_cancelled) {
    touch("a");
    CancelToken cancel;
    cancel.cancel();
    BackupScan scan(source, log);
    EXPECT_EQ(test::error_of([&] {
                  scan.run([](ScannedFile &&) {}, cancel);
                  return 0;
              }).code(),
              ErrorCode::kCancelled);
}

} // namespace
} // namespace pgvigil
