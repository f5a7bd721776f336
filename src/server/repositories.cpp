#include "server/pg.h"

#include "server/repositories.h"

#include "server/log_queue.h"

#include "storage/open_store.h"

#include <dirent.h>
#include <memory>
#include <unistd.h>

namespace pgvigil {

namespace {

struct CloseDirectory {
    void operator()(::DIR *directory) const noexcept { ::closedir(directory); }
};

StoreOptions store_options(const Settings &settings, const ServerFacts &facts) {
    StoreOptions options;
    options.credentials_file = settings.credentials_file;
    options.log = &process_log();
    options.stall_timeout = settings.request_timeout;
    options.connect_timeout = std::min(settings.request_timeout, options.connect_timeout);
    options.retry_for = settings.retry_for;
    options.forbidden_directories = server_directories(facts.data_directory);
    return options;
}

} // namespace

std::vector<std::string> server_directories(const std::string &data_directory) {
    std::vector<std::string> directories{data_directory};
    const std::string spaces = data_directory + "/pg_tblspc";
    const std::unique_ptr<::DIR, CloseDirectory> directory(::opendir(spaces.c_str()));
    while (directory) {
        const dirent *entry = ::readdir(directory.get()); // NOLINT(concurrency-mt-unsafe): a stream of its own
        if (entry == nullptr)
            break;
        std::string target(4096, '\0');
        const ssize_t length = ::readlink((spaces + "/" + entry->d_name).c_str(), target.data(), target.size());
        if (length > 0 && target[0] == '/')
            directories.push_back(target.substr(0, static_cast<size_t>(length)));
    }
    return directories;
}

std::vector<NamedStore> name_stores(const Settings &settings, const ServerFacts &facts) {
    const StoreOptions options = store_options(settings, facts);
    std::vector<NamedStore> stores;
    for (const RepositoryUrl &url : settings.repositories)
        stores.push_back({url.normalised(), open_store(url, options)});
    return stores;
}

std::vector<OpenedStore> open_stores(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel) {
    const StoreOptions options = store_options(settings, facts);
    std::vector<OpenedStore> opened;
    for (const RepositoryUrl &url : settings.repositories) {
        OpenedStore &entry = opened.emplace_back();
        entry.url = url.normalised();
        try {
            entry.store = open_store(url, options);
            entry.document = read_repository_document(*entry.store, cancel);
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            entry.problem = error;
        }
    }
    return opened;
}

std::vector<std::shared_ptr<Repository>> open_for_reading(const Settings &settings, const ServerFacts &facts,
                                                          const CancelToken &cancel) {
    std::vector<std::shared_ptr<Repository>> repositories;
    std::optional<Error> problem;
    for (OpenedStore &entry : open_stores(settings, facts, cancel)) {
        if (entry.document)
            repositories.push_back(std::make_shared<Repository>(std::move(entry.store), *entry.document, entry.url,
                                                                facts.system_identifier));
        else if (entry.problem && !problem)
            problem = entry.problem;
    }
    if (repositories.empty() && problem)
        throw Error(*problem);
    return repositories;
}

Error no_repository_error() {
    return Error(ErrorCode::kInvalidArgument, "no repository is set")
        .detail("\"pgvigil.repository\" is empty.")
        .hint("Set pgvigil.repository to a URL such as file:///directory or s3://bucket/prefix and reload.");
}

} // namespace pgvigil
