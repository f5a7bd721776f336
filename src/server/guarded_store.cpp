#include "server/pg.h"

#include "server/guarded_store.h"

#include "base/error.h"
#include "repo/repository.h"

namespace pgvigil {

GuardedStore::GuardedStore(std::shared_ptr<ObjectStore> inner, const Uuid &expected)
    : inner_(std::move(inner)), expected_(expected) {}

ObjectStore &GuardedStore::checked(const CancelToken &cancel) {
    {
        const std::lock_guard guard(mutex_);
        if (known_)
            return *inner_;
    }
    const auto document = read_repository_document(*inner_, cancel);
    if (!document || document->id != expected_)
        throw Error(ErrorCode::kForeign, "\"" + inner_->display_name() + "\" is not the repository that was accepted")
            .detail("Its id is " + (document ? to_string(document->id) : std::string("missing")) + "; expected " +
                    to_string(expected_) + ".")
            .hint("If the repository was replaced on purpose, run SELECT pgv_accept_repository().");
    const std::lock_guard guard(mutex_);
    known_ = true;
    return *inner_;
}

PutOutcome GuardedStore::put_new(const PutRequest &request, const CancelToken &cancel) {
    return checked(cancel).put_new(request, cancel);
}

std::optional<Bytes> GuardedStore::get(std::string_view key, uint64_t limit, const CancelToken &cancel) {
    return checked(cancel).get(key, limit, cancel);
}

std::optional<Bytes> GuardedStore::get_range(std::string_view key, ByteRange range, const CancelToken &cancel) {
    return checked(cancel).get_range(key, range, cancel);
}

std::optional<ObjectInfo> GuardedStore::head(std::string_view key, const CancelToken &cancel) {
    return checked(cancel).head(key, cancel);
}

ListPage GuardedStore::list(const ListRequest &request, const CancelToken &cancel) {
    return checked(cancel).list(request, cancel);
}

std::vector<DeleteFailure> GuardedStore::remove(const std::vector<std::string> &keys, const CancelToken &cancel) {
    return checked(cancel).remove(keys, cancel);
}

std::optional<bool> GuardedStore::keeps_versions(const CancelToken &cancel) {
    return checked(cancel).keeps_versions(cancel);
}

std::optional<BucketRules> GuardedStore::bucket_rules(const CancelToken &cancel) {
    return checked(cancel).bucket_rules(cancel);
}

int64_t GuardedStore::clock_ms(const CancelToken &cancel) {
    return checked(cancel).clock_ms(cancel);
}

} // namespace pgvigil
