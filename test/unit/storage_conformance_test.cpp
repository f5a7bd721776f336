// One suite over every kind of store and every decorator: what ObjectStore promises.

#include "base/random.h"
#include "base/time.h"
#include "storage/faulty_store.h"
#include "storage/memory/memory_store.h"
#include "storage/posix/posix_store.h"
#include "storage/retrying_store.h"
#include "storage/throttled_store.h"
#include "storage_test_support.h"

#include <algorithm>
#include <atomic>
#include <fmt/format.h>
#include <functional>
#include <set>
#include <thread>

namespace pgvigil {
namespace {

using test::error_of;
using test::get;
using test::put;

struct Subject {
    // Goes after the store.
    std::unique_ptr<test::TemporaryDirectory> directory;
    std::unique_ptr<ObjectStore> store;
};

struct Kind {
    std::string name;
    std::function<Subject()> make;
};

std::vector<Kind> kinds() {
    return {
        {"memory", [] { return Subject{nullptr, std::make_unique<MemoryStore>()}; }},
        {"posix",
         [] {
             auto directory = std::make_unique<test::TemporaryDirectory>();
             auto store = std::make_unique<PosixStore>(directory->path() + "/not/yet", "file://test", null_log());
             return Subject{std::move(directory), std::move(store)};
         }},
        {"retrying",
         [] {
             return Subject{
                 nullptr, std::make_unique<RetryingStore>(std::make_unique<MemoryStore>(), RetryPolicy{}, null_log())};
         }},
        {"throttled",
         [] {
             auto limiter = std::make_shared<RateLimiter>(uint64_t{1} << 40);
             return Subject{nullptr,
                            std::make_unique<ThrottledStore>(std::make_unique<MemoryStore>(), std::move(limiter))};
         }},
        {"faulty", [] { return Subject{nullptr, std::make_unique<FaultyStore>(std::make_shared<MemoryStore>())}; }},
        {"s3",
         [] {
             const auto server = test::s3_server();
             return Subject{nullptr, server ? test::open_s3(test::s3_url(*server), *server) : nullptr};
         }},
        {"s3_virtual_host",
         [] {
             const auto server = test::s3_server();
             if (!server)
                 return Subject{};
             const std::string url = fmt::format("s3://{}/{}?endpoint={}&path_style=off&ca_file={}", server->bucket,
                                                 test::fresh_prefix(), server->virtual_endpoint, server->ca_file);
             return Subject{nullptr, test::open_s3(url, *server)};
         }},
    };
}

class StoreConformance : public testing::TestWithParam<Kind> {
  protected:
    void SetUp() override {
        subject_ = GetParam().make();
        if (!subject_.store)
            GTEST_SKIP() << test::kNoS3Server;
    }
    [[nodiscard]] ObjectStore &store() { return *subject_.store; }

    // Every page of a listing, joined; checks what holds for each page.
    ListPage list_all(std::string_view prefix, bool directories, size_t limit, std::string_view start_after = "") {
        ListPage all;
        std::string previous(start_after);
        for_each_page(store(), {prefix, directories, start_after, limit}, never_, [&](const ListPage &page) {
            EXPECT_LE(page.objects.size() + page.directories.size(), limit);
            std::vector<std::string> entries = page.directories;
            for (const ObjectInfo &object : page.objects)
                entries.push_back(object.key);
            std::sort(entries.begin(), entries.end());
            EXPECT_TRUE(std::is_sorted(page.directories.begin(), page.directories.end()));
            EXPECT_TRUE(std::is_sorted(page.objects.begin(), page.objects.end(),
                                       [](const auto &a, const auto &b) { return a.key < b.key; }));
            if (!entries.empty()) {
                EXPECT_GT(entries.front(), previous);
                EXPECT_EQ(entries.back(), page.last);
                previous = entries.back();
            }
            all.objects.insert(all.objects.end(), page.objects.begin(), page.objects.end());
            all.directories.insert(all.directories.end(), page.directories.begin(), page.directories.end());
        });
        return all;
    }

    static std::vector<std::string> keys(const ListPage &page) {
        std::vector<std::string> keys;
        for (const ObjectInfo &object : page.objects)
            keys.push_back(object.key);
        return keys;
    }

