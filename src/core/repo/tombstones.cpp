#include "repo/tombstones.h"

#include "repo/envelope.h"
#include "repo/json_fields.h"

#include <map>

namespace pgvigil {

std::string encode(const TombstoneDocument &document) {
    const Json json = {{"format", kRepositoryFormat},
                       {"id", document.id},
                       {"reason", fields::text_value(document.reason)},
                       {"host", fields::text_value(document.host)},
                       {"created", fields::time_value(document.created_ms)}};
    return json.dump(1, ' ') + "\n";
}

TombstoneDocument decode_tombstone(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    TombstoneDocument document;
    document.id = fields::text_member(source, "id", key);
    if (!is_backup_id(document.id))
        throw fields::bad_member("id", key);
    document.reason = fields::text_member(source, "reason", key);
    document.host = fields::text_member(source, "host", key);
    document.created_ms = fields::time_member(source, "created", key);
    return document;
}

std::set<std::string, std::less<>> list_tombstones(const Repository &repository, const CancelToken &cancel) {
    std::set<std::string, std::less<>> ids;
    const std::string prefix = repository.layout().tombstones_prefix();
    for_each_page(repository.store(), {.prefix = prefix}, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects)
            if (is_backup_id(std::string_view(object.key).substr(prefix.size())))
                ids.insert(object.key.substr(prefix.size()));
    });
    return ids;
}

bool has_tombstone(const Repository &repository, std::string_view id, const CancelToken &cancel) {
    return repository.store().head(repository.layout().tombstone(id), cancel).has_value();
}

void create_tombstone(const Repository &repository, const TombstoneDocument &document, uint64_t epoch,
                      const CancelToken &cancel) {
    const std::string key = repository.layout().tombstone(document.id);
    const Bytes body = encode_document(encode(document), epoch, random_uuid());
    static_cast<void>(repository.store().put_new({.key = key, .body = body}, cancel));
}

void drop_tombstoned(std::vector<CommitDocument> &backups, const std::set<std::string, std::less<>> &tombstones,
                     const Keeps &keeps) {
    std::map<std::string_view, const CommitDocument *> by_id;
    std::vector<std::string> open;
    std::set<std::string, std::less<>> offered;
    for (const CommitDocument &backup : backups) {
        by_id.emplace(backup.id, &backup);
        const auto keep = keeps.find(backup.id);
        if (!tombstones.contains(backup.id) || (keep != keeps.end() && !keep->second.released))
            open.push_back(backup.id);
    }
    while (!open.empty()) {
        const std::string id = std::move(open.back());
        open.pop_back();
        const auto found = by_id.find(id);
        if (found == by_id.end() || !offered.insert(id).second)
            continue;
        open.insert(open.end(), found->second->parents.begin(), found->second->parents.end());
    }
    std::erase_if(backups, [&](const CommitDocument &backup) { return !offered.contains(backup.id); });
}

void drop_tombstoned(const Repository &repository, std::vector<CommitDocument> &backups, const CancelToken &cancel) {
    const auto tombstones = list_tombstones(repository, cancel);
    std::vector<UnreadableDocument> unreadable;
    if (!tombstones.empty())
        drop_tombstoned(backups, tombstones, load_keeps(repository, unreadable, cancel));
}

} // namespace pgvigil
