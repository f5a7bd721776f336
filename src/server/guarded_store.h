// A store whose repository could not be reached when it was opened: before anything else passes, its root document is
// read and compared with the id this server has accepted (rules C1). Until it answers, every call fails as it does.
// Threading: as ObjectStore.
#pragma once

#include "base/random.h"
#include "storage/object_store.h"

#include <memory>
#include <mutex>
#include <string>

namespace pgvigil {

class GuardedStore : public ObjectStore {
  public:
    GuardedStore(std::shared_ptr<ObjectStore> inner, const Uuid &expected);

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
    ObjectStore &checked(const CancelToken &cancel);

    const std::shared_ptr<ObjectStore> inner_;
    const Uuid expected_;
    std::mutex mutex_;
    bool known_ = false;
};

} // namespace pgvigil
