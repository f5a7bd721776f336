#include "base/random.h"
#include "base/time.h"
#include "storage/open_store.h"
#include "storage/posix/posix_store.h"
#include "storage_test_support.h"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace pgvigil {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::get;
using test::put;

class PosixStoreTest : public testing::Test {
  protected:
    [[nodiscard]] std::string path(const std::string &relative) const { return directory_.path() + "/" + relative; }
    [[nodiscard]] std::unique_ptr<PosixStore> open(const std::string &relative = "repo") {
        return std::make_unique<PosixStore>(path(relative), "file://" + path(relative), log_);
    }
    [[nodiscard]] mode_t mode(const std::string &relative) const {
        struct stat status = {};
        EXPECT_EQ(stat(path(relative).c_str(), &status), 0) << relative;
        return status.st_mode & 07777;
    }

    const CancelToken never_;
    test::TemporaryDirectory directory_;
    test::RememberingLog log_;
};

TEST_F(PosixStoreTest, FilesAreForTheOwnerOnly) {
    const mode_t previous = umask(0);
    const auto store = open("a/b");
    EXPECT_EQ(put(*store, "c/d/e", "x"), PutOutcome::kStored);
    umask(previous);
    EXPECT_EQ(mode("a"), 0700U);
    EXPECT_EQ(mode("a/b"), 0700U);
    EXPECT_EQ(mode("a/b/c"), 0700U);
    EXPECT_EQ(mode("a/b/c/d/e"), 0600U);
}

TEST_F(PosixStoreTest, OpeningAndReadingCreateNothing) {
    const auto store = open("mistyped/path");
    EXPECT_EQ(get(*store, "key"), std::nullopt);
    EXPECT_FALSE(store->head("key", never_));
    EXPECT_TRUE(store->list({}, never_).objects.empty());
    EXPECT_TRUE(store->remove({"key"}, never_).empty());
    EXPECT_GT(store->clock_ms(never_), 0);
    EXPECT_FALSE(fs::exists(path("mistyped")));
}

TEST_F(PosixStoreTest, ADirectoryForEveryoneIsRefused) {
    fs::create_directory(path("repo"));
    ASSERT_EQ(chmod(path("repo").c_str(), 01777), 0);
    const Error error = error_of([&] { return open(); });
    EXPECT_EQ(error.code(), ErrorCode::kAccessDenied);
    EXPECT_NE(error.hint().find("chmod 0700"), std::string::npos);
    // Also when it changes later.
    ASSERT_EQ(chmod(path("repo").c_str(), 0700), 0);
    const auto store = open();
    ASSERT_EQ(chmod(path("repo").c_str(), 0777), 0);
    EXPECT_EQ(error_of([&] { return put(*store, "key", "x"); }).code(), ErrorCode::kAccessDenied);
}

TEST_F(PosixStoreTest, AGroupThatMayWriteIsWarnedAboutOnce) {
    fs::create_directory(path("repo"));
    ASSERT_EQ(chmod(path("repo").c_str(), 0770), 0);
    const auto store = open();
    EXPECT_EQ(put(*store, "key", "x"), PutOutcome::kStored);
    EXPECT_EQ(log_.warnings().size(), 1U);
}

TEST_F(PosixStoreTest, TemporaryFilesAreInvisibleAndHarmless) {
    const auto store = open();
    ASSERT_EQ(put(*store, "d/key", "x"), PutOutcome::kStored);
    std::ofstream(path("repo/d/.pgvigil-tmp-0123")) << "half written";
    std::ofstream(path("repo/.pgvigil-tmp-4567")) << "half written";
    const ListPage page = store->list({}, never_);
    ASSERT_EQ(page.objects.size(), 1U);
    EXPECT_EQ(page.objects[0].key, "d/key");
    EXPECT_EQ(put(*store, "d/key2", "x"), PutOutcome::kStored);
    // A directory with nothing but leftovers has no objects.
    EXPECT_TRUE(store->remove({"d/key", "d/key2"}, never_).empty());
    EXPECT_TRUE(store->list({.directories = true}, never_).directories.empty());
    EXPECT_TRUE(fs::exists(path("repo/d/.pgvigil-tmp-0123")));
    // A day later nobody can be writing it any more.
    fs::last_write_time(path("repo/d/.pgvigil-tmp-0123"), fs::file_time_type::clock::now() - std::chrono::hours(25));
    ASSERT_EQ(put(*store, "d/key", "x"), PutOutcome::kStored);
    EXPECT_TRUE(store->remove({"d/key"}, never_).empty());
    EXPECT_FALSE(fs::exists(path("repo/d")));
}

