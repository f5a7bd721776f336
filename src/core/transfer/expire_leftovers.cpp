#include "transfer/expire_leftovers.h"

#include "repo/job_claims.h"
#include "repo/writer_renewal.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr size_t kIdBytes = 16;
constexpr const char *kProbes = "check/"; // at the repository's root

} // namespace

std::vector<DoomedObject> stored_objects(const Repository &repository, const std::string &id,
                                         const std::set<std::string> &adopted, const CancelToken &cancel) {
    std::vector<DoomedObject> objects;
    for (const std::string &prefix : {repository.layout().data_prefix(id), repository.layout().files_prefix(id)})
        for (const ObjectInfo &object : list_objects(repository, prefix, cancel))
            if (!adopted.contains(object.key))
                objects.push_back({object.key, object.size});
    return objects;
}

std::vector<DoomedObject> small_objects(const Repository &repository, const ExpireInventory &inventory,
                                        const std::set<std::string> &gone, const CancelToken &cancel) {
    std::vector<DoomedObject> objects;
    for (const auto &[id, facts] : inventory.attempts)
        if (gone.contains(id))
            objects.insert(objects.end(), facts.objects.begin(), facts.objects.end());
    const std::string prefix = repository.layout().keeps_prefix();
    for (const ObjectInfo &object : list_objects(repository, prefix, cancel)) {
        const std::string id = object.key.substr(prefix.size(), kIdBytes);
        // Of a backup whose deletion was cut off as well.
        if (gone.contains(id) || (inventory.tombstones.contains(id) && !inventory.commits.contains(id)))
            objects.push_back({object.key, object.size});
    }
    return objects;
}

std::vector<DoomedObject> old_objects(const Repository &repository, const ExpireInventory &inventory, int64_t grace_ms,
                                      const CancelToken &cancel) {
    std::vector<DoomedObject> objects;
    const int64_t oldest = inventory.now_ms - grace_ms;
    const std::string tombstones = repository.layout().tombstones_prefix();
    for (const ObjectInfo &object : list_objects(repository, tombstones, cancel)) {
        const std::string id = object.key.substr(tombstones.size());
        const auto attempt = inventory.attempts.find(id);
        const bool nothing_left = attempt == inventory.attempts.end() || attempt->second.objects.empty();
        if (object.modified_ms < oldest && !inventory.commits.contains(id) && nothing_left &&
            !inventory.is_continued(id))
            objects.push_back({object.key, object.size});
    }
    const std::string attempts = repository.layout().attempts_prefix();
    for (const ObjectInfo &object : list_objects(repository, attempts, cancel)) {
        const std::string name = object.key.substr(attempts.size());
        if (object.modified_ms < oldest && name.size() > kIdBytes && name[kIdBytes] == '~' &&
            inventory.commits.contains(name.substr(0, kIdBytes)))
            objects.push_back({object.key, object.size});
    }
    for (const ObjectInfo &object : list_objects(repository, kProbes, cancel))
        if (object.modified_ms < oldest)
            objects.push_back({object.key, object.size});
    for (const ObjectInfo &object : obsolete_job_entries(repository, oldest, inventory.now_ms, cancel))
        objects.push_back({object.key, object.size});
    for (const ObjectInfo &object : obsolete_renewals(repository, oldest, cancel))
        objects.push_back({object.key, object.size});
    return objects;
}

} // namespace pgvigil
