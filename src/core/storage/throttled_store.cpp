#include "storage/throttled_store.h"

#include <algorithm>

namespace pgvigil {

RateLimiter::RateLimiter(uint64_t bytes_per_second)
    : rate_(static_cast<double>(bytes_per_second)), refilled_(Clock::now()) {}

std::chrono::milliseconds RateLimiter::refill() {
    const auto now = Clock::now();
    const std::chrono::duration<double> passed = now - refilled_;
    refilled_ = now;
    tokens_ = std::min(tokens_ + passed.count() * rate_, rate_ / 2);
    if (tokens_ >= 0)
        return {};
    return std::chrono::milliseconds(static_cast<int64_t>(-tokens_ / rate_ * 1000) + 1);
}

void RateLimiter::acquire(uint64_t bytes, const CancelToken &cancel) {
    // A change of the rate is noticed within this time.
    constexpr std::chrono::milliseconds kLongestWait{1000};
    for (;;) {
        std::chrono::milliseconds wait{};
        {
            const std::lock_guard lock(mutex_);
            if (rate_ <= 0)
                return;
            wait = refill();
            if (wait.count() == 0) {
                tokens_ -= static_cast<double>(bytes);
                return;
            }
        }
        if (!cancel.wait_for(std::min(wait, kLongestWait)))
            cancel.check();
    }
}

void RateLimiter::set_rate(uint64_t bytes_per_second) {
    const std::lock_guard lock(mutex_);
    rate_ = static_cast<double>(bytes_per_second);
    tokens_ = 0;
    refilled_ = Clock::now();
}

ThrottledStore::ThrottledStore(std::unique_ptr<ObjectStore> inner, std::shared_ptr<RateLimiter> limiter)
    : inner_(std::move(inner)), limiter_(std::move(limiter)) {}

PutOutcome ThrottledStore::put_new(const PutRequest &request, const CancelToken &cancel) {
    limiter_->acquire(request.body.size(), cancel);
    return inner_->put_new(request, cancel);
}

// What a read brings is known only afterwards, so it is taken from the bucket by then and the next one waits.
std::optional<Bytes> ThrottledStore::get(std::string_view key, uint64_t limit, const CancelToken &cancel) {
    auto body = inner_->get(key, limit, cancel);
    if (body)
        limiter_->acquire(body->size(), cancel);
    return body;
}

std::optional<Bytes> ThrottledStore::get_range(std::string_view key, ByteRange range, const CancelToken &cancel) {
    auto body = inner_->get_range(key, range, cancel);
    if (body)
        limiter_->acquire(body->size(), cancel);
    return body;
}

std::optional<ObjectInfo> ThrottledStore::head(std::string_view key, const CancelToken &cancel) {
    return inner_->head(key, cancel);
}

ListPage ThrottledStore::list(const ListRequest &request, const CancelToken &cancel) {
    return inner_->list(request, cancel);
}

std::vector<DeleteFailure> ThrottledStore::remove(const std::vector<std::string> &keys, const CancelToken &cancel) {
    return inner_->remove(keys, cancel);
}

std::optional<bool> ThrottledStore::keeps_versions(const CancelToken &cancel) {
    return inner_->keeps_versions(cancel);
}

std::optional<BucketRules> ThrottledStore::bucket_rules(const CancelToken &cancel) {
    return inner_->bucket_rules(cancel);
}

int64_t ThrottledStore::clock_ms(const CancelToken &cancel) {
    return inner_->clock_ms(cancel);
}

} // namespace pgvigil
