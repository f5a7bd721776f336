// A decorator that keeps the bytes sent and received below a rate. Several stores may share one limiter, so that a
// backup into two repositories has one rate.
// Threading: as ObjectStore; a RateLimiter may be used by many threads.
#pragma once

#include "storage/object_store.h"

#include <chrono>
#include <memory>
#include <mutex>

namespace pgvigil {

// A bucket of tokens, one per byte, that holds at most what half a second brings. One transfer may be larger than that:
// it leaves a debt which the following ones wait for.
class RateLimiter {
  public:
    // 0 bytes per second: no limit.
    explicit RateLimiter(uint64_t bytes_per_second);

    // Waits until there is no debt, then takes `bytes`.
    void acquire(uint64_t bytes, const CancelToken &cancel);
    // Takes effect for transfers that have not begun.
    void set_rate(uint64_t bytes_per_second);

  private:
    using Clock = std::chrono::steady_clock;
    // How long until the debt is paid.
    [[nodiscard]] std::chrono::milliseconds refill();

    std::mutex mutex_;
    double rate_;
    double tokens_ = 0;
    Clock::time_point refilled_;
};

class ThrottledStore : public ObjectStore {
  public:
    ThrottledStore(std::unique_ptr<ObjectStore> inner, std::shared_ptr<RateLimiter> limiter);

    PutOutcome put_new(const PutRequest &request, const CancelToken &cancel) override;
    std::optional<Bytes> get(std::string_view key, uint64_t limit, const CancelToken &cancel) override;
    std::optional<Bytes> get_range(std::string_view key, ByteRange range, const CancelToken &cancel) override;
    std::optional<ObjectInfo> head(std::string_view key, const CancelToken &cancel) override;
    ListPage list(const ListRequest &request, const CancelToken &cancel) override;
    std::vector<DeleteFailure> remove(const std::vector<std::string> &keys, const CancelToken &cancel) override;
    [[nodiscard]] std::optional<bool> keeps_versions(const CancelToken &cancel) override;
    [[nodiscard]] std::optional<BucketRules> bucket_rules(const CancelToken &cancel) override;
    int64_t clock_ms(const CancelToken &cancel) override;
    [[nodiscard]] StoreFeatures features() const override { return inner_->features(); }
    [[nodiscard]] const std::string &display_name() const override { return inner_->display_name(); }

  private:
    const std::unique_ptr<ObjectStore> inner_;
    const std::shared_ptr<RateLimiter> limiter_;
};

} // namespace pgvigil
