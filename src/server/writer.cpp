#include "server/pg.h"

#include "server/writer.h"

namespace pgvigil {

namespace {

OpenedWriter open_all(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel) {
    OpenedWriter writer;
    for (OpenedStore &opened : open_stores(settings, facts, cancel)) {
        if (opened.problem)
            throw Error(*opened.problem);
        const RepositoryDocument document =
            opened.document ? *opened.document : create_repository_document(*opened.store, cancel);
        writer.repositories.push_back(
            std::make_shared<Repository>(std::move(opened.store), document, opened.url, facts.system_identifier));
    }
    return writer;
}

} // namespace

OpenedWriter open_as_writer(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel) {
    OpenedWriter writer = open_all(settings, facts, cancel);
    writer.epoch = 1;
    writer.epoch_timeline = 1;
    return writer;
}

OpenedWriter open_for_backup(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel) {
    return open_as_writer(settings, facts, cancel);
}

void check_still_writer(const OpenedWriter & /*writer*/, const CancelToken & /*cancel*/) {}

uint64_t take_over(const Settings &settings, const ServerFacts &facts, const std::string & /*reason*/,
                   const CancelToken &cancel) {
    return open_as_writer(settings, facts, cancel).epoch;
}

std::vector<std::shared_ptr<Repository>> accept_repositories(const Settings &settings, const ServerFacts &facts,
                                                             const CancelToken &cancel) {
    return open_as_writer(settings, facts, cancel).repositories;
}

} // namespace pgvigil
