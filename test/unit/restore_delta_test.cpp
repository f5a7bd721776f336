// Restores over what is there (rules E5): what is the same stays, everything else is made the backup's, nothing outside
// of the directory is touched, and whatever happens on the way no server starts.
#include "restore_support.h"

#include "storage/faulty_store.h"

namespace pgvigil {
namespace {

namespace fs = std::filesystem;
using test::some_bytes;

class RestoreDeltaTest : public test::RestoreTest {
  protected:
    RestoreDeltaTest() {
        use_repositories(1);
        make_cluster();
    }
    // Runs a restore with --delta; its progress stays in `last`.
    void restore_delta(const std::string &id) { restore_delta(id, delta_options()); }
    void restore_delta(const std::string &id, const RestoreOptions &how) {
        last = std::make_unique<RestoreProgress>();
        run_restore(repositories, id, how, *last, log, never);
    }
    [[nodiscard]] RestoreOptions delta_options() const {
        RestoreOptions how = restore_options();
        how.delta = true;
        return how;
    }
    Error delta_error(const std::string &id) { return restore_error(id, delta_options()); }
    static void put(const std::string &path, ByteView content) {
        fs::create_directories(fs::path(path).parent_path());
        std::ofstream(path, std::ios::binary | std::ios::trunc) << as_text(content);
    }
    // Everything below the directory: paths with contents, links with where they lead.
    [[nodiscard]] std::map<std::string, std::string> everything() const {
        std::map<std::string, std::string> found;
        for (const auto &entry : fs::recursive_directory_iterator(data()))
            found[entry.path().lexically_relative(data()).string()] =
                entry.is_symlink()        ? "-> " + fs::read_symlink(entry.path()).string()
                : entry.is_regular_file() ? read(entry.path())
                                          : "directory";
        found.erase("backup_manifest"); // holds times
        return found;
    }

