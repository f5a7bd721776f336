// A decorator for fault tests: fails chosen operations, before they have an effect or after they had it (the answer
// that is lost on its way). Without a plan it only counts. Threading: as ObjectStore; plans may be changed at any time
// and are called by one thread at a time.
#pragma once

#include "base/error.h"
#include "storage/object_store.h"

#include <functional>
#include <memory>
#include <mutex>

namespace pgvigil {

enum class StoreOperation { kPut, kGet, kGetRange, kHead, kList, kRemove, kVersions, kClock };
enum class FaultMoment { kBefore, kAfter };

class FaultyStore : public ObjectStore {
  public:
    struct Call {
        uint64_t number; // from 1, over all operations
        StoreOperation operation;
        std::string_view key; // the prefix of a list, the first key of a remove
    };
    struct Fault {
        FaultMoment moment;
        Error error;
    };
    using Plan = std::function<std::optional<Fault>(const Call &)>;

    explicit FaultyStore(std::shared_ptr<ObjectStore> inner);

    void set_plan(Plan plan);
    // Operation `number` fails once with a retryable kUnavailable.
    void fail_once(uint64_t number, FaultMoment moment);
    // Every operation from `number` on fails: the store is gone, or the process died.
    void fail_from(uint64_t number, FaultMoment moment);
    // Operations begun so far.
    [[nodiscard]] uint64_t calls() const;

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

    // An error as a store that went away gives it.
    [[nodiscard]] Error unavailable(StoreOperation operation) const;

  private:
    template <class Effect> auto run(StoreOperation operation, std::string_view key, Effect &&effect);
    [[nodiscard]] std::optional<Fault> next_fault(StoreOperation operation, std::string_view key);

    const std::shared_ptr<ObjectStore> inner_;
    mutable std::mutex mutex_;
    Plan plan_;
    uint64_t calls_ = 0;
};

} // namespace pgvigil
