#include "transfer/backup_upload.h"

#include "base/signal_mask.h"

#include <algorithm>
#include <exception>
#include <fmt/format.h>

namespace pgvigil {

namespace {

// How soon a wait sees that the caller's token fired: it is not tied to our condition variable.
constexpr std::chrono::milliseconds kCancelPoll{50};

} // namespace

BackupUploader::BackupUploader(Repositories repositories, size_t threads, uint64_t limit_bytes,
                               std::atomic<uint64_t> &bytes_stored, LogSink &log)
    : limit_bytes_(limit_bytes), bytes_stored_(bytes_stored), log_(log) {
    for (std::shared_ptr<Repository> &repository : repositories) {
        lanes_.push_back(std::make_unique<Lane>());
        lanes_.back()->repository = std::move(repository);
    }
    const SignalsBlocked blocked;
    for (const auto &lane : lanes_)
        for (size_t i = 0; i < threads; ++i)
            threads_.emplace_back([this, &lane = *lane] { run(lane); });
}

BackupUploader::~BackupUploader() {
    stop();
    for (std::thread &thread : threads_)
        thread.join();
}

void BackupUploader::stop() noexcept {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        for (const auto &lane : lanes_) {
            lane->queue.clear();
            lane->cancel.cancel();
        }
    }
    work_.notify_all();
    progress_.notify_all();
}

template <class Ready>
void BackupUploader::wait(std::unique_lock<std::mutex> &lock, const CancelToken &cancel, Ready &&ready) {
    while (!ready()) {
        check_alive();
        if (stopping_)
            throw Error(ErrorCode::kCancelled, "the backup was cancelled");
        cancel.check();
        progress_.wait_for(lock, kCancelPoll);
    }
    check_alive();
}

void BackupUploader::put(std::string key, Bytes body, ObjectRole role, const Sha256Digest &sha256,
                         const CancelToken &cancel) {
    const uint64_t bytes = body.size();
    std::unique_lock lock(mutex_);
    // One object is always let through, however large.
    wait(lock, cancel, [&] { return held_bytes_ == 0 || held_bytes_ + bytes <= limit_bytes_; });
    held_bytes_ += bytes;
    const ItemPtr item(new Item{std::move(key), std::move(body), role, sha256});
    for (const auto &lane : lanes_)
        if (!lane->failure) {
            lane->queue.push_back(item);
            ++item->users;
        }
    lock.unlock();
    work_.notify_all();
}

void BackupUploader::drain(const CancelToken &cancel) {
    std::unique_lock lock(mutex_);
    wait(lock, cancel, [&] {
        return std::all_of(lanes_.begin(), lanes_.end(),
                           [](const auto &lane) { return lane->queue.empty() && lane->running == 0; });
    });
}

void BackupUploader::run(Lane &lane) noexcept {
    for (;;) {
        ItemPtr item;
        {
            std::unique_lock lock(mutex_);
            work_.wait(lock, [&] { return stopping_ || !lane.queue.empty(); });
            if (stopping_)
                return;
            item = std::move(lane.queue.front());
            lane.queue.pop_front();
            ++lane.running;
        }
        std::optional<Error> failure;
        try {
            upload(lane, *item);
        } catch (const Error &error) {
            failure = error;
        } catch (const std::exception &error) {
            failure = Error(ErrorCode::kInternal, fmt::format("could not upload \"{}\": {}", item->key, error.what()));
        }
        {
            const std::lock_guard lock(mutex_);
            --lane.running;
            release(*item);
            if (failure)
                lane_failed(lane, *failure);
        }
        progress_.notify_all();
    }
}

void BackupUploader::upload(Lane &lane, const Item &item) {
    PutRequest request;
    request.key = item.key;
    request.body = item.body;
    request.role = item.role;
    request.sha256 = &item.sha256;
    if (lane.repository->store().put_new(request, lane.cancel) != PutOutcome::kStored)
        throw Error(ErrorCode::kConflict, fmt::format("\"{}\" already holds \"{}\", which this backup did not write",
                                                      lane.repository->url(), item.key))
            .hint("Another server may write to the same repository under this cluster's name.");
    if (&lane == lanes_.front().get())
        bytes_stored_ += item.body.size();
}

// Called with the mutex held.
void BackupUploader::lane_failed(Lane &lane, const Error &error) {
    if (lane.failure || stopping_)
        return;
    lane.failure = error;
    lane.cancel.cancel();
    for (const ItemPtr &item : lane.queue)
        release(*item);
    lane.queue.clear();
    const bool others = std::any_of(lanes_.begin(), lanes_.end(), [](const auto &other) { return !other->failure; });
    if (others)
        log_.emit(LogLevel::kWarning,
                  fmt::format("the backup goes on without \"{}\": {}", lane.repository->url(), error.message()),
                  error.detail());
}

// Called with the mutex held, by each lane when it has done with an object: its bytes count until the last one has.
void BackupUploader::release(Item &item) noexcept {
    if (--item.users == 0)
        held_bytes_ -= item.body.size();
}

void BackupUploader::give_up(const Repository &repository, const Error &error) {
    const std::lock_guard lock(mutex_);
    for (const auto &lane : lanes_)
        if (lane->repository.get() == &repository)
            lane_failed(*lane, error);
    check_alive();
}

// Called with the mutex held.
void BackupUploader::check_alive() const {
    const Error *last = nullptr;
    for (const auto &lane : lanes_) {
        if (!lane->failure)
            return;
        last = &*lane->failure;
    }
    if (last != nullptr)
        throw *last;
}

BackupUploader::Repositories BackupUploader::live() const {
    const std::lock_guard lock(mutex_);
    Repositories result;
    for (const auto &lane : lanes_)
        if (!lane->failure)
            result.push_back(lane->repository);
    return result;
}

} // namespace pgvigil
