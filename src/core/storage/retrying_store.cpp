#include "storage/retrying_store.h"

#include "base/backoff.h"
#include "base/error.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

using Clock = std::chrono::steady_clock;

// Counts the tries of one call and decides whether there is another one.
class RetryingStore::Attempts {
  public:
    Attempts(const RetryPolicy &policy, LogSink &log)
        : backoff_(policy.first_wait, policy.longest_wait), end_(Clock::now() + policy.deadline), log_(log) {}

    // Waits before the next try; throws what the call failed with when there is none.
    void wait_after(const Error &error, const CancelToken &cancel) {
        if (!error.is_retryable())
            throw Error(error);
        const auto wait = backoff_.next();
        if (Clock::now() + wait >= end_)
            throw given_up(error);
        log_.emit(LogLevel::kDebug, fmt::format("{}; trying again in {} ms", error.message(), wait.count()),
                  error.detail());
        if (!cancel.wait_for(wait))
            cancel.check();
    }

    [[nodiscard]] bool is_first() const noexcept { return backoff_.attempts() == 0; }

  private:
    [[nodiscard]] Error given_up(const Error &error) const {
        if (backoff_.attempts() <= 1)
            return error;
        std::string detail = error.detail();
        detail += fmt::format("{}Gave up after {} attempts.", detail.empty() ? "" : " ", backoff_.attempts());
        return Error(error).detail(std::move(detail));
    }

    Backoff backoff_;
    const Clock::time_point end_;
    LogSink &log_;
};

RetryingStore::RetryingStore(std::unique_ptr<ObjectStore> inner, RetryPolicy policy, LogSink &log)
    : inner_(std::move(inner)), policy_(policy), log_(log) {}

template <class Call> auto RetryingStore::repeat(const CancelToken &cancel, Call &&call) {
    Attempts attempts(policy_, log_);
    for (;;) {
        try {
            return call(attempts);
        } catch (const Error &error) {
            attempts.wait_after(error, cancel);
        }
    }
}

// Compares in pieces, so that finding out costs little memory.
bool RetryingStore::holds(std::string_view key, ByteView body, const CancelToken &cancel) {
    const auto info = inner_->head(key, cancel);
    if (!info || info->size != body.size())
        return false;
    constexpr size_t kPieceBytes = 4 * kMiB;
    for (size_t offset = 0; offset < body.size(); offset += kPieceBytes) {
        const size_t length = std::min(kPieceBytes, body.size() - offset);
        const auto piece = inner_->get_range(key, {offset, length}, cancel);
        if (!piece || piece->size() != length ||
            !std::equal(piece->begin(), piece->end(), body.begin() + static_cast<ptrdiff_t>(offset)))
            return false;
    }
    return true;
}

PutOutcome RetryingStore::put_new(const PutRequest &request, const CancelToken &cancel) {
    return repeat(cancel, [&](const Attempts &attempts) {
        const PutOutcome outcome = inner_->put_new(request, cancel);
        if (outcome == PutOutcome::kAlreadyExists && !attempts.is_first() && holds(request.key, request.body, cancel))
            return PutOutcome::kStored;
        return outcome;
    });
}

std::optional<Bytes> RetryingStore::get(std::string_view key, uint64_t limit, const CancelToken &cancel) {
    return repeat(cancel, [&](const Attempts &) { return inner_->get(key, limit, cancel); });
}

std::optional<Bytes> RetryingStore::get_range(std::string_view key, ByteRange range, const CancelToken &cancel) {
    return repeat(cancel, [&](const Attempts &) { return inner_->get_range(key, range, cancel); });
}

std::optional<ObjectInfo> RetryingStore::head(std::string_view key, const CancelToken &cancel) {
    return repeat(cancel, [&](const Attempts &) { return inner_->head(key, cancel); });
}

ListPage RetryingStore::list(const ListRequest &request, const CancelToken &cancel) {
    return repeat(cancel, [&](const Attempts &) { return inner_->list(request, cancel); });
}

std::vector<DeleteFailure> RetryingStore::remove(const std::vector<std::string> &keys, const CancelToken &cancel) {
    std::vector<std::string> left = keys;
    std::vector<DeleteFailure> failures;
    Attempts attempts(policy_, log_);
    for (;;) {
        std::vector<DeleteFailure> passing;
        try {
            for (DeleteFailure &failure : inner_->remove(left, cancel))
                (failure.retryable ? passing : failures).push_back(std::move(failure));
            if (passing.empty())
                return failures;
            left.clear();
            for (const DeleteFailure &failure : passing)
                left.push_back(failure.key);
            attempts.wait_after(Error(ErrorCode::kUnavailable, passing.front().message).retryable(), cancel);
        } catch (const Error &error) {
            if (passing.empty()) {
                attempts.wait_after(error, cancel);
                continue;
            }
            if (error.code() == ErrorCode::kCancelled)
                throw;
            std::move(passing.begin(), passing.end(), std::back_inserter(failures));
            return failures;
        }
    }
}

std::optional<bool> RetryingStore::keeps_versions(const CancelToken &cancel) {
    return repeat(cancel, [&](const Attempts &) { return inner_->keeps_versions(cancel); });
}

std::optional<BucketRules> RetryingStore::bucket_rules(const CancelToken &cancel) {
    return repeat(cancel, [&](const Attempts &) { return inner_->bucket_rules(cancel); });
}

int64_t RetryingStore::clock_ms(const CancelToken &cancel) {
    return repeat(cancel, [&](const Attempts &) { return inner_->clock_ms(cancel); });
}

} // namespace pgvigil
