#include "storage/open_store.h"

#include "base/error.h"
#include "storage/posix/posix_store.h"
#include "storage/retrying_store.h"
#include "storage/s3/s3_store.h"

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
    s3::S3Options s3;
    s3.http.connect_timeout = options.connect_timeout;
    s3.http.stall_timeout = options.stall_timeout;
    s3.http.max_connections = options.max_connections;
    s3.credentials.credentials_file = options.credentials_file;
    s3.credentials.environment = s3::Environment::of_process();
    s3.credentials.log = options.log;
    s3.log = options.log;
    return std::make_unique<s3::S3Store>(url, std::move(s3));
}

} // namespace

std::unique_ptr<ObjectStore> open_store(const RepositoryUrl &url, const StoreOptions &options) {
    RetryPolicy policy;
    policy.deadline = options.retry_for;
    return std::make_unique<RetryingStore>(open_kind(url, options), policy, *options.log);
}

} // namespace pgvigil
