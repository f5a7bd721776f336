// The protocol of epochs and tails, checked over every small history of a writer that crashes and comes back, and of a
// copy of it that takes over on the same timeline.
#include "model_stage.h"
#include "tail_writer_support.h"

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <map>

namespace pgvigil::test {

namespace {

constexpr uint64_t kSegment = 1;
constexpr size_t kCommon = 100;    // bytes that both servers have
constexpr size_t kRecovered = 150; // where the first server's last complete record ends when it crashes
constexpr size_t kRead = 400;      // no more is ever shipped

// What the servers know of each other's acknowledgements, and what a reader must therefore find.
struct Promises {
    size_t first_life = 0;   // bytes acknowledged by A before a crash
    size_t second_life = 0;  // and after it
    size_t other = 0;        // by B
    bool taken_over = false; // B's epoch may be there
};

class TailModelTest : public TailWriterTest {
  protected:
    void SetUp() override {
        content_a = make_segment({.name = name_of(kSegment), .size = segment_size});
        content_a2 = content_a;
        content_b = content_a;
        std::fill(content_a2.begin() + kRecovered, content_a2.begin() + 4096, std::byte{'x'});
        std::fill(content_b.begin() + kCommon, content_b.begin() + 4096, std::byte{'b'});
        for (const auto &[name, content] : {std::pair("/a", &content_a), {"/a2", &content_a2}, {"/b", &content_b}}) {
            std::filesystem::create_directory(directory.path() + name);
            write_file(std::string(name).substr(1) + "/" + name_of(kSegment), *content);
        }
    }

    [[nodiscard]] TailWriterOptions life(const char *wal, uint64_t epoch, size_t end) const {
        TailWriterOptions options = tail_options(kSegment);
        options.wal_directory = directory.path() + "/" + wal;
        options.epoch = epoch;
        options.wal_end = at(kSegment, end);
        return options;
    }

    [[nodiscard]] std::shared_ptr<Repository> open(const std::shared_ptr<ObjectStore> &store,
                                                   const RepositoryDocument &document) const {
        return std::make_shared<Repository>(store, document, "model:", kSystemIdentifier);
    }

    // Ships to `goal`, looks whether a later epoch is there, and only then acknowledges. False: fenced.
    static bool ship_and_acknowledge(TailShipper &shipper, const Repository &repository, uint64_t epoch, Lsn goal,
                                     const std::function<void()> &acknowledge) {
        const CancelToken never;
        for (int tries = 0; tries < 5; ++tries) {
            try {
                while (shipper.position() < goal)
                    (void)shipper.step({goal, true}, never);
                if (!list_epochs(repository, epoch, never).empty())
                    return false;
                acknowledge();
                return true;
            } catch (const Error &error) {
                if (!error.is_retryable())
                    throw;
            }
        }
        return false;
    }

    static EpochDocument epoch_document(uint64_t number, char instance, Lsn lsn) {
        EpochDocument epoch;
        epoch.number = number;
        epoch.instance[0] = static_cast<std::byte>(instance);
        epoch.host = std::string(1, instance);
        epoch.timeline = 1;
        epoch.lsn = lsn;
        epoch.reason = "model";
        return epoch;
    }

    [[nodiscard]] bool is_prefix_of(const Bytes &bytes, const Bytes &content) const {
        return bytes.size() <= kRead && std::equal(bytes.begin(), bytes.end(), content.begin());
    }

    void check(const Repository &reader, const Promises &promises, const ModelStage &stage) const {
        const Bytes bytes = tail_bytes(reader, 1, segment_size, kSegment);
        const bool a = is_prefix_of(bytes, content_a);
        const bool a2 = is_prefix_of(bytes, content_a2);
        const bool b = is_prefix_of(bytes, content_b);
        ASSERT_TRUE(a || a2 || b) << "mixed: " << stage.describe();
        if (promises.other > 0) {
            ASSERT_TRUE(b) << stage.describe();
            ASSERT_GE(bytes.size(), promises.other) << stage.describe();
        } else if (!promises.taken_over) {
            ASSERT_TRUE(a || a2) << stage.describe();
            ASSERT_GE(bytes.size(), std::min(promises.first_life, kRecovered)) << stage.describe();
            if (promises.second_life > 0) {
                ASSERT_TRUE(a2) << stage.describe();
                ASSERT_GE(bytes.size(), promises.second_life) << stage.describe();
            }
        }
    }

