#include "server/pg.h"

#include "server/store_check.h"

#include "server/repositories.h"

#include "transfer/restore_check.h"

namespace pgvigil {

std::vector<StoreFinding> check_stores(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel) {
    std::vector<StoreFinding> findings;
    for (const OpenedStore &opened : open_stores(settings, facts, cancel)) {
        if (!opened.store) {
            findings.push_back({"repository", opened.url, false,
                                opened.problem ? opened.problem->message() : "the URL cannot be used"});
            continue;
        }
        const std::string &name = opened.store->display_name();
        for (StoreCheck &check : check_store(*opened.store, cancel)) {
            // A running server has its repository: an empty store is a wrong place, or one that is not mounted.
            const bool expected = check.check != "repository" || opened.document.has_value();
            findings.push_back({std::move(check.check), name, check.ok && expected, std::move(check.detail)});
        }
    }
    return findings;
}

} // namespace pgvigil
