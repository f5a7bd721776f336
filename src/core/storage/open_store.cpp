#include "storage/open_store.h"

#include "base/error.h"
#include "storage/posix/posix_store.h"
#include "storage/retrying_store.h"

#include <filesystem>
#include <fmt/format.h>

namespace pgvigil {

namespace {

// Links resolved as far as the path exists.
std::string resolved(const std::string &path) {
    std::error_code ignored;
    const auto canonical = std::filesystem::weakly_canonical(path, ignored);
    return ignored ? path : canonical.string();
}

void refuse_inside(const RepositoryUrl &url, const std::vector<std::string> &directories) {
    const std::string path = resolved(url.path) + "/";
    for (const std::string &directory : directories)
        if (path.starts_with(resolved(directory) + "/"))
            throw Error(ErrorCode::kInvalidArgument,
                        fmt::format("repository \"{}\" lies inside of \"{}\"", url.display_name(), directory))
                .detail("What destroys the cluster would destroy its backups.")
                .hint("Use a directory on another disk, outside of the data directory and all tablespaces.");
}

std::unique_ptr<ObjectStore> open_kind(const RepositoryUrl &url, const StoreOptions &options) {
    if (url.kind == StoreKind::kFile) {
        refuse_inside(url, options.forbidden_directories);
        return std::make_unique<PosixStore>(url.path, url.display_name(), *options.log);
    }
    throw Error(ErrorCode::kUnsupported, "s3:// repositories are not supported by this build");
}

} // namespace

std::unique_ptr<ObjectStore> open_store(const RepositoryUrl &url, const StoreOptions &options) {
    RetryPolicy policy;
    policy.deadline = options.retry_for;
    return std::make_unique<RetryingStore>(open_kind(url, options), policy, *options.log);
}

} // namespace pgvigil
