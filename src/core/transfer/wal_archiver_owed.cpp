#include "transfer/wal_archiver_owed.h"

#include "base/error.h"
#include "base/signal_mask.h"
#include "transfer/wal_archiver_copy.h"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr auto kTick = std::chrono::seconds(1);
constexpr std::chrono::milliseconds kFirstWait{1000};
constexpr std::chrono::milliseconds kLongestWait{60000};
constexpr uint64_t kCompactLines = 10000;

} // namespace

WalOwed::WalOwed(const Repositories &repositories, const WalWriter &writer, std::string journal, LogSink &log,
                 std::function<void()> tick)
    : repositories_(repositories), writer_(writer), journal_path_(std::move(journal)), log_(log),
      tick_(std::move(tick)), debts_(repositories.size()) {
    if (!journal_path_.empty())
        load();
    const SignalsBlocked blocked;
    thread_ = std::thread([this] { run(); });
}

WalOwed::~WalOwed() {
    stop();
    thread_.join();
    if (journal_ >= 0)
        close(journal_);
}

void WalOwed::stop() noexcept {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    cancel_.cancel();
    changed_.notify_all();
}

// Lines "+<repository id> <key>" and "-<repository id> <key>"; one that a crash cut short is passed over.
void WalOwed::load() {
    std::ifstream in(journal_path_);
    for (std::string line; std::getline(in, line);) {
        const size_t space = line.find(' ');
        if (space == std::string::npos || in.eof())
            continue;
        const std::string id = line.substr(1, space - 1);
        for (size_t i = 0; i < repositories_.size(); ++i) {
            if (to_string(repositories_[i]->id()) != id)
                continue;
            if (line[0] == '+')
                debts_[i].keys[line.substr(space + 1)] = true;
            else
                debts_[i].keys.erase(line.substr(space + 1));
        }
    }
    for (Debt &debt : debts_)
        debt.behind = !debt.keys.empty();
    compact();
}

// Replaces the journal by one that holds only what is owed now.
void WalOwed::compact() {
    const std::string next = journal_path_ + ".new";
    const int file = open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0)
        throw system_error(fmt::format("could not create \"{}\"", next), errno);
    if (journal_ >= 0)
        close(journal_);
    journal_ = file;
    journal_lines_ = 0;
    for (size_t i = 0; i < debts_.size(); ++i)
        for (const auto &[key, ready] : debts_[i].keys)
            note('+', i, key, false);
    if (fdatasync(file) != 0 || rename(next.c_str(), journal_path_.c_str()) != 0)
        throw system_error(fmt::format("could not write \"{}\"", journal_path_), errno);
}

void WalOwed::note(char sign, size_t repository, const std::string &key, bool sync) {
    if (journal_ < 0)
        return;
    const std::string line = fmt::format("{}{} {}\n", sign, to_string(repositories_[repository]->id()), key);
    if (write(journal_, line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
        (sync && fdatasync(journal_) != 0))
        throw system_error(fmt::format("could not write \"{}\"", journal_path_), errno);
    ++journal_lines_;
}

void WalOwed::add(size_t repository, const std::string &key, bool ready) {
    const std::lock_guard lock(mutex_);
    Debt &debt = debts_[repository];
    note('+', repository, key, ready);
    debt.keys[key] = ready;
    debt.behind = debt.behind || ready;
    changed_.notify_all();
}

void WalOwed::settle(size_t repository, const std::string &key, bool stored) {
    const std::lock_guard lock(mutex_);
    Debt &debt = debts_[repository];
    if (!stored) {
        debt.keys[key] = true;
        debt.behind = true;
        changed_.notify_all();
        return;
    }
    debt.keys.erase(key);
    if (debt.keys.empty())
        debt.behind = false;
    if (journal_lines_ > kCompactLines)
        compact();
    else
        note('-', repository, key, false);
}

bool WalOwed::behind(size_t repository) const {
    const std::lock_guard lock(mutex_);
    return debts_[repository].behind;
}

uint64_t WalOwed::retries() const {
    const std::lock_guard lock(mutex_);
    return retries_;
}

std::vector<WalOwedFiles> WalOwed::summary() const {
    const std::lock_guard lock(mutex_);
    std::vector<WalOwedFiles> result;
    for (size_t i = 0; i < debts_.size(); ++i)
        if (!debts_[i].keys.empty()) {
            const std::string &first = debts_[i].keys.begin()->first;
            result.push_back({repositories_[i]->url(), debts_[i].keys.size(), first.substr(first.rfind('/') + 1)});
        }
    return result;
}

void WalOwed::run() {
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            changed_.wait_for(lock, kTick, [this] { return stopping_; });
            if (stopping_)
                return;
        }
        tick_();
        for (size_t i = 0; i < repositories_.size(); ++i)
            fill(i);
    }
}

