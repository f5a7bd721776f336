#include "cli/common_options.h"

#include "base/error.h"
#include "storage/open_store.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <fmt/format.h>
#include <set>

namespace pgvigil::cli {

namespace {

constexpr std::chrono::milliseconds kRetryFor{60000};

} // namespace

void add_common_options(CLI::App &command, CommonOptions &options) {
    command
        .add_option("--repository", options.repository,
                    "Repository URLs, comma-separated: file:///dir or s3://bucket/prefix?endpoint=…&region=…")
        ->type_name("URL[,URL]")
        ->envname("PGVIGIL_REPOSITORY");
    command
        .add_option("--credentials-file", options.credentials_file,
                    "AWS shared-credentials file; otherwise environment, ~/.aws, web identity, container, IMDSv2")
        ->type_name("FILE")
        ->envname("PGVIGIL_CREDENTIALS_FILE");
    command
        .add_option("--system-identifier", options.system_identifier, "Which cluster, where a repository holds several")
        ->type_name("N");
}

void add_json_option(CLI::App &command, CommonOptions &options) {
    command.add_flag("--json", options.json, "Print JSON, errors included");
}

uint64_t parse_number(std::string_view option, std::string_view text, uint64_t lowest, uint64_t highest) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < lowest || value > highest)
        throw Error(ErrorCode::kInvalidArgument, fmt::format("invalid value \"{}\" for {}", text, option))
            .detail(fmt::format("A whole number from {} to {} is expected.", lowest, highest));
    return value;
}

std::vector<RepositoryUrl> repository_urls(const CommonOptions &options) {
    auto urls = parse_repository_list(options.repository);
    if (urls.empty())
        throw Error(ErrorCode::kInvalidArgument, "no repository is given")
            .hint("Give --repository URL or set PGVIGIL_REPOSITORY; a URL looks like file:///backup/pg or "
                  "s3://bucket/prefix?region=eu-west-1.");
    return urls;
}

std::vector<NamedStore> open_stores(const CommonOptions &options, std::chrono::milliseconds retry_for, LogSink &log) {
    StoreOptions store_options;
    store_options.credentials_file = options.credentials_file;
    store_options.retry_for = retry_for;
    store_options.log = &log;
    std::vector<NamedStore> stores;
    for (RepositoryUrl &url : repository_urls(options)) {
        std::shared_ptr<ObjectStore> store = open_store(url, store_options);
        stores.push_back({std::move(url), std::move(store)});
    }
    return stores;
}

std::vector<RootedStore> open_roots(const CommonOptions &options, LogSink &log, const CancelToken &cancel) {
    std::vector<RootedStore> rooted;
    std::optional<Error> failure;
    for (NamedStore &named : open_stores(options, kRetryFor, log)) {
        try {
            auto document = read_repository_document(*named.store, cancel);
            if (!document)
                throw Error(ErrorCode::kNotFound,
                            fmt::format("there is no pgvigil repository at \"{}\"", named.store->display_name()))
                    .hint("Check the URL; a file system may not be mounted, a prefix mistyped.");
            rooted.push_back({std::move(named), std::move(*document)});
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            if (failure)
                log.emit(LogLevel::kWarning, failure->message(), failure->detail());
            failure = error;
        }
    }
    if (rooted.empty())
        throw std::move(*failure);
    if (failure)
        log.emit(LogLevel::kWarning, failure->message(), failure->detail());
    return rooted;
}

uint64_t choose_cluster(const CommonOptions &options, const std::vector<RootedStore> &stores,
                        const CancelToken &cancel) {
    if (!options.system_identifier.empty())
        return parse_number("--system-identifier", options.system_identifier, 1, UINT64_MAX);
    std::set<uint64_t> clusters;
    for (const RootedStore &store : stores)
        for (const uint64_t cluster : list_clusters(*store.named.store, cancel))
            clusters.insert(cluster);
    if (clusters.empty())
        throw Error(ErrorCode::kNotFound, "the repository holds no cluster yet")
            .detail("No server has archived WAL or made a backup there.");
    if (clusters.size() > 1)
        throw Error(ErrorCode::kInvalidArgument, "the repository holds several clusters")
            .detail(fmt::format("Their system identifiers are {}.", fmt::join(clusters, ", ")))
            .hint("Choose one with --system-identifier.");
    return *clusters.begin();
}

std::vector<std::shared_ptr<Repository>> repositories_of(const std::vector<RootedStore> &stores,
                                                         uint64_t system_identifier) {
    std::vector<std::shared_ptr<Repository>> repositories;
    for (const RootedStore &store : stores)
        repositories.push_back(std::make_shared<Repository>(store.named.store, store.document,
                                                            store.named.url.normalised(), system_identifier));
    return repositories;
}

} // namespace pgvigil::cli