    // The first server: lives until it crashes, then once more from what recovery left.
    ModelStage::Process writer(const RepositoryDocument &document, Promises &promises) {
        return [this, document, &promises](const std::shared_ptr<ObjectStore> &store) {
            const auto repository = open(store, document);
            try {
                TailShipper shipper(life("a", 1, kCommon), repository);
                for (const size_t goal : {size_t{120}, size_t{200}})
                    if (!ship_and_acknowledge(shipper, *repository, 1, at(kSegment, goal),
                                              [&] { promises.first_life = goal; }))
                        return;
            } catch (const Crash &) {
            }
            try {
                TailShipper shipper(life("a2", 1, 180), repository);
                for (const size_t goal : {size_t{180}, size_t{260}})
                    if (!ship_and_acknowledge(shipper, *repository, 1, at(kSegment, goal),
                                              [&] { promises.second_life = goal; }))
                        return;
            } catch (const Crash &) {
            }
        };
    }

    // Its copy: takes the next epoch, then writes.
    ModelStage::Process usurper(const RepositoryDocument &document, Promises &promises) {
        return [this, document, &promises](const std::shared_ptr<ObjectStore> &store) {
            const auto repository = open(store, document);
            for (int lives = 0; lives < 2; ++lives) {
                try {
                    promises.taken_over = true;
                    for (bool claimed = false; !claimed;) {
                        try {
                            claimed = !claim_epoch(*repository, epoch_document(2, 'b', at(kSegment, 0)), CancelToken());
                        } catch (const Error &) {
                        }
                    }
                    TailShipper shipper(life("b", 2, 130), repository);
                    for (const size_t goal : {size_t{130}, size_t{210}})
                        if (!ship_and_acknowledge(shipper, *repository, 2, at(kSegment, goal),
                                                  [&] { promises.other = goal; }))
                            return;
                    return;
                } catch (const Crash &) {
                }
            }
        };
    }

    uint64_t explore(ModelStage::Limits limits, bool with_usurper) {
        ModelStage stage(limits);
        auto promises = std::make_unique<Promises>();
        return stage.explore([&] {
            *promises = Promises();
            ModelStage::World world;
            world.memory = std::make_shared<MemoryStore>("model:");
            const RepositoryDocument document = create_repository_document(*world.memory, CancelToken());
            const auto reader = open(world.memory, document);
            EXPECT_FALSE(claim_epoch(*reader, epoch_document(1, 'a', at(kSegment, 0)), CancelToken()));
            world.processes.push_back(writer(document, *promises));
            if (with_usurper)
                world.processes.push_back(usurper(document, *promises));
            world.check = [this, reader, &promises, &stage] {
                if (!HasFatalFailure())
                    check(*reader, *promises, stage);
            };
            return world;
        });
    }

    Bytes content_a, content_a2, content_b;
};

// Two servers whose histories part in segment 1 and reach into segment 2; the second one takes over with both.
class TailModelTwoSegmentsTest : public TailModelTest {
  protected:
    void SetUp() override {
        TailModelTest::SetUp();
        for (const char *wal : {"a", "b"}) {
            Bytes next = make_segment({.name = name_of(kSegment + 1), .size = segment_size});
            std::fill(next.begin() + kCommon, next.begin() + 4096, std::byte(wal[0]));
            write_file(std::string(wal) + "/" + name_of(kSegment + 1), next);
            history[wal[0]] = wal[0] == 'a' ? content_a : content_b;
            history[wal[0]].insert(history[wal[0]].end(), next.begin(), next.end());
        }
    }

    // What a restore replays: a segment after the other, as far as they are whole.
    [[nodiscard]] Bytes replayed(const Repository &reader) const {
        Bytes bytes = tail_bytes(reader, 1, segment_size, kSegment);
        if (bytes.size() == segment_size) {
            const Bytes next = tail_bytes(reader, 1, segment_size, kSegment + 1);
            bytes.insert(bytes.end(), next.begin(), next.end());
        }
        return bytes;
    }