std::vector<std::string> WalOwed::due(size_t repository) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> keys;
    const Debt &debt = debts_[repository];
    if (std::chrono::steady_clock::now() < debt.not_before)
        return keys;
    for (const auto &[key, ready] : debt.keys)
        if (ready)
            keys.push_back(key);
    return keys;
}

void WalOwed::put_off(size_t repository) {
    const std::lock_guard lock(mutex_);
    Debt &debt = debts_[repository];
    ++retries_;
    const unsigned doublings = std::min(debt.failures++, 6U);
    debt.not_before = std::chrono::steady_clock::now() + std::min(kFirstWait * (1 << doublings), kLongestWait);
}

// Copies what one repository lacks until it fails or the thread is to stop. A file it refuses holds up no other.
void WalOwed::fill(size_t repository) {
    bool refused = false;
    for (const std::string &key : due(repository)) {
        if (cancel_.is_cancelled())
            return;
        const Filled filled = fill_one(repository, key);
        if (filled == Filled::kFailed) {
            put_off(repository);
            return;
        }
        refused = refused || filled == Filled::kRefused;
    }
    if (refused) {
        put_off(repository);
        return;
    }
    const std::lock_guard lock(mutex_);
    if (debts_[repository].keys.empty())
        debts_[repository].failures = 0;
}

WalOwed::Filled WalOwed::fill_one(size_t repository, const std::string &key) {
    try {
        if (!copy_one(repository, key))
            return Filled::kFailed;
        settle(repository, key, true);
        return Filled::kYes;
    } catch (const Error &error) {
        if (error.code() != ErrorCode::kCancelled)
            log_.emit(LogLevel::kWarning,
                      fmt::format("could not fill in \"{}\" in \"{}\": {}", key, repositories_[repository]->url(),
                                  error.message()),
                      error.detail());
        return error.code() == ErrorCode::kConflict ? Filled::kRefused : Filled::kFailed;
    }
}

std::vector<size_t> WalOwed::sources_for(size_t repository, const std::string &key) const {
    const std::lock_guard lock(mutex_);
    std::vector<size_t> sources;
    for (size_t i = 0; i < repositories_.size(); ++i)
        if (i != repository && !debts_[i].keys.contains(key))
            sources.push_back(i);
    return sources;
}

// False when it failed in a way that was not thrown: no source could be read.
bool WalOwed::copy_one(size_t repository, const std::string &key) {
    bool absent_everywhere = true;
    for (const size_t source : sources_for(repository, key)) {
        try {
            if (copy_wal_object(*repositories_[source], *repositories_[repository], key, writer_, cancel_))
                return true;
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kConflict)
                throw;
            absent_everywhere = false;
            log_.emit(LogLevel::kDebug, fmt::format("could not copy \"{}\"", key), error.message());
        }
    }
    if (!absent_everywhere)
        return false;
    log_.emit(
        LogLevel::kWarning,
        fmt::format("\"{}\" lacks \"{}\", which no repository holds any more", repositories_[repository]->url(), key),
        {});
    return true;
}

} // namespace pgvigil
