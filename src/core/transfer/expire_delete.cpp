#include "transfer/expire_delete.h"

#include "base/parallel.h"

#include <algorithm>
#include <fmt/format.h>
#include <mutex>

namespace pgvigil {

namespace {

constexpr size_t kLargestBatch = 1000; // what one request of S3 takes
constexpr size_t kSmallestBatch = 50;

} // namespace

std::set<std::string> Deleter::remove(const std::vector<DoomedObject> &objects, const CancelToken &cancel) {
    std::set<std::string> left;
    if (objects.empty())
        return left;
    const size_t batch = std::clamp(objects.size() / threads_ + 1, kSmallestBatch, kLargestBatch);
    std::mutex mutex;
    parallel_for((objects.size() + batch - 1) / batch, threads_, [&](size_t index) {
        cancel.check();
        const size_t first = index * batch;
        const size_t end = std::min(first + batch, objects.size());
        std::vector<std::string> keys;
        uint64_t bytes = 0;
        for (size_t i = first; i < end; ++i)
            keys.push_back(objects[i].key);
        const std::vector<DeleteFailure> failures = store_.remove(keys, cancel);
        std::set<std::string> failed;
        for (const DeleteFailure &failure : failures)
            failed.insert(failure.key);
        for (size_t i = first; i < end; ++i)
            if (!failed.contains(objects[i].key))
                bytes += objects[i].size;
        const std::lock_guard lock(mutex);
        deleted_objects_ += keys.size() - failed.size();
        deleted_bytes_ += bytes;
        for (const DeleteFailure &failure : failures) {
            std::string &first_text = failure.access_denied ? denial_ : first_failure_;
            ++(failure.access_denied ? denied_objects_ : failed_objects_);
            if (first_text.empty())
                first_text = failure.message;
        }
        left.merge(failed);
    });
    return left;
}

std::optional<Error> Deleter::failure() const {
    if (failed_objects_ == 0)
        return std::nullopt;
    return Error(ErrorCode::kUnavailable,
                 fmt::format("could not delete {} objects in \"{}\"", failed_objects_, store_.display_name()))
        .detail("The first: " + first_failure_ + ".")
        .hint("The next expiry tries again.")
        .retryable();
}

} // namespace pgvigil