TEST_F(PosixStoreTest, NoTemporaryFileIsLeftBehind) {
    const auto store = open();
    ASSERT_EQ(put(*store, "key", "x"), PutOutcome::kStored);
    ASSERT_EQ(put(*store, "key", "y"), PutOutcome::kAlreadyExists);
    CancelToken cancel;
    cancel.cancel();
    EXPECT_EQ(error_of([&] {
                  return store->put_new({.key = "other", .body = as_view("x")}, cancel) == PutOutcome::kStored;
              }).code(),
              ErrorCode::kCancelled);
    static_cast<void>(store->clock_ms(never_));
    EXPECT_EQ(std::distance(fs::directory_iterator(path("repo")), fs::directory_iterator()), 1);
}

TEST_F(PosixStoreTest, EmptyDirectoriesGoWithTheirLastObject) {
    const auto store = open();
    ASSERT_EQ(put(*store, "a/b/c/one", "x"), PutOutcome::kStored);
    ASSERT_EQ(put(*store, "a/two", "x"), PutOutcome::kStored);
    EXPECT_TRUE(store->remove({"a/b/c/one"}, never_).empty());
    EXPECT_FALSE(fs::exists(path("repo/a/b")));
    EXPECT_TRUE(fs::exists(path("repo/a/two")));
    EXPECT_TRUE(store->remove({"a/two"}, never_).empty());
    EXPECT_TRUE(fs::exists(path("repo")));
    EXPECT_EQ(put(*store, "a/b/c/one", "again"), PutOutcome::kStored);
}

TEST_F(PosixStoreTest, AKeyBelowAKeyIsAnError) {
    const auto store = open();
    ASSERT_EQ(put(*store, "a", "x"), PutOutcome::kStored);
    const Error error = error_of([&] { return put(*store, "a/b", "x"); });
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(error.message().find("repo/a"), std::string::npos) << error.message();
    EXPECT_EQ(get(*store, "a"), "x");
}

TEST_F(PosixStoreTest, ADeniedWriteNamesThePath) {
    if (geteuid() == 0)
        GTEST_SKIP() << "root may write everywhere";
    fs::create_directory(path("repo"));
    ASSERT_EQ(chmod(path("repo").c_str(), 0500), 0);
    const auto store = open();
    const Error error = error_of([&] { return put(*store, "key", "x"); });
    EXPECT_EQ(error.code(), ErrorCode::kAccessDenied);
    EXPECT_NE(error.message().find(path("repo")), std::string::npos) << error.message();
    ASSERT_EQ(chmod(path("repo").c_str(), 0700), 0);
}

TEST_F(PosixStoreTest, ADirectoryThatIsReplacedWhileInUseIsRefused) {
    // A renamed directory stands for one that is unmounted.
    const auto store = open();
    ASSERT_EQ(put(*store, "key", "x"), PutOutcome::kStored);
    fs::rename(path("repo"), path("moved"));
    EXPECT_EQ(error_of([&] { return get(*store, "key"); }).code(), ErrorCode::kForeign);
    EXPECT_EQ(error_of([&] { return put(*store, "key2", "x"); }).code(), ErrorCode::kForeign);
    EXPECT_FALSE(fs::exists(path("repo")));
    fs::create_directory(path("repo"));
    EXPECT_EQ(error_of([&] { return put(*store, "key2", "x"); }).code(), ErrorCode::kForeign);
    EXPECT_TRUE(fs::is_empty(path("repo")));
    fs::remove(path("repo"));
    fs::rename(path("moved"), path("repo"));
    EXPECT_EQ(get(*store, "key"), "x");
}

TEST_F(PosixStoreTest, OpenStoreRefusesARepositoryInsideOfTheCluster) {
    fs::create_directories(path("pgdata/base"));
    fs::create_symlink(path("pgdata"), path("link"));
    StoreOptions options;
    options.forbidden_directories = {path("pgdata")};
    for (const char *inside : {"pgdata", "pgdata/backups/x", "link/base"}) {
        const Error error =
            error_of([&] { return open_store(parse_repository_url("file://" + path(inside)), options); });
        EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << inside;
        EXPECT_NE(error.message().find("lies inside of"), std::string::npos);
    }
    EXPECT_NE(open_store(parse_repository_url("file://" + path("pgdata2")), options), nullptr);
}

