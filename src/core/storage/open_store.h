// From a repository's URL to a store that can be used: the kind the URL names, inside of the decorator that retries.
// Threading: free function. Opening talks to no server; an S3 store's first request does.
#pragma once

#include "base/log.h"
#include "storage/object_store.h"
#include "storage/repository_url.h"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace pgvigil {

struct StoreOptions {
    // AWS shared-credentials format; "" for the usual chain (environment, ~/.aws, web identity, container, IMDSv2).
    std::string credentials_file;
    // Must outlive the store.
    LogSink *log = &null_log();
    std::chrono::milliseconds connect_timeout{10000};
    // A request that moves no byte for this long is given up.
    std::chrono::milliseconds stall_timeout{30000};
    // How long one call is retried before its error is thrown; 0 for a single try.
    std::chrono::milliseconds retry_for{60000};
    // Requests at the same time; more callers wait.
    size_t max_connections = 16;
    // A file:// repository inside one of these (PGDATA, tablespaces) is refused (rules G4).
    std::vector<std::string> forbidden_directories;
};

// Throws kInvalidArgument or kAccessDenied where the URL cannot be used as it stands.
[[nodiscard]] std::unique_ptr<ObjectStore> open_store(const RepositoryUrl &url, const StoreOptions &options);

} // namespace pgvigil