    const CancelToken never_;
    Subject subject_;
};

using Strings = std::vector<std::string>;

TEST_P(StoreConformance, WhatWasPutIsRead) {
    EXPECT_EQ(put(store(), "a/b/c", "hello"), PutOutcome::kStored);
    EXPECT_EQ(get(store(), "a/b/c"), "hello");
    const auto info = store().head("a/b/c", never_);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->key, "a/b/c");
    EXPECT_EQ(info->size, 5U);
    EXPECT_NEAR(static_cast<double>(info->modified_ms), static_cast<double>(unix_time_ms()), 60000);
}

TEST_P(StoreConformance, AnEmptyObjectIsAnObject) {
    EXPECT_EQ(put(store(), "empty", ""), PutOutcome::kStored);
    EXPECT_EQ(get(store(), "empty"), "");
    EXPECT_EQ(store().get_range("empty", {0, 10}, never_), Bytes{});
    EXPECT_EQ(store().head("empty", never_)->size, 0U);
    EXPECT_EQ(put(store(), "empty", "x"), PutOutcome::kAlreadyExists);
}

TEST_P(StoreConformance, NothingIsEverReplaced) {
    EXPECT_EQ(put(store(), "key", "first"), PutOutcome::kStored);
    EXPECT_EQ(put(store(), "key", "second"), PutOutcome::kAlreadyExists);
    EXPECT_EQ(put(store(), "key", "first"), PutOutcome::kAlreadyExists);
    EXPECT_EQ(get(store(), "key"), "first");
}

TEST_P(StoreConformance, AbsentIsAValue) {
    EXPECT_EQ(get(store(), "absent"), std::nullopt);
    EXPECT_EQ(get(store(), "no/such/directory/absent"), std::nullopt);
    EXPECT_EQ(store().get_range("absent", {0, 1}, never_), std::nullopt);
    EXPECT_FALSE(store().head("absent", never_));
    EXPECT_TRUE(store().remove({"absent", "no/such"}, never_).empty());
    EXPECT_TRUE(list_all("", false, 10).objects.empty());
    ASSERT_EQ(put(store(), "there/is", "x"), PutOutcome::kStored);
    EXPECT_FALSE(store().head("there", never_));
    EXPECT_EQ(get(store(), "there"), std::nullopt);
    EXPECT_TRUE(list_all("elsewhere/", false, 10).objects.empty());
}

TEST_P(StoreConformance, RangesAreCutAtTheEnd) {
    ASSERT_EQ(put(store(), "key", "0123456789"), PutOutcome::kStored);
    const auto range = [&](uint64_t offset, uint64_t length) {
        const auto bytes = store().get_range("key", {offset, length}, never_);
        return bytes ? std::string(as_text(*bytes)) : "absent";
    };
    EXPECT_EQ(range(0, 10), "0123456789");
    EXPECT_EQ(range(0, 1), "0");
    EXPECT_EQ(range(3, 4), "3456");
    EXPECT_EQ(range(9, 1), "9");
    EXPECT_EQ(range(8, 100), "89");
    EXPECT_EQ(range(10, 1), "");
    EXPECT_EQ(range(1000, 5), "");
    EXPECT_EQ(range(5, UINT64_MAX), "56789");
}

TEST_P(StoreConformance, ALargeObjectIsRefusedBeforeItIsRead) {
    ASSERT_EQ(put(store(), "key", "0123456789"), PutOutcome::kStored);
    EXPECT_EQ(store().get("key", 10, never_)->size(), 10U);
    const Error error = error_of([&] { return store().get("key", 9, never_); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_NE(error.message().find("\"key\""), std::string::npos) << error.message();
    EXPECT_NE(error.message().find(store().display_name()), std::string::npos) << error.message();
}

TEST_P(StoreConformance, LargeBodiesKeepTheirBytes) {
    std::string body(17 * kMiB + 12345, '\0');
    uint32_t state = 1;
    for (char &c : body) {
        state = state * 1664525 + 1013904223;
        c = static_cast<char>(state >> 24);
    }
    EXPECT_EQ(put(store(), "large", body), PutOutcome::kStored);
    EXPECT_TRUE(get(store(), "large") == body);
    const auto middle = store().get_range("large", {5 * kMiB, 9 * kMiB}, never_);
    ASSERT_TRUE(middle);
    EXPECT_TRUE(as_text(*middle) == std::string_view(body).substr(5 * kMiB, 9 * kMiB));
}

TEST_P(StoreConformance, WeirdKeysComeBackAsTheyWere) {
    const Strings weird = {
        "a b",     "a+b",         "a%20b",         "a%b",       "a&b=c",     "a?b#c",       "a<b>\"c\"'d'",
        "ä/ö/ü",   "日本語/キー", "tilde~dash-_.", "a:b;c,d",   "(x)[y]{z}", "back\\slash", "star*",
        "at@home", "dollar$",     "x/.hidden",     "trailing ", "!"};
    for (const std::string &key : weird)
        EXPECT_EQ(put(store(), key, key), PutOutcome::kStored) << key;
    for (const std::string &key : weird)
        EXPECT_EQ(get(store(), key), key);
    Strings sorted = weird;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(keys(list_all("", false, 1000)), sorted);
    EXPECT_EQ(keys(list_all("", false, 1)), sorted);
    EXPECT_EQ(keys(list_all("a%", false, 7)), (Strings{"a%20b", "a%b"}));
    EXPECT_EQ(list_all("ä/", true, 7).directories, Strings{"ä/ö/"});
    EXPECT_TRUE(store().remove(weird, never_).empty());
    EXPECT_TRUE(list_all("", false, 10).objects.empty());
}

TEST_P(StoreConformance, InvalidKeysAreRefused) {
    for (const std::string_view key :
         {"", "/a", "a/", "a//b", ".", "a/../b", "./a", "a\nb", "a\x7f", "\xff", "\xc0\xaf", "a/.pgvigil-tmp-1"}) {
        EXPECT_EQ(error_of([&] { return put(store(), key, "x"); }).code(), ErrorCode::kInvalidArgument) << key;
        EXPECT_EQ(error_of([&] { return get(store(), key); }).code(), ErrorCode::kInvalidArgument) << key;
        EXPECT_EQ(error_of([&] { return store().head(key, never_); }).code(), ErrorCode::kInvalidArgument) << key;
    }
}

TEST_P(StoreConformance, KeysAreListedInByteOrderOfTheWholeKey) {
    // In a directory tree "a" would come before "a-b"; as keys "a-b" sorts before "a/x".
    const Strings sorted = {"a!", "a-b", "a.b", "a.c/d", "a/x", "a/y/z", "a0", "aa/b", "b"};
    Strings shuffled = sorted;
    std::reverse(shuffled.begin(), shuffled.end());
    for (const std::string &key : shuffled)
        ASSERT_EQ(put(store(), key, "x"), PutOutcome::kStored);
    for (const size_t limit : {1, 2, 3, 5, 9, 10, 1000}) {
        EXPECT_EQ(keys(list_all("", false, limit)), sorted) << limit;
        for (size_t i = 0; i < sorted.size(); ++i)
            EXPECT_EQ(keys(list_all("", false, limit, sorted[i])),
                      Strings(sorted.begin() + static_cast<ptrdiff_t>(i) + 1, sorted.end()));
    }
    EXPECT_EQ(keys(list_all("", false, 4, "a/")), (Strings{"a/x", "a/y/z", "a0", "aa/b", "b"}));
    EXPECT_EQ(keys(list_all("a/", false, 4)), (Strings{"a/x", "a/y/z"}));
    EXPECT_EQ(keys(list_all("a.", false, 4)), (Strings{"a.b", "a.c/d"}));
    EXPECT_EQ(keys(list_all("a/y", false, 4)), Strings{"a/y/z"});
    EXPECT_EQ(keys(list_all("a", false, 4, "a/y")), (Strings{"a/y/z", "a0", "aa/b"}));
    EXPECT_TRUE(keys(list_all("a/", false, 4, "a0")).empty());
}

TEST_P(StoreConformance, DirectoriesAreFolded) {
    for (const char *key : {"w/1/a", "w/1/b", "w/1-x", "w/2/c/d", "w/3", "w/4/e", "v", "x/y"})
        ASSERT_EQ(put(store(), key, "x"), PutOutcome::kStored);
    for (const size_t limit : {1, 2, 3, 100}) {
        const ListPage top = list_all("", true, limit);
        EXPECT_EQ(top.directories, (Strings{"w/", "x/"})) << limit;
        EXPECT_EQ(keys(top), Strings{"v"});
        const ListPage below = list_all("w/", true, limit);
        EXPECT_EQ(below.directories, (Strings{"w/1/", "w/2/", "w/4/"})) << limit;
        EXPECT_EQ(keys(below), (Strings{"w/1-x", "w/3"}));
        const ListPage after = list_all("w/", true, limit, "w/2/");
        EXPECT_EQ(after.directories, Strings{"w/4/"}) << limit;
        EXPECT_EQ(keys(after), Strings{"w/3"});
        // A folded directory sorts as its name does, so it lies before any key inside of it.
        EXPECT_EQ(list_all("w/", true, limit, "w/1/a").directories, (Strings{"w/2/", "w/4/"})) << limit;
        EXPECT_EQ(list_all("w/", true, limit, "w/1").directories, (Strings{"w/1/", "w/2/", "w/4/"})) << limit;
    }
    EXPECT_EQ(list_all("w", true, 10).directories, Strings{"w/"});
    EXPECT_TRUE(store().remove({"w/1/a", "w/1/b", "w/2/c/d"}, never_).empty());
    EXPECT_EQ(list_all("w/", true, 10).directories, Strings{"w/4/"});
}

TEST_P(StoreConformance, MoreThanAThousandKeysComeInPages) {
    Strings expected;
    std::vector<std::thread> threads;
    for (int i = 0; i < 1203; ++i)
        expected.push_back(fmt::format("many/{:03}/{:04}", i % 7, i));
    for (size_t thread = 0; thread < 4; ++thread)
        threads.emplace_back([&, thread] {
            for (size_t i = thread; i < expected.size(); i += 4)
                EXPECT_EQ(put(store(), expected[i], "x"), PutOutcome::kStored);
        });
    for (std::thread &thread : threads)
        thread.join();
    std::sort(expected.begin(), expected.end());
    const ListPage first = store().list({.prefix = "many/", .limit = 1000}, never_);
    EXPECT_TRUE(first.more);
    EXPECT_EQ(first.objects.size(), 1000U);
    EXPECT_EQ(keys(list_all("many/", false, 1000)), expected);
    EXPECT_EQ(keys(list_all("many/", false, 100000)), expected);
    EXPECT_EQ(list_all("many/", true, 1000).directories.size(), 7U);
    EXPECT_TRUE(store().remove(expected, never_).empty());
    EXPECT_TRUE(list_all("", false, 10).objects.empty());
}

TEST_P(StoreConformance, OfRacingCreatorsOneWins) {
    constexpr int kRounds = 10;
    constexpr int kThreads = 6;
    for (int round = 0; round < kRounds; ++round) {
        const std::string key = fmt::format("race/{}", round);
        std::atomic<int> stored{0};
        std::atomic<int> waiting{kThreads};
        std::vector<std::string> winner(kThreads);
        std::vector<std::thread> threads;
        for (int i = 0; i < kThreads; ++i)
            threads.emplace_back([&, i] {
                const std::string body =
                    fmt::format("body of {} {}", i, std::string(static_cast<size_t>(i) * 1000, 'x'));
                --waiting;
                while (waiting.load() > 0)
                    std::this_thread::yield();
                if (put(store(), key, body) == PutOutcome::kStored) {
                    ++stored;
                    winner[static_cast<size_t>(i)] = body;
                }
            });
        for (std::thread &thread : threads)
            thread.join();
        EXPECT_EQ(stored.load(), 1);
        const auto body = get(store(), key);
        ASSERT_TRUE(body);
        EXPECT_NE(std::find(winner.begin(), winner.end(), *body), winner.end()) << "a loser's bytes are stored";
    }
}

TEST_P(StoreConformance, ManyThreadsReadAndWriteAtOnce) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i)
        threads.emplace_back([&, i] {
            for (int j = 0; j < 20; ++j) {
                const std::string key = fmt::format("d{}/k{}", j % 3, i * 100 + j);
                EXPECT_EQ(put(store(), key, key), PutOutcome::kStored);
                EXPECT_EQ(get(store(), key), key);
                if (j % 2 == 0) {
                    EXPECT_TRUE(store().remove({key}, never_).empty());
                }
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(keys(list_all("", false, 7)).size(), 60U);
}

TEST_P(StoreConformance, ACancelledCallThrows) {
    ASSERT_EQ(put(store(), "key", "x"), PutOutcome::kStored);
    CancelToken cancel;
    cancel.cancel();
    EXPECT_EQ(error_of([&] { return store().get("key", 10, cancel); }).code(), ErrorCode::kCancelled);
    EXPECT_EQ(error_of([&] { return store().get_range("key", {0, 1}, cancel); }).code(), ErrorCode::kCancelled);
    EXPECT_EQ(error_of([&] { return store().head("key", cancel); }).code(), ErrorCode::kCancelled);
    EXPECT_EQ(error_of([&] { return store().list({}, cancel); }).code(), ErrorCode::kCancelled);
    EXPECT_EQ(error_of([&] { return store().remove({"key"}, cancel); }).code(), ErrorCode::kCancelled);
    EXPECT_EQ(error_of([&] {
                  return store().put_new({.key = "new", .body = as_view("x")}, cancel) == PutOutcome::kStored;
              }).code(),
              ErrorCode::kCancelled);
    EXPECT_EQ(get(store(), "new"), std::nullopt);
    EXPECT_EQ(get(store(), "key"), "x");
}

TEST_P(StoreConformance, TheClockIsTheStores) {
    ASSERT_EQ(put(store(), "key", "x"), PutOutcome::kStored);
    EXPECT_NEAR(static_cast<double>(store().clock_ms(never_)), static_cast<double>(unix_time_ms()), 5000);
}

INSTANTIATE_TEST_SUITE_P(Kinds, StoreConformance, testing::ValuesIn(kinds()),
                         [](const auto &info) { return info.param.name; });

} // namespace
} // namespace pgvigil
