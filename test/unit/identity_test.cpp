#include "repo/identity.h"

#include "base/error.h"
#include "postgres_cluster.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <thread>

namespace pgvigil {
namespace {

namespace fs = std::filesystem;

class IdentityFile : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "pgvigil-identity-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        root_ = pattern;
        data_ = (root_ / "data").string();
        fs::create_directory(data_);
    }
    void TearDown() override { fs::remove_all(root_); }

    [[nodiscard]] fs::path file() const { return fs::path(data_) / kIdentityFileName; }
    Identity create() {
        return update_identity(data_, [](Identity &identity) { identity.held_epoch = 7; }, cancel_);
    }

    fs::path root_;
    std::string data_;
    CancelToken cancel_;
};

TEST_F(IdentityFile, NoneThenOwn) {
    EXPECT_EQ(read_identity(data_).state, IdentityState::kNone);
    const Uuid repository = random_uuid();
    const Identity made = update_identity(
        data_,
        [&](Identity &identity) {
            identity.accept_repository("s3://bucket/caf\xe9", repository);
            identity.held_epoch = 3;
            identity.pending_epoch = 4;
            identity.registered_standby = true;
            identity.standby_epoch = 5;
            identity.standby_timeline = 6;
        },
        cancel_);
    const LocalIdentity read = read_identity(data_);
    EXPECT_EQ(read.state, IdentityState::kOwn);
    EXPECT_EQ(read.identity.instance, made.instance);
    EXPECT_EQ(read.identity.held_epoch, 3U);
    EXPECT_EQ(read.identity.pending_epoch, 4U);
    EXPECT_TRUE(read.identity.registered_standby);
    EXPECT_EQ(read.identity.standby_epoch, 5U);
    EXPECT_EQ(read.identity.standby_timeline, 6U);
    ASSERT_NE(read.identity.find_repository("s3://bucket/caf\xe9"), nullptr);
    EXPECT_EQ(read.identity.find_repository("s3://bucket/caf\xe9")->id, repository);
    EXPECT_EQ(read.identity.find_repository("s3://other"), nullptr);
}

TEST_F(IdentityFile, ModeAndNoLeftovers) {
    create();
    create();
    struct stat facts{};
    ASSERT_EQ(::stat(file().c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 07777, 0600U);
    EXPECT_EQ(facts.st_nlink, 1U);
    for (const auto &item : fs::directory_iterator(data_))
        EXPECT_TRUE(item.path().filename() == kIdentityFileName || item.path().filename() == kIdentityLockName)
            << item.path();
}

TEST_F(IdentityFile, ChangesKeepTheInstance) {
    const Identity first = create();
    const Identity second = update_identity(data_, [](Identity &identity) { identity.held_epoch += 1; }, cancel_);
    EXPECT_EQ(second.instance, first.instance);
    EXPECT_EQ(second.held_epoch, 8U);
    EXPECT_EQ(read_identity(data_).state, IdentityState::kOwn);
}

TEST_F(IdentityFile, EveryWayOfCopyingIsSeen) {
    const Identity original = create();
    const std::string copy = (root_ / "copy").string();
    ASSERT_EQ(std::system(("cp -a " + data_ + " " + copy).c_str()), 0);
    LocalIdentity read = read_identity(copy);
    EXPECT_EQ(read.state, IdentityState::kCopied);
    EXPECT_EQ(read.identity.instance, original.instance);
    EXPECT_EQ(read_identity(data_).state, IdentityState::kOwn);

    // As pg_rewind does: the bytes of another server's file written into this server's own.
    const std::string other = (root_ / "other").string();
    fs::create_directory(other);
    (void)update_identity(other, [](Identity &) {}, cancel_);
    ASSERT_EQ(std::system(("cat " + file().string() + " > " + other + "/" + std::string(kIdentityFileName)).c_str()),
              0);
    EXPECT_EQ(read_identity(other).state, IdentityState::kCopied);

    // Moving the directory is no copy.
    fs::rename(data_, root_ / "moved");
    EXPECT_EQ(read_identity((root_ / "moved").string()).state, IdentityState::kOwn);
}

TEST_F(IdentityFile, ACopyBecomesANewInstanceThatKeepsTheRepositories) {
    const Identity original = update_identity(
        data_,
        [](Identity &identity) {
            identity.accept_repository("file:///r", random_uuid());
            identity.held_epoch = 7;
            identity.registered_standby = true;
        },
        cancel_);
    const std::string copy = (root_ / "copy").string();
    ASSERT_EQ(std::system(("cp -a " + data_ + " " + copy).c_str()), 0);
    const Identity fresh = update_identity(copy, [](Identity &) {}, cancel_);
    EXPECT_NE(fresh.instance, original.instance);
    EXPECT_EQ(fresh.held_epoch, 0U);
    EXPECT_FALSE(fresh.registered_standby);
    ASSERT_EQ(fresh.repositories.size(), 1U);
    EXPECT_EQ(fresh.repositories[0].id, original.repositories[0].id);
    EXPECT_EQ(read_identity(copy).state, IdentityState::kOwn);
}

TEST_F(IdentityFile, RacingCreatorsAgreeAndLoseNothing) {
    constexpr uint64_t kThreads = 8;
    constexpr uint64_t kRounds = 10;
    std::vector<std::thread> threads;
    std::vector<Uuid> seen(kThreads);
    for (uint64_t i = 0; i < kThreads; ++i)
        threads.emplace_back([&, i] {
            const CancelToken cancel;
            for (uint64_t round = 0; round < kRounds; ++round)
                seen[i] = update_identity(data_, [](Identity &identity) { ++identity.held_epoch; }, cancel).instance;
        });
    for (std::thread &thread : threads)
        thread.join();
    const LocalIdentity last = read_identity(data_);
    EXPECT_EQ(last.identity.held_epoch, kThreads * kRounds);
    for (const Uuid &instance : seen)
        EXPECT_EQ(instance, last.identity.instance);
}

TEST_F(IdentityFile, DamageIsAnErrorThatNamesTheFile) {
    create();
    std::ofstream(file()) << "{ \"format\": 1, \"instance\": 5 }";
    try {
        (void)read_identity(data_);
        FAIL();
    } catch (const Error &error) {
        EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
        EXPECT_NE(error.message().find(file().string()), std::string::npos);
    }
    std::ofstream(file()) << "";
    EXPECT_THROW((void)read_identity(data_), Error);
    fs::remove(file());
    fs::create_symlink("/etc/passwd", file());
    EXPECT_THROW((void)read_identity(data_), Error);
    EXPECT_THROW((void)read_identity((root_ / "absent").string()), Error);
}

TEST_F(IdentityFile, WaitsForTheLockUntilCancelled) {
    std::thread canceller;
    (void)update_identity(
        data_,
        [&](Identity &) {
            CancelToken inner;
            canceller = std::thread([&inner] {
                std::this_thread::sleep_for(std::chrono::milliseconds(100));
                inner.cancel();
            });
            EXPECT_THROW((void)update_identity(data_, [](Identity &) { FAIL(); }, inner), Error);
            canceller.join();
        },
        cancel_);
}

} // namespace
} // namespace pgvigil
