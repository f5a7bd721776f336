// What became of a file: acknowledged, failed, or owed to some repositories.
#include "base/error.h"
#include "transfer/wal_archiver_state.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

namespace {

// How long an upload that is not required may go on behind its acknowledgement before it counts as owed: it holds
// memory that the next files need.
constexpr auto kLingerTime = std::chrono::seconds(10);

size_t count(const WalJob &job, WalTargetState state) {
    return static_cast<size_t>(
        std::count_if(job.targets.begin(), job.targets.end(), [&](const WalTarget &t) { return t.state == state; }));
}

} // namespace

// Repositories that are behind get the file later, unless they are needed for the acknowledgement.
void WalArchiver::State::choose_targets(WalJob &job) {
    job.targets.resize(repositories.size());
    if (required == repositories.size())
        return;
    size_t in_step = 0;
    for (size_t i = 0; i < repositories.size(); ++i)
        in_step += owed->behind(i) ? 0 : 1;
    if (in_step < required)
        return;
    for (size_t i = 0; i < repositories.size(); ++i)
        if (owed->behind(i))
            job.targets[i].state = WalTargetState::kSkipped;
}

bool WalArchiver::State::is_waiting(const WalJobPtr &job, size_t target) {
    const std::lock_guard lock(mutex);
    return job->targets[target].state == WalTargetState::kWaiting;
}

void WalArchiver::State::target_stored(const WalJobPtr &job, size_t target, const WalUploadResult &result) {
    const std::lock_guard lock(mutex);
    WalTarget &entry = job->targets[target];
    if (entry.state != WalTargetState::kWaiting)
        return;
    entry.state = WalTargetState::kStored;
    if (job->key.empty())
        job->key = result.key;
    if (job->state == WalFileState::kDone)
        owed->settle(target, job->key, true);
    evaluate(job);
}

void WalArchiver::State::target_failed(const WalJobPtr &job, size_t target, const Error &error) {
    const std::lock_guard lock(mutex);
    WalTarget &entry = job->targets[target];
    if (entry.state != WalTargetState::kWaiting)
        return;
    entry.state = WalTargetState::kFailed;
    entry.failure = error;
    entry.commit.reset();
    if (job->state == WalFileState::kDone && !stopping) {
        log.emit(LogLevel::kWarning,
                 fmt::format("\"{}\" lacks \"{}\", which will be filled in later: {}", repositories[target]->url(),
                             job->name, error.message()),
                 error.detail());
        owed->settle(target, job->key, false);
    }
    evaluate(job);
}

// It could not even be read, or the archiver is ending.
void WalArchiver::State::job_failed(const WalJobPtr &job, const Error &error) {
    const std::lock_guard lock(mutex);
    for (WalTarget &target : job->targets)
        if (target.state == WalTargetState::kWaiting) {
            target.state = WalTargetState::kFailed;
            target.failure = error;
        }
    evaluate(job);
}

// Called with the mutex held, after a target changed.
void WalArchiver::State::evaluate(const WalJobPtr &job) {
    const size_t stored = count(*job, WalTargetState::kStored);
    const size_t waiting = count(*job, WalTargetState::kWaiting);
    if (job->state == WalFileState::kDone && waiting == 0)
        lingering.remove(job);
    if (job->state != WalFileState::kPending)
        return;
    try {
        if (stored >= required) {
            acknowledge(job);
            return;
        }
    } catch (const Error &error) {
        // Without its entry in the journal a file that is owed must not be acknowledged.
        job->failure = error;
    }
    if (!job->failure && stored + waiting >= required)
        return;
    for (const WalTarget &target : job->targets)
        if (!job->failure && target.failure)
            job->failure = target.failure;
    if (!job->failure)
        job->failure = Error(ErrorCode::kUnavailable, fmt::format("could not archive \"{}\"", job->name)).retryable();
    job->state = WalFileState::kFailed;
    --pending;
    job->cancel.cancel();
    event.signal();
}

void WalArchiver::State::acknowledge(const WalJobPtr &job) {
    bool running = false;
    for (size_t i = 0; i < job->targets.size(); ++i) {
        const WalTargetState state = job->targets[i].state;
        if (state == WalTargetState::kStored)
            continue;
        owed->add(i, job->key, state != WalTargetState::kWaiting);
        running = running || state == WalTargetState::kWaiting;
        if (state == WalTargetState::kFailed)
            log.emit(LogLevel::kWarning,
                     fmt::format("\"{}\" lacks \"{}\", which will be filled in later: {}", repositories[i]->url(),
                                 job->name, job->targets[i].failure->message()),
                     job->targets[i].failure->detail());
    }
    job->state = WalFileState::kDone;
    job->acknowledged = std::chrono::steady_clock::now();
    --pending;
    ++counters.files;
    counters.plain_bytes += job->plain_bytes;
    counters.stored_bytes += job->stored_bytes;
    if (running)
        lingering.push_back(job);
    event.signal();
}

void WalArchiver::State::give_up_lingering() {
    const std::lock_guard lock(mutex);
    const auto now = std::chrono::steady_clock::now();
    for (const WalJobPtr &job : lingering)
        if (now - job->acknowledged > kLingerTime)
            job->cancel.cancel();
}

} // namespace pgvigil
