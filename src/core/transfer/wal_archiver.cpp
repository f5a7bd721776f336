#include "transfer/wal_archiver.h"

#include "crypto/sha256_pair.h"
#include "transfer/wal_archiver_state.h"

#include <algorithm>
#include <thread>

namespace pgvigil {

namespace {

// A thread that encodes keeps one piece of plain bytes; two thirds of the memory stay for what is being uploaded.
size_t encoder_count(const WalArchiverOptions &options) {
    const uint64_t piece = std::min(options.segment_size, kWalPartBytes);
    const size_t by_memory = std::max<uint64_t>(1, options.memory_limit / (3 * std::max<uint64_t>(piece, 1)));
    const size_t processors = std::max(1U, std::thread::hardware_concurrency());
    return std::min({by_memory, processors, static_cast<size_t>(options.look_ahead)});
}

bool may_pair(const WalArchiverOptions &options, size_t encoders) {
    return sha256_pair_is_faster() && options.segment_size <= kWalPartBytes &&
           encoders * 2 * options.segment_size <= options.memory_limit / 2;
}

uint64_t body_budget(const WalArchiverOptions &options, size_t encoders) {
    const uint64_t plain =
        encoders * std::min(options.segment_size, kWalPartBytes) * (may_pair(options, encoders) ? 2 : 1);
    return options.memory_limit > plain ? options.memory_limit - plain : 0;
}

WalArchiverOptions checked(WalArchiverOptions options, size_t repositories) {
    if (repositories == 0)
        throw Error(ErrorCode::kInvalidArgument, "no repository to archive to");
    if (options.look_ahead == 0)
        throw Error(ErrorCode::kInvalidArgument, "invalid archive look-ahead: 0").detail("It must be at least 1.");
    if (options.required > repositories)
        throw Error(ErrorCode::kInvalidArgument,
                    "a file cannot be required in " + std::to_string(options.required) + " repositories")
            .detail("There are " + std::to_string(repositories) + ".");
    return options;
}

} // namespace

WalArchiver::State::State(WalArchiverOptions wanted, std::vector<std::shared_ptr<Repository>> stores, LogSink &sink)
    : options(checked(std::move(wanted), stores.size())), repositories(std::move(stores)), log(sink),
      required(options.required == 0 ? repositories.size() : options.required), encoder_threads(encoder_count(options)),
      pairs(may_pair(options, encoder_threads)),
      writer{options.epoch, options.epoch_start, options.epoch_timeline, options.segment_size},
      encoding{options.compression, ClusterLayout(options.system_identifier), options.segment_size, options.epoch,
               repositories.size() > 1},
      source(options.wal_directory, options.system_identifier, options.segment_size, options.page_magic),
      budget(body_budget(options, encoder_threads)), bodies(options.look_ahead) {
    if (repositories.size() > 1)
        owed = std::make_unique<WalOwed>(repositories, writer, options.owed_file, log, [this] { give_up_lingering(); });
    for (size_t i = 0; i < repositories.size(); ++i)
        uploaders.push_back(std::make_unique<ThreadPool>(options.look_ahead));
    hasher = std::make_unique<ThreadPool>(1);
    encoders = std::make_unique<ThreadPool>(encoder_threads);
}

WalArchiver::State::~State() {
    {
        const std::lock_guard lock(mutex);
        stopping = true;
        for (const auto &[name, job] : jobs)
            job->cancel.cancel();
        for (const WalJobPtr &job : lingering)
            job->cancel.cancel();
    }
    budget.stop();
    if (owed != nullptr)
        owed->stop();
    encoders.reset();
    uploaders.clear();
    owed.reset();
}

WalArchiver::WalArchiver(WalArchiverOptions options, std::vector<std::shared_ptr<Repository>> repositories,
                         LogSink &log)
    : state_(std::make_unique<State>(std::move(options), std::move(repositories), log)) {}

WalArchiver::~WalArchiver() = default;

bool WalArchiver::submit(const std::string &name) {
    WalJobPtr job;
    {
        const std::lock_guard lock(state_->mutex);
        if (state_->jobs.contains(name))
            return true;
        if (state_->pending >= state_->options.look_ahead)
            return false;
        job = std::make_shared<WalJob>();
        job->name = name;
        state_->choose_targets(*job);
        state_->jobs.emplace(name, job);
        state_->ready.push_back(job);
        ++state_->pending;
    }
    state_->encoders->submit([state = state_.get()] { state->prepare_next(); });
    return true;
}

WalFileState WalArchiver::state(const std::string &name) const {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->jobs.find(name);
    return found == state_->jobs.end() ? WalFileState::kUnknown : found->second->state;
}

std::optional<Error> WalArchiver::failure(const std::string &name) const {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->jobs.find(name);
    return found == state_->jobs.end() ? std::nullopt : found->second->failure;
}

std::optional<int64_t> WalArchiver::last_transaction_us(const std::string &name) const {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->jobs.find(name);
    return found == state_->jobs.end() ? std::nullopt : found->second->last_time_us;
}

void WalArchiver::forget(const std::string &name) {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->jobs.find(name);
    if (found != state_->jobs.end() && found->second->state != WalFileState::kPending)
        state_->jobs.erase(found);
}

std::vector<WalOwedFiles> WalArchiver::owed() const {
    return state_->owed == nullptr ? std::vector<WalOwedFiles>() : state_->owed->summary();
}

int WalArchiver::event_fd() const noexcept {
    return state_->event.fd();
}

void WalArchiver::clear_event() noexcept {
    state_->event.clear();
}

WalArchiverCounters WalArchiver::counters() const {
    const std::lock_guard lock(state_->mutex);
    WalArchiverCounters counters = state_->counters;
    if (state_->owed != nullptr)
        counters.retries = state_->owed->retries();
    return counters;
}

} // namespace pgvigil
