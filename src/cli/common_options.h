// The options every command shares, and the repositories they lead to.
// Threading: the main thread. Errors: kInvalidArgument naming the option, the value and what was expected.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "repo/repository.h"
#include "storage/repository_url.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace pgvigil::cli {

struct CommonOptions {
    std::string repository;       // URLs, comma-separated
    std::string credentials_file; // "" = the usual chain
    std::string system_identifier;
    bool json = false;
};

void add_common_options(CLI::App &command, CommonOptions &options);
void add_json_option(CLI::App &command, CommonOptions &options);

// A whole number within [lowest, highest].
[[nodiscard]] uint64_t parse_number(std::string_view option, std::string_view text, uint64_t lowest, uint64_t highest);

[[nodiscard]] std::vector<RepositoryUrl> repository_urls(const CommonOptions &options);

struct NamedStore {
    RepositoryUrl url;
    std::shared_ptr<ObjectStore> store;
};
// One for each URL; nothing is requested yet.
[[nodiscard]] std::vector<NamedStore> open_stores(const CommonOptions &options, std::chrono::milliseconds retry_for,
                                                  LogSink &log);

// A store with its root document; where it cannot be read the repository is left out with a warning, unless it was the
// last one.
struct RootedStore {
    NamedStore named;
    RepositoryDocument document;
};
[[nodiscard]] std::vector<RootedStore> open_roots(const CommonOptions &options, LogSink &log,
                                                  const CancelToken &cancel);

// The cluster --system-identifier names, or the only one there is.
[[nodiscard]] uint64_t choose_cluster(const CommonOptions &options, const std::vector<RootedStore> &stores,
                                      const CancelToken &cancel);
[[nodiscard]] std::vector<std::shared_ptr<Repository>> repositories_of(const std::vector<RootedStore> &stores,
                                                                       uint64_t system_identifier);

} // namespace pgvigil::cli
