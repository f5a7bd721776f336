// Enumerates the histories of a few processes that share a store: every order of their store operations, and at every
// operation a crash, a failure, or an answer that is lost after the effect. The processes are the real code in threads,
// of which one runs at a time; a history is a list of decisions, replayed from the beginning.
// Threading: explore() is called by one thread; processes call the store that they were given.
#pragma once

#include "base/error.h"
#include "storage/memory/memory_store.h"

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace pgvigil::test {

// What ends a process's life in the middle of an operation.
struct Crash {};

enum class Mishap { kNone, kCrashBefore, kCrashAfter, kFailBefore, kAnswerLost };

class ModelStage {
  public:
    struct Limits {
        unsigned switches = 4; // from one process to another that could have gone on
        unsigned mishaps = 1;
    };
    // A process: called with a store of its own; lives again by being written as a loop that catches Crash.
    using Process = std::function<void(const std::shared_ptr<ObjectStore> &store)>;
    struct World {
        std::shared_ptr<MemoryStore> memory;
        std::vector<Process> processes;
        std::function<void()> check; // after every operation with an effect, while all processes stand still
    };

    explicit ModelStage(Limits limits) : limits_(limits) {}

    // Makes a world for each history and runs it; returns how many there were.
    uint64_t explore(const std::function<World()> &make_world) {
        uint64_t histories = 0;
        decisions_.clear();
        do {
            run(make_world());
            ++histories;
        } while (next_history());
        return histories;
    }
    // The decisions of the history that runs now, to tell it by.
    [[nodiscard]] std::string describe() const {
        std::string text;
        for (const Decision &decision : decisions_)
            text += decision.options[decision.chosen].name + " ";
        return text;
    }

  private:
    struct Option {
        size_t process = 0;
        Mishap mishap = Mishap::kNone;
        std::string name;
    };
    struct Decision {
        std::vector<Option> options;
        size_t chosen = 0;
    };
    struct Player {
        std::thread thread;
        bool waiting = false; // before an operation
        bool ended = false;
        bool may_go = false;
        Mishap mishap = Mishap::kNone;
    };

    class Store : public MemoryStore {
      public:
        Store(ModelStage &stage, size_t process, std::shared_ptr<MemoryStore> memory)
            : MemoryStore("model:"), stage_(stage), process_(process), memory_(std::move(memory)) {}
        PutOutcome put_new(const PutRequest &request, const CancelToken &cancel) override {
            return run([&] { return memory_->put_new(request, cancel); }, true);
        }
        std::optional<Bytes> get(std::string_view key, uint64_t limit, const CancelToken &cancel) override {
            return run([&] { return memory_->get(key, limit, cancel); }, false);
        }
        std::optional<Bytes> get_range(std::string_view key, ByteRange range, const CancelToken &cancel) override {
            return run([&] { return memory_->get_range(key, range, cancel); }, false);
        }
        std::optional<ObjectInfo> head(std::string_view key, const CancelToken &cancel) override {
            return run([&] { return memory_->head(key, cancel); }, false);
        }
        ListPage list(const ListRequest &request, const CancelToken &cancel) override {
            return run([&] { return memory_->list(request, cancel); }, false);
        }

      private:
        template <class Effect> std::invoke_result_t<Effect> run(Effect &&effect, bool changes) {
            const Mishap mishap = stage_.wait_for_turn(process_);
            if (mishap == Mishap::kCrashBefore)
                throw Crash{};
            if (mishap == Mishap::kFailBefore)
                throw Error(ErrorCode::kUnavailable, "no answer").retryable();
            auto result = effect();
            if (changes)
                stage_.world_.check();
            if (mishap == Mishap::kCrashAfter)
                throw Crash{};
            if (mishap == Mishap::kAnswerLost)
                throw Error(ErrorCode::kUnavailable, "answer lost").retryable();
            return result;
        }
        ModelStage &stage_;
        const size_t process_;
        const std::shared_ptr<MemoryStore> memory_;
    };

    Mishap wait_for_turn(size_t process) {
        std::unique_lock lock(mutex_);
        Player &player = *players_[process];
        player.waiting = true;
        changed_.notify_all();
        changed_.wait(lock, [&] { return player.may_go; });
        player.may_go = false;
        player.waiting = false;
        return player.mishap;
    }

    void run(World world) {
        world_ = std::move(world);
        players_.clear();
        for (size_t i = 0; i < world_.processes.size(); ++i)
            players_.push_back(std::make_unique<Player>());
        step_ = 0;
        switches_ = mishaps_ = 0;
        for (size_t i = 0; i < players_.size(); ++i) {
            // One after the other up to its first operation, so that a history is the same each time.
            players_[i]->thread = std::thread([this, i] {
                world_.processes[i](std::make_shared<Store>(*this, i, world_.memory));
                const std::lock_guard lock(mutex_);
                players_[i]->ended = true;
                changed_.notify_all();
            });
            wait_until_still(i);
        }
        size_t last = 0;
        while (const Option *option = decide(last)) {
            last = option->process;
            {
                const std::lock_guard lock(mutex_);
                players_[last]->mishap = option->mishap;
                players_[last]->may_go = true;
                players_[last]->waiting = false;
                changed_.notify_all();
            }
            wait_until_still(last);
        }
        for (auto &player : players_)
            player->thread.join();
    }

    void wait_until_still(size_t process) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return players_[process]->waiting || players_[process]->ended; });
    }

    // nullptr when all processes have ended.
    const Option *decide(size_t last) {
        if (step_ == decisions_.size()) {
            Decision decision;
            const bool goes_on = !players_[last]->ended;
            for (size_t i = 0; i < players_.size(); ++i) {
                const size_t process = (last + i) % players_.size();
                if (players_[process]->ended || (process != last && goes_on && switches_ == limits_.switches))
                    continue;
                for (const Mishap mishap : {Mishap::kNone, Mishap::kCrashBefore, Mishap::kCrashAfter,
                                            Mishap::kFailBefore, Mishap::kAnswerLost})
                    if (mishap == Mishap::kNone || mishaps_ < limits_.mishaps)
                        decision.options.push_back({process, mishap, name_of(process, mishap)});
            }
            if (decision.options.empty())
                return nullptr;
            decisions_.push_back(std::move(decision));
        }
        const Decision &decision = decisions_[step_++];
        const Option &option = decision.options[decision.chosen];
        if (option.process != last && !players_[last]->ended)
            ++switches_;
        if (option.mishap != Mishap::kNone)
            ++mishaps_;
        return &option;
    }

    static std::string name_of(size_t process, Mishap mishap) {
        static constexpr const char *kSigns[] = {"", "!before", "!after", "?before", "?after"};
        return std::string(1, static_cast<char>('A' + process)) + kSigns[static_cast<size_t>(mishap)];
    }

    bool next_history() {
        decisions_.resize(step_);
        while (!decisions_.empty() && ++decisions_.back().chosen == decisions_.back().options.size())
            decisions_.pop_back();
        return !decisions_.empty();
    }

    const Limits limits_;
    World world_;
    std::vector<std::unique_ptr<Player>> players_;
    std::vector<Decision> decisions_;
    size_t step_ = 0;
    unsigned switches_ = 0;
    unsigned mishaps_ = 0;
    std::mutex mutex_;
    std::condition_variable changed_;
};

} // namespace pgvigil::test
