// A bucket of an S3 server as a store. One object is one PUT; nothing is ever uploaded in parts.
//
// Created with If-None-Match: *. Whether the server honours that is found out once, by the first put_new() (rules C6):
// the object ".pgvigil-probe" is created, and where that succeeds, created again, which must fail. It stays, so that
// later processes need one request and no right to delete. Where the server ignores or refuses the condition, put_new()
// checks before it writes, which a racing writer can slip through; features() says so.
// Threading: as ObjectStore. Errors: see s3_error(). Every call is one try; RetryingStore repeats.
#pragma once

#include "storage/object_store.h"
#include "storage/s3/s3_client.h"

#include <atomic>
#include <mutex>

namespace pgvigil::s3 {

class S3Store : public ObjectStore {
  public:
    S3Store(const RepositoryUrl &url, S3Options options);

    PutOutcome put_new(const PutRequest &request, const CancelToken &cancel) override;
    std::optional<Bytes> get(std::string_view key, uint64_t limit, const CancelToken &cancel) override;
    std::optional<Bytes> get_range(std::string_view key, ByteRange range, const CancelToken &cancel) override;
    std::optional<ObjectInfo> head(std::string_view key, const CancelToken &cancel) override;
    ListPage list(const ListRequest &request, const CancelToken &cancel) override;
    std::vector<DeleteFailure> remove(const std::vector<std::string> &keys, const CancelToken &cancel) override;
    [[nodiscard]] std::optional<bool> keeps_versions(const CancelToken &cancel) override;
    [[nodiscard]] std::optional<BucketRules> bucket_rules(const CancelToken &cancel) override;
    int64_t clock_ms(const CancelToken &cancel) override;
    [[nodiscard]] StoreFeatures features() const override;
    [[nodiscard]] const std::string &display_name() const override { return name_; }

  private:
    enum class Conditional { kUnknown, kHonoured, kMissing };

    [[nodiscard]] std::string bucket_key(std::string_view key) const { return root_ + std::string(key); }
    [[nodiscard]] std::string what(const char *verb, std::string_view key) const;
    // True when the answer says that the object, and not something else, is absent.
    [[nodiscard]] bool is_absent(const HttpResponse &response, const std::string &what) const;
    void check_bucket(const CancelToken &cancel);

    void probe_conditional(const CancelToken &cancel);
    void set_conditional(Conditional conditional);
    [[nodiscard]] PutOutcome put_if_absent(const PutRequest &request, const CancelToken &cancel);
    [[nodiscard]] PutOutcome check_then_put(const PutRequest &request, const CancelToken &cancel);
    [[nodiscard]] HttpResponse put(const PutRequest &request, const std::string &what, bool conditional,
                                   const CancelToken &cancel);

    // What the bucket says of one of its settings; what refuses to tell is an answer as well.
    [[nodiscard]] HttpResponse ask_bucket(const char *setting, const CancelToken &cancel);
    [[nodiscard]] S3Listing list_bucket(const ListRequest &request, const std::string &after,
                                        const CancelToken &cancel);
    [[nodiscard]] std::vector<DeleteFailure> remove_batch(const std::vector<std::string> &bucket_keys,
                                                          const CancelToken &cancel);

    const RepositoryUrl url_;
    const std::string name_;
    const std::string root_; // "" or "prefix/"
    LogSink &log_;
    S3Client client_;
    std::mutex probe_mutex_;
    std::atomic<Conditional> conditional_;
    std::atomic<bool> bucket_seen_{false};
};

} // namespace pgvigil::s3