    std::unique_ptr<RestoreProgress> last;
};

TEST_F(RestoreDeltaTest, an_untouched_directory_is_kept) {
    const std::string id = back_up_all();
    restore_delta(id); // into nothing: as without
    EXPECT_EQ(last->bytes_kept, 0U);
    const auto before = everything();
    restore_delta(id);
    EXPECT_EQ(everything(), before);
    EXPECT_EQ(last->bytes_fetched, 0U);
    EXPECT_EQ(last->bytes_kept, last->bytes_total);
    EXPECT_EQ(last->bytes_done, last->bytes_total);
    EXPECT_TRUE(can_start());
}

TEST_F(RestoreDeltaTest, whatever_differs_is_made_the_backups) {
    write_file("base/5/holes", Bytes(3 * kMiB));
    const Bytes part = some_bytes(8192, 9);
    Bytes middle(3 * kMiB);
    std::copy(part.begin(), part.end(), middle.begin() + kMiB);
    write_file("base/5/middle", middle);
    const std::string id = back_up_all();
    restore_delta(id);
    const auto wanted = everything();

    // One block of a large file, contents of holes, sizes, kinds, modes, names.
    {
        std::fstream file(data("base/5/16384"), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(2 * kMiB + 5);
        file.put('!');
    }
    put(data("base/5/holes"), some_bytes(5 * kMiB, 3));
    {
        std::fstream file(data("base/5/middle"), std::ios::in | std::ios::out | std::ios::binary);
        for (const size_t at : {size_t{100}, kMiB + 8192, 3 * kMiB - 1}) {
            file.seekp(static_cast<std::streamoff>(at));
            file.put('!');
        }
    }
    fs::resize_file(data("base/5/16385"), 100);
    put(data("base/5/16386"), as_view("no longer empty"));
    fs::permissions(data("global/1262"), fs::perms::owner_read);
    fs::permissions(data("base/5"), fs::perms::owner_all | fs::perms::others_all);
    fs::remove(data("PG_VERSION"));
    fs::create_directories(data("PG_VERSION/inside"));
    fs::remove_all(data("pg_logical"));
    put(data("pg_logical"), as_view("a file"));
    put(data("base/6/1"), as_view("of a database that the backup has not"));
    put(data("base/5/99999"), as_view("x"));
    put(data("pg_wal/000000010000000000000099"), as_view("other WAL"));
    put(data("pg_replslot/slot/state"), as_view("x"));
    put(data("postmaster.opts"), as_view("x"));
    put(data("standby.signal"), {});
    put(data("pgvigil.identity"), as_view("who wrote before"));
    put(data("zzz"), as_view("x"));

    restore_delta(id);
    const auto found = everything();
    for (const auto &[path, content] : wanted)
        EXPECT_TRUE(found.contains(path) && found.at(path) == content) << path;
    for (const auto &[path, content] : found)
        EXPECT_TRUE(wanted.contains(path)) << path;
    EXPECT_EQ(fs::status(data("global/1262")).permissions(), fs::perms::owner_read | fs::perms::owner_write);
    EXPECT_EQ(fs::status(data("base/5")).permissions(), fs::perms::owner_all);
    EXPECT_GE(last->files_removed, 9U);
    EXPECT_GT(last->bytes_kept, 2 * kMiB);
    EXPECT_GT(last->bytes_fetched, 0U);
    EXPECT_LT(last->bytes_fetched, 2 * kMiB);
}

TEST_F(RestoreDeltaTest, nothing_outside_is_touched) {
    const std::string id = back_up_all();
    restore_delta(id);
    const test::TemporaryDirectory outside;
    put(outside.path() + "/file", some_bytes(8192, 2));
    put(outside.path() + "/wal/000000010000000000000007", as_view("x"));
    put(outside.path() + "/dir/file", as_view("x"));
    const std::string untouched = read(outside.path() + "/file");
    // Links instead of files and directories, and a second name of a file of the backup.
    fs::remove(data("base/5/16385"));
    fs::create_symlink(outside.path() + "/file", data("base/5/16385"));
    fs::remove_all(data("pg_wal"));
    fs::create_directory_symlink(outside.path() + "/wal", data("pg_wal"));
    fs::create_directory_symlink(outside.path() + "/dir", data("base/7"));
    fs::remove_all(data("pg_xact"));
    fs::create_directory_symlink(outside.path() + "/dir", data("pg_xact"));
    fs::create_hard_link(data("base/5/16384"), outside.path() + "/linked");
    {
        std::fstream file(outside.path() + "/linked", std::ios::in | std::ios::out | std::ios::binary);
        file.put('!');
    }
    const std::string linked = read(outside.path() + "/linked");
    restore_delta(id);
    EXPECT_EQ(read(outside.path() + "/file"), untouched);
    EXPECT_EQ(read(outside.path() + "/wal/000000010000000000000007"), "x");
    EXPECT_EQ(read(outside.path() + "/dir/file"), "x");
    EXPECT_EQ(std::distance(fs::directory_iterator(outside.path() + "/dir"), {}), 1);
    EXPECT_TRUE(read(outside.path() + "/linked") == linked);
    EXPECT_TRUE(to_bytes(read(data("base/5/16384"))) == some_bytes(3 * kMiB + 8192, 1));
    EXPECT_EQ(to_bytes(read(data("base/5/16385"))), some_bytes(8192, 2));
    EXPECT_FALSE(fs::is_symlink(data("pg_wal")));
    EXPECT_FALSE(fs::is_symlink(data("pg_xact")));
    EXPECT_FALSE(fs::exists(data("base/7")));
}

TEST_F(RestoreDeltaTest, tablespaces_keep_what_is_the_same_and_what_is_not_theirs) {
    const test::TemporaryDirectory space;
    const std::string version = space.path() + "/" + test::kVersionDirectory;
    put(version + "/5/16999", some_bytes(16384, 8));
    put(version + "/5/17000", some_bytes(100, 8));
    make_directory("pg_tblspc");
    fs::create_symlink(space.path(), directory.path() + "/pg_tblspc/16400");
    source.tablespaces = {{16400, space.path()}};
    const std::string id = back_up_all();

    RestoreOptions how = delta_options();
    const std::string location = target.path() + "/space";
    how.tablespace_map = {{space.path(), location}};
    restore_delta(id, how);
    const std::string there = location + "/" + test::kVersionDirectory;
    put(there + "/5/16999", some_bytes(16384, 7));
    put(there + "/6/1", as_view("x"));
    put(location + "/PG_14_202107181/5/1", as_view("of another cluster"));
    fs::create_symlink("/nowhere", data("pg_tblspc/16500"));
    restore_delta(id, how);
    EXPECT_EQ(to_bytes(read(there + "/5/16999")), some_bytes(16384, 8));
    EXPECT_FALSE(fs::exists(there + "/6"));
    EXPECT_EQ(read(location + "/PG_14_202107181/5/1"), "of another cluster");
    EXPECT_FALSE(fs::is_symlink(data("pg_tblspc/16500")));
    EXPECT_GT(last->bytes_kept, 0U);

    // Another place: the link moves there, the old place stays as it is. One that is taken is refused.
    how.tablespace_map = {{space.path(), target.path() + "/elsewhere"}};
    restore_delta(id, how);
    EXPECT_EQ(fs::read_symlink(data("pg_tblspc/16400")), target.path() + "/elsewhere");
    EXPECT_EQ(to_bytes(read(data(std::string("pg_tblspc/16400/") + test::kVersionDirectory + "/5/16999"))),
              some_bytes(16384, 8));
    EXPECT_TRUE(fs::exists(there + "/5/16999"));
    how.tablespace_map = {{space.path(), location}};
    EXPECT_EQ(restore_error(id, how).code(), ErrorCode::kConflict);
    EXPECT_TRUE(fs::exists(location + "/PG_14_202107181/5/1"));
}

TEST_F(RestoreDeltaTest, refuses_what_is_not_a_stopped_server_of_this_cluster) {
    const std::string id = back_up_all();
    restore_delta(id);
    const auto refused = [&](ErrorCode code, const std::string &text) {
        const auto before = everything();
        const Error error = delta_error(id);
        EXPECT_EQ(error.code(), code) << error.message();
        EXPECT_NE(error.message().find(text), std::string::npos) << error.message();
        EXPECT_FALSE(error.hint().empty());
        EXPECT_EQ(everything(), before);
    };
    put(data("postmaster.pid"), as_view("1\n"));
    refused(ErrorCode::kBusy, "may be running");
    fs::remove(data("postmaster.pid"));
    std::string control = read(data("global/pg_control"));
    control[0] = static_cast<char>(control[0] ^ 1);
    put(data("global/pg_control"), as_view(control));
    refused(ErrorCode::kForeign, "another cluster");
    fs::remove(data("global/pg_control"));
    refused(ErrorCode::kConflict, "no data directory");
    fs::remove_all(data());
    put(data("precious"), as_view("mine"));
    refused(ErrorCode::kConflict, "no data directory");
}

TEST_F(RestoreDeltaTest, a_backup_that_lacks_a_pack_changes_nothing) {
    const std::string id = back_up_all();
    restore_delta(id);
    put(data("base/5/16384"), some_bytes(100, 6));
    ASSERT_TRUE(stores[0]->remove({layout.pack(id, 0)}, never).empty());
    const auto before = everything();
    const Error error = delta_error(id);
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_NE(error.message().find(layout.pack(id, 0)), std::string::npos) << error.message();
    EXPECT_EQ(everything(), before);
    EXPECT_TRUE(can_start());
}

// Each request in turn is the last one that works: the directory cannot start, and the next restore makes it whole.
TEST_F(RestoreDeltaTest, one_that_was_interrupted_can_be_repeated) {
    const std::string id = back_up_all();
    const auto good_stores = repositories;
    const auto faulty = std::make_shared<FaultyStore>(stores[0]);
    const std::vector<std::shared_ptr<Repository>> failing{
        std::make_shared<Repository>(faulty, repositories[0]->document(), repositories[0]->url(), test::kCluster)};
    size_t interrupted = 0;
    for (uint64_t operation = 1;; ++operation) {
        restore_delta(id);
        put(data("base/5/16384"), some_bytes(3 * kMiB + 8192, 6));
        put(data("global/1262"), some_bytes(100, 6));
        put(data("base/5/99999"), as_view("x"));
        repositories = failing;
        faulty->fail_from(faulty->calls() + operation, FaultMoment::kBefore);
        bool failed = false;
        try {
            restore_delta(id);
        } catch (const Error &) {
            failed = true;
        }
        repositories = good_stores;
        if (!failed) {
            EXPECT_TRUE(can_start());
            break;
        }
        // Nothing was changed, or no server starts.
        if (can_start()) {
            EXPECT_TRUE(fs::exists(data("base/5/99999"))) << operation;
        } else {
            ++interrupted;
        }
        restore_delta(id);
        EXPECT_TRUE(can_start());
        EXPECT_TRUE(to_bytes(read(data("base/5/16384"))) == some_bytes(3 * kMiB + 8192, 1)) << operation;
        EXPECT_EQ(to_bytes(read(data("global/1262"))), some_bytes(16384, 3));
        EXPECT_FALSE(fs::exists(data("base/5/99999")));
        EXPECT_FALSE(fs::exists(data("global/pg_control.pgvigil")));
        ASSERT_LT(operation, 100U);
    }
    EXPECT_GE(interrupted, 3U);
}

TEST_F(RestoreDeltaTest, a_restore_that_was_interrupted_is_continued) {
    const std::string id = back_up_all();
    const Bytes wal = stores[0]->get(layout.wal_file("000000010000000000000001"), 64 * kMiB, never).value();
    ASSERT_TRUE(stores[0]->remove({layout.wal_file("000000010000000000000001")}, never).empty());
    (void)restore_error(id); // without --delta
    EXPECT_FALSE(can_start());
    ASSERT_EQ(stores[0]->put_new({.key = layout.wal_file("000000010000000000000001"), .body = wal}, never),
              PutOutcome::kStored);
    restore_delta(id);
    EXPECT_TRUE(can_start());
    EXPECT_EQ(last->bytes_fetched, 0U);
    EXPECT_GT(last->bytes_kept, 3 * kMiB);
}

} // namespace
} // namespace pgvigil
