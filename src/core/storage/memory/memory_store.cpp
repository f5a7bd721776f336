#include "storage/memory/memory_store.h"

#include "base/error.h"
#include "base/time.h"
#include "storage/object_key.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

MemoryStore::MemoryStore(std::string name) : name_(std::move(name)) {}

PutOutcome MemoryStore::put_new(const PutRequest &request, const CancelToken &cancel) {
    cancel.check();
    check_key(request.key);
    auto body = std::make_shared<const Bytes>(request.body.begin(), request.body.end());
    const std::lock_guard lock(mutex_);
    const bool inserted =
        objects_.try_emplace(std::string(request.key), Object{std::move(body), unix_time_ms()}).second;
    return inserted ? PutOutcome::kStored : PutOutcome::kAlreadyExists;
}

std::shared_ptr<const Bytes> MemoryStore::find(std::string_view key) const {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    return found == objects_.end() ? nullptr : found->second.body;
}

std::optional<Bytes> MemoryStore::get(std::string_view key, uint64_t limit, const CancelToken &cancel) {
    cancel.check();
    check_key(key);
    const auto body = find(key);
    if (!body)
        return std::nullopt;
    if (body->size() > limit)
        throw Error(ErrorCode::kCorrupt,
                    fmt::format("object \"{}\" in \"{}\" has {} bytes, more than the {} expected at most", key, name_,
                                body->size(), limit));
    return *body;
}

std::optional<Bytes> MemoryStore::get_range(std::string_view key, ByteRange range, const CancelToken &cancel) {
    cancel.check();
    check_key(key);
    const auto body = find(key);
    if (!body)
        return std::nullopt;
    if (range.offset >= body->size())
        return Bytes{};
    const auto first = body->begin() + static_cast<ptrdiff_t>(range.offset);
    return Bytes(first, first + static_cast<ptrdiff_t>(std::min<uint64_t>(range.length, body->size() - range.offset)));
}

std::optional<ObjectInfo> MemoryStore::head(std::string_view key, const CancelToken &cancel) {
    cancel.check();
    check_key(key);
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end())
        return std::nullopt;
    return ObjectInfo{found->first, found->second.body->size(), found->second.modified_ms};
}

ListPage MemoryStore::list(const ListRequest &request, const CancelToken &cancel) {
    cancel.check();
    PageBuilder page(request);
    const std::lock_guard lock(mutex_);
    std::string folded;
    for (auto at = objects_.lower_bound(std::max(request.prefix, request.start_after));
         at != objects_.end() && at->first.starts_with(request.prefix); ++at) {
        if (!folded.empty() && at->first.starts_with(folded))
            continue;
        folded = page.folded_directory(at->first);
        if (!page.wants(folded.empty() ? at->first : folded))
            continue;
        const bool added = folded.empty()
                               ? page.add_object({at->first, at->second.body->size(), at->second.modified_ms})
                               : page.add_directory(folded);
        if (!added)
            break;
    }
    return page.take();
}

std::vector<DeleteFailure> MemoryStore::remove(const std::vector<std::string> &keys, const CancelToken &cancel) {
    cancel.check();
    const std::lock_guard lock(mutex_);
    for (const std::string &key : keys) {
        check_key(key);
        objects_.erase(key);
    }
    return {};
}

int64_t MemoryStore::clock_ms(const CancelToken &cancel) {
    cancel.check();
    return unix_time_ms();
}

void MemoryStore::overwrite_for_test(std::string_view key, Bytes body) {
    const std::lock_guard lock(mutex_);
    objects_[std::string(key)] = {std::make_shared<const Bytes>(std::move(body)), unix_time_ms()};
}

} // namespace pgvigil
