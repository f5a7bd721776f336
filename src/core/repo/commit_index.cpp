#include "repo/commit_index.h"

#include "base/error.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"

#include <algorithm>
#include <set>

namespace pgvigil {

namespace {

constexpr size_t kIdBytes = 16;
constexpr std::string_view kSuffix = ".json";

} // namespace

void summarise(CommitDocument &document) {
    document.packs = {};
    document.table = {};
    document.backup_label = {};
    document.tablespace_map = {};
    document.control_file = {};
    document.hashes = {};
}

std::string commit_index_key(const ClusterLayout &layout, const CommitIndexName &name) {
    return layout.commitindex_prefix() + name.first + "-" + name.last + std::string(kSuffix);
}

std::optional<CommitIndexName> parse_commit_index_key(const ClusterLayout &layout, std::string_view key) {
    const std::string prefix = layout.commitindex_prefix();
    if (!key.starts_with(prefix) || !key.ends_with(kSuffix) ||
        key.size() != prefix.size() + 2 * kIdBytes + 1 + kSuffix.size())
        return std::nullopt;
    key.remove_prefix(prefix.size());
    CommitIndexName name{std::string(key.substr(0, kIdBytes)), std::string(key.substr(kIdBytes + 1, kIdBytes))};
    if (key[kIdBytes] != '-' || !is_backup_id(name.first) || !is_backup_id(name.last) || name.last < name.first)
        return std::nullopt;
    return name;
}

std::string encode_commit_index(const std::vector<CommitDocument> &summaries) {
    Json commits = Json::array();
    for (CommitDocument document : summaries) {
        summarise(document);
        commits.push_back(Json::parse(encode(document)));
    }
    const Json json = {{"format", kRepositoryFormat}, {"commits", std::move(commits)}};
    return json.dump() + "\n";
}

std::vector<CommitDocument> decode_commit_index(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    std::vector<CommitDocument> summaries;
    for (const Json &item : fields::array_member(source, "commits", key)) {
        summaries.push_back(decode_commit(item.dump(), key));
        summarise(summaries.back());
    }
    return summaries;
}

std::vector<CommitIndexName> list_commit_index(const Repository &repository, const CancelToken &cancel) {
    std::vector<CommitIndexName> names;
    const std::string prefix = repository.layout().commitindex_prefix();
    for_each_page(repository.store(), {.prefix = prefix}, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects)
            if (auto name = parse_commit_index_key(repository.layout(), object.key))
                names.push_back(std::move(*name));
    });
    return names;
}

size_t write_due_commit_index(const Repository &repository, const std::vector<CommitDocument> &backups,
                              const CancelToken &cancel) {
    if (backups.size() < kCommitsPerIndex)
        return 0;
    std::set<std::string> indexed;
    const ClusterLayout &layout = repository.layout();
    for (const CommitIndexName &name : list_commit_index(repository, cancel)) {
        const std::string key = commit_index_key(layout, name);
        const auto json = read_document(repository.store(), key, cancel);
        if (!json)
            continue;
        for (const CommitDocument &document : decode_commit_index(*json, key))
            indexed.insert(document.id);
    }
    std::vector<CommitDocument> due;
    size_t written = 0;
    for (const CommitDocument &backup : backups) {
        if (!indexed.contains(backup.id))
            due.push_back(backup);
        if (due.size() < kCommitsPerIndex)
            continue;
        const std::string key = commit_index_key(layout, {due.front().id, due.back().id});
        const Bytes body = encode_document(encode_commit_index(due), 0, random_uuid());
        PutRequest request;
        request.key = key;
        request.body = body;
        // Another server may have been first: what it wrote of these backups says the same.
        written += repository.store().put_new(request, cancel) == PutOutcome::kStored ? 1 : 0;
        due.clear();
    }
    return written;
}

std::vector<std::string> list_needless_commit_index(const Repository &repository,
                                                    const std::vector<std::string> &existing,
                                                    const CancelToken &cancel) {
    std::vector<std::string> needless;
    for (const CommitIndexName &name : list_commit_index(repository, cancel)) {
        const auto next = std::lower_bound(existing.begin(), existing.end(), name.first);
        if (next == existing.end() || *next > name.last)
            needless.push_back(commit_index_key(repository.layout(), name));
    }
    return needless;
}

} // namespace pgvigil
