#include "storage/faulty_store.h"

#include <array>

namespace pgvigil {

FaultyStore::FaultyStore(std::shared_ptr<ObjectStore> inner) : inner_(std::move(inner)) {}

Error FaultyStore::unavailable(StoreOperation operation) const {
    constexpr std::array kNames = {"put", "get", "get_range", "head", "list", "remove", "versions", "clock"};
    static_assert(kNames.size() == static_cast<size_t>(StoreOperation::kClock) + 1);
    return Error(ErrorCode::kUnavailable, std::string("injected fault: ") + kNames[static_cast<size_t>(operation)] +
                                              " in \"" + display_name() + "\" failed")
        .retryable();
}

void FaultyStore::set_plan(Plan plan) {
    const std::lock_guard lock(mutex_);
    plan_ = std::move(plan);
}

void FaultyStore::fail_once(uint64_t number, FaultMoment moment) {
    set_plan([this, number, moment](const Call &call) -> std::optional<Fault> {
        if (call.number != number)
            return std::nullopt;
        return Fault{moment, unavailable(call.operation)};
    });
}

void FaultyStore::fail_from(uint64_t number, FaultMoment moment) {
    set_plan([this, number, moment](const Call &call) -> std::optional<Fault> {
        if (call.number < number)
            return std::nullopt;
        return Fault{moment, unavailable(call.operation)};
    });
}

uint64_t FaultyStore::calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
}

std::optional<FaultyStore::Fault> FaultyStore::next_fault(StoreOperation operation, std::string_view key) {
    const std::lock_guard lock(mutex_);
    const Call call{++calls_, operation, key};
    return plan_ ? plan_(call) : std::nullopt;
}

template <class Effect> auto FaultyStore::run(StoreOperation operation, std::string_view key, Effect &&effect) {
    const std::optional<Fault> fault = next_fault(operation, key);
    if (fault && fault->moment == FaultMoment::kBefore)
        throw Error(fault->error);
    auto result = effect();
    if (fault)
        throw Error(fault->error);
    return result;
}

PutOutcome FaultyStore::put_new(const PutRequest &request, const CancelToken &cancel) {
    return run(StoreOperation::kPut, request.key, [&] { return inner_->put_new(request, cancel); });
}

std::optional<Bytes> FaultyStore::get(std::string_view key, uint64_t limit, const CancelToken &cancel) {
    return run(StoreOperation::kGet, key, [&] { return inner_->get(key, limit, cancel); });
}

std::optional<Bytes> FaultyStore::get_range(std::string_view key, ByteRange range, const CancelToken &cancel) {
    return run(StoreOperation::kGetRange, key, [&] { return inner_->get_range(key, range, cancel); });
}

std::optional<ObjectInfo> FaultyStore::head(std::string_view key, const CancelToken &cancel) {
    return run(StoreOperation::kHead, key, [&] { return inner_->head(key, cancel); });
}

ListPage FaultyStore::list(const ListRequest &request, const CancelToken &cancel) {
    return run(StoreOperation::kList, request.prefix, [&] { return inner_->list(request, cancel); });
}

std::vector<DeleteFailure> FaultyStore::remove(const std::vector<std::string> &keys, const CancelToken &cancel) {
    return run(StoreOperation::kRemove, keys.empty() ? "" : std::string_view(keys.front()),
               [&] { return inner_->remove(keys, cancel); });
}

std::optional<bool> FaultyStore::keeps_versions(const CancelToken &cancel) {
    return run(StoreOperation::kVersions, "", [&] { return inner_->keeps_versions(cancel); });
}

std::optional<BucketRules> FaultyStore::bucket_rules(const CancelToken &cancel) {
    return run(StoreOperation::kVersions, "", [&] { return inner_->bucket_rules(cancel); });
}

int64_t FaultyStore::clock_ms(const CancelToken &cancel) {
    return run(StoreOperation::kClock, "", [&] { return inner_->clock_ms(cancel); });
}

} // namespace pgvigil
