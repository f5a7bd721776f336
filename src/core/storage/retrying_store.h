// A decorator that repeats calls which failed for a passing reason (Error::is_retryable(), rules G2), with exponential
// backoff and full jitter, until a deadline.
//
// put_new() after a failed try may find an object that this very call created, its answer lost: when the stored bytes
// are the request's, that is kStored. So two callers that put identical bytes under one key may both get kStored when
// one of them had to retry; bytes that are to decide a race must differ between racers.
// Threading: as ObjectStore.
#pragma once

#include "base/log.h"
#include "storage/object_store.h"

#include <chrono>
#include <memory>

namespace pgvigil {

struct RetryPolicy {
    std::chrono::milliseconds first_wait{100}; // the bound of the first wait; doubled for each further one
    std::chrono::milliseconds longest_wait{5000};
    // Per call, counted from its start: no try begins after it. 0: a single try.
    std::chrono::milliseconds deadline{60000};
};

class RetryingStore : public ObjectStore {
  public:
    RetryingStore(std::unique_ptr<ObjectStore> inner, RetryPolicy policy, LogSink &log);

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
    class Attempts;
    template <class Call> auto repeat(const CancelToken &cancel, Call &&call);
    [[nodiscard]] bool holds(std::string_view key, ByteView body, const CancelToken &cancel);

    const std::unique_ptr<ObjectStore> inner_;
    const RetryPolicy policy_;
    LogSink &log_;
};

} // namespace pgvigil