    ModelStage::Process server(char which, uint64_t epoch, size_t end_segment, const RepositoryDocument &document,
                               size_t &acknowledged) {
        return [=, this, &acknowledged](const std::shared_ptr<ObjectStore> &store) {
            const auto repository = open(store, document);
            for (int lives = 0; lives < 2; ++lives)
                try {
                    while (epoch > 1) {
                        try {
                            (void)claim_epoch(*repository, epoch_document(epoch, which, at(kSegment, 0)),
                                              CancelToken());
                            break;
                        } catch (const Error &) {
                        }
                    }
                    TailWriterOptions options = life(which == 'a' ? "a" : "b", epoch, 130);
                    options.wal_end = at(end_segment, 130);
                    TailShipper shipper(options, repository);
                    for (const Lsn goal : {at(kSegment, 140), at(kSegment + 1, 150)})
                        if (!ship_and_acknowledge(shipper, *repository, epoch, goal,
                                                  [&] { acknowledged = goal.value - segment_size; }))
                            return;
                    return;
                } catch (const Crash &) {
                }
        };
    }

    uint64_t explore_two(ModelStage::Limits limits) {
        ModelStage stage(limits);
        struct Acknowledged {
            size_t a = 0;
            size_t b = 0;
        } acknowledged;
        return stage.explore([&] {
            acknowledged = {};
            ModelStage::World world;
            world.memory = std::make_shared<MemoryStore>("model:");
            const RepositoryDocument document = create_repository_document(*world.memory, CancelToken());
            const auto reader = open(world.memory, document);
            EXPECT_FALSE(claim_epoch(*reader, epoch_document(1, 'a', at(kSegment, 0)), CancelToken()));
            world.processes.push_back(server('a', 1, kSegment, document, acknowledged.a));
            world.processes.push_back(server('b', 2, kSegment + 1, document, acknowledged.b));
            world.check = [this, reader, &acknowledged, &stage] {
                if (HasFatalFailure())
                    return;
                const Bytes bytes = replayed(*reader);
                const auto is_of = [&](char which) {
                    return bytes.size() <= history[which].size() &&
                           std::equal(bytes.begin(), bytes.end(), history[which].begin());
                };
                ASSERT_TRUE(is_of('a') || is_of('b')) << "mixed: " << stage.describe();
                if (acknowledged.b > 0) {
                    ASSERT_TRUE(is_of('b')) << stage.describe();
                    ASSERT_GE(bytes.size(), acknowledged.b) << stage.describe();
                } else if (list_epochs(*reader, 1, CancelToken()).empty()) {
                    ASSERT_GE(bytes.size(), acknowledged.a) << stage.describe();
                }
            };
            return world;
        });
    }

    std::map<char, Bytes> history;
};

bool long_mode() {
    return std::getenv("PGVIGIL_LONG_TESTS") != nullptr; // NOLINT(concurrency-mt-unsafe)
}

TEST_F(TailModelTest, CrashesAndLostAnswersOfOneWriter) {
    const uint64_t histories = explore({.switches = 0, .mishaps = long_mode() ? 3U : 2U}, false);
    RecordProperty("histories", std::to_string(histories));
    EXPECT_GT(histories, 1000U);
}

TEST_F(TailModelTest, ATakeOverAtAnyMoment) {
    const uint64_t histories = explore({.switches = long_mode() ? 6U : 3U, .mishaps = 0}, true);
    RecordProperty("histories", std::to_string(histories));
    EXPECT_GT(histories, 300U);
}

TEST_F(TailModelTest, ATakeOverAmongCrashesAndLostAnswers) {
    const uint64_t histories = explore({.switches = long_mode() ? 3U : 1U, .mishaps = 1}, true);
    RecordProperty("histories", std::to_string(histories));
    EXPECT_GT(histories, 1000U);
}

TEST_F(TailModelTwoSegmentsTest, ATakeOverAtAnyMoment) {
    const uint64_t histories = explore_two({.switches = long_mode() ? 4U : 2U, .mishaps = 0});
    RecordProperty("histories", std::to_string(histories));
    EXPECT_GT(histories, 100U);
}

TEST_F(TailModelTwoSegmentsTest, ATakeOverAmongCrashesAndLostAnswers) {
    const uint64_t histories = explore_two({.switches = long_mode() ? 2U : 0U, .mishaps = 1});
    RecordProperty("histories", std::to_string(histories));
    EXPECT_GT(histories, 50U);
}

} // namespace

} // namespace pgvigil::test
