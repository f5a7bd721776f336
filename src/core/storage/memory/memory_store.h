// A store in this process's memory, for tests. Everything is gone with the object, so no URL leads here.
#pragma once

#include "storage/object_store.h"

#include <functional>
#include <map>
#include <mutex>

namespace pgvigil {

class MemoryStore : public ObjectStore {
  public:
    explicit MemoryStore(std::string name = "memory:");

    PutOutcome put_new(const PutRequest &request, const CancelToken &cancel) override;
    std::optional<Bytes> get(std::string_view key, uint64_t limit, const CancelToken &cancel) override;
    std::optional<Bytes> get_range(std::string_view key, ByteRange range, const CancelToken &cancel) override;
    std::optional<ObjectInfo> head(std::string_view key, const CancelToken &cancel) override;
    ListPage list(const ListRequest &request, const CancelToken &cancel) override;
    std::vector<DeleteFailure> remove(const std::vector<std::string> &keys, const CancelToken &cancel) override;
    int64_t clock_ms(const CancelToken &cancel) override;
    [[nodiscard]] StoreFeatures features() const override { return {}; }
    [[nodiscard]] const std::string &display_name() const override { return name_; }

    // What nobody but a test may do: replaces an object, as damage or a foreign hand would.
    void overwrite_for_test(std::string_view key, Bytes body);

  private:
    struct Object {
        // Shared, so that readers copy outside of the lock.
        std::shared_ptr<const Bytes> body;
        int64_t modified_ms;
    };
    [[nodiscard]] std::shared_ptr<const Bytes> find(std::string_view key) const;

    const std::string name_;
    mutable std::mutex mutex_;
    std::map<std::string, Object, std::less<>> objects_;
};

} // namespace pgvigil