TEST_F(PosixStoreTest, AFullFileSystemSaysSoAndLeavesNothing) {
    const std::string full = path("full");
    fs::create_directory(full);
    if (geteuid() != 0 || mount("tmpfs", full.c_str(), "tmpfs", 0, "size=1m,mode=0700") != 0)
        GTEST_SKIP() << "mounting a small file system needs root";
    {
        const auto store = open("full");
        ASSERT_EQ(put(*store, "small", "x"), PutOutcome::kStored);
        const Error error = error_of([&] { return put(*store, "large", std::string(2 * kMiB, 'x')); });
        EXPECT_EQ(error.code(), ErrorCode::kDiskFull);
        EXPECT_EQ(get(*store, "large"), std::nullopt);
        EXPECT_EQ(std::distance(fs::directory_iterator(full), fs::directory_iterator()), 1);
    }
    EXPECT_EQ(umount(full.c_str()), 0);
}

// Makes a system call fail in the calling thread, as a file system that lacks it would.
void refuse_system_call(long number, int error_number) {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error_number)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program = {static_cast<unsigned short>(std::size(code)), code};
    ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST_F(PosixStoreTest, WithoutHardLinksRenamingKeepsThePromise) {
    const auto store = open();
    std::thread([&] {
        refuse_system_call(SYS_linkat, EPERM);
        EXPECT_EQ(put(*store, "d/key", "first"), PutOutcome::kStored);
        EXPECT_EQ(put(*store, "d/key", "second"), PutOutcome::kAlreadyExists);
        EXPECT_EQ(get(*store, "d/key"), "first");
        EXPECT_EQ(std::distance(fs::directory_iterator(path("repo/d")), fs::directory_iterator()), 1);
    }).join();
}

TEST_F(PosixStoreTest, AFileSystemWithoutAnyCreateOnlyStepIsRefused) {
    const auto store = open();
    std::thread([&] {
        refuse_system_call(SYS_linkat, EOPNOTSUPP);
        refuse_system_call(SYS_renameat2, EINVAL);
        const Error error = error_of([&] { return put(*store, "key", "x"); });
        EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
        EXPECT_NE(error.message().find(path("repo")), std::string::npos) << error.message();
        EXPECT_TRUE(fs::is_empty(path("repo")));
    }).join();
}

TEST_F(PosixStoreTest, ALinkWhoseAnswerWasLostIsOurs) {
    // Over NFS a repeated LINK request finds the name that the first one gave. Here another thread gives it, as soon as
    // the temporary file appears.
    const auto store = open();
    ASSERT_EQ(put(*store, "other", "x"), PutOutcome::kStored);
    const FileHandle watch(inotify_init1(IN_CLOEXEC));
    ASSERT_GE(inotify_add_watch(watch.get(), path("repo").c_str(), IN_CREATE), 0);
    std::thread server([&] {
        alignas(inotify_event) char buffer[4096];
        ASSERT_GT(read(watch.get(), buffer, sizeof(buffer)), 0);
        const auto *event = reinterpret_cast<const inotify_event *>(buffer);
        EXPECT_EQ(link(path("repo/" + std::string(event->name)).c_str(), path("repo/key").c_str()), 0);
    });
    const std::string body(64 * kMiB, 'x');
    EXPECT_EQ(put(*store, "key", body), PutOutcome::kStored);
    server.join();
    EXPECT_EQ(store->head("key", never_)->size, body.size());
    EXPECT_EQ(put(*store, "key", body), PutOutcome::kAlreadyExists);
}

TEST_F(PosixStoreTest, ListingsReadOnlyWhatAPageNeeds) {
    // Directories that a listing must not open are made unreadable; root opens everything, so it learns nothing here.
    if (geteuid() == 0)
        GTEST_SKIP() << "root may read everywhere";
    const auto store = open();
    for (const char *key : {"a/1", "b/1", "b/2", "c/1"})
        ASSERT_EQ(put(*store, key, "x"), PutOutcome::kStored);
    ASSERT_EQ(chmod(path("repo/a").c_str(), 0), 0);
    ASSERT_EQ(chmod(path("repo/c").c_str(), 0), 0);
    EXPECT_EQ(store->list({.prefix = "b/"}, never_).objects.size(), 2U);
    const ListPage page = store->list({.start_after = "a0", .limit = 1}, never_);
    ASSERT_EQ(page.objects.size(), 1U);
    EXPECT_EQ(page.objects[0].key, "b/1");
    ASSERT_EQ(chmod(path("repo/a").c_str(), 0700), 0);
    ASSERT_EQ(chmod(path("repo/c").c_str(), 0700), 0);
}

} // namespace
} // namespace pgvigil
