#include "repo/documents.h"

#include "base/wal_name.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"
#include "repo/layout.h"
#include "repo/stored_objects.h"

#include <algorithm>
#include <charconv>
#include <set>

namespace pgvigil {

namespace {

std::string dump(const Json &document) {
    return document.dump(1, ' ') + "\n";
}

Json text_list(const std::vector<std::string> &values) {
    Json list = Json::array();
    for (const std::string &value : values)
        list.push_back(fields::text_value(value));
    return list;
}

std::vector<std::string> read_backup_ids(const Json &document, const char *name, std::string_view key) {
    std::vector<std::string> ids;
    for (const Json &value : fields::array_member(document, name, key)) {
        ids.push_back(fields::text(value, name, key));
        if (!is_backup_id(ids.back()))
            throw fields::bad_member(name, key);
    }
    return ids;
}

std::string read_backup_id(const Json &document, std::string_view key) {
    std::string id = fields::text_member(document, "id", key);
    if (!is_backup_id(id))
        throw fields::bad_member("id", key);
    return id;
}

} // namespace

std::string pack_key(const ClusterLayout &layout, std::string_view backup, const StoredObject &pack) {
    const size_t slash = pack.name.find('/');
    if (slash == std::string::npos)
        return layout.data_prefix(backup) + pack.name;
    return layout.data_prefix(std::string_view(pack.name).substr(0, slash)) + pack.name.substr(slash + 1);
}

std::string encode(const RepositoryDocument &document) {
    return dump({{"format", kRepositoryFormat},
                 {"product", "pgvigil"},
                 {"id", to_string(document.id)},
                 {"created", fields::time_value(document.created_ms)},
                 {"hash_key", document.hash_key}});
}

RepositoryDocument decode_repository(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    RepositoryDocument document;
    document.id = fields::uuid_member(source, "id", key);
    document.created_ms = fields::time_member(source, "created", key);
    document.hash_key = to_hex(fields::hex_member(source, "hash_key", key));
    if (document.hash_key.size() != 64)
        throw fields::bad_member("hash_key", key);
    return document;
}

std::string encode(const EpochDocument &document) {
    Json json = {{"format", kRepositoryFormat},
                 {"number", document.number},
                 {"instance", to_string(document.instance)},
                 {"host", fields::text_value(document.host)},
                 {"timeline", document.timeline},
                 {"lsn", to_string(document.lsn)},
                 {"reason", fields::text_value(document.reason)},
                 {"created", fields::time_value(document.created_ms)}};
    if (document.breaks)
        json["breaks"] = true;
    return dump(json);
}

EpochDocument decode_epoch(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    EpochDocument document;
    document.number = fields::number<uint64_t>(source, "number", key);
    document.instance = fields::uuid_member(source, "instance", key);
    document.host = fields::text_member(source, "host", key);
    document.timeline = fields::number<uint32_t>(source, "timeline", key);
    document.lsn = fields::lsn_member(source, "lsn", key);
    document.reason = fields::text_member(source, "reason", key);
    document.created_ms = fields::time_member(source, "created", key);
    document.breaks = source.contains("breaks") && fields::bool_member(source, "breaks", key);
    return document;
}

std::string encode(const AttemptDocument &document) {
    return dump({{"format", kRepositoryFormat},
                 {"id", document.id},
                 {"parents", text_list(document.parents)},
                 {"system_identifier", fields::identifier_value(document.system_identifier)},
                 {"timeline", document.timeline},
                 {"start_lsn", to_string(document.start_lsn)},
                 {"checksum_version", document.checksum_version},
                 {"instance", to_string(document.instance)},
                 {"host", fields::text_value(document.host)},
                 {"started", fields::time_value(document.started_ms)},
                 {"continues", text_list(document.continues)}});
}

AttemptDocument decode_attempt(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    AttemptDocument document;
    document.id = read_backup_id(source, key);
    document.parents = read_backup_ids(source, "parents", key);
    document.system_identifier = fields::identifier_member(source, "system_identifier", key);
    document.timeline = fields::number<uint32_t>(source, "timeline", key);
    document.start_lsn = fields::lsn_member(source, "start_lsn", key);
    document.checksum_version = fields::number<uint32_t>(source, "checksum_version", key);
    document.instance = fields::uuid_member(source, "instance", key);
    document.host = fields::text_member(source, "host", key);
    document.started_ms = fields::time_member(source, "started", key);
    document.continues = read_backup_ids(source, "continues", key);
    return document;
}

namespace {

Json ranges_json(const std::vector<WalRange> &ranges) {
    Json list = Json::array();
    for (const WalRange &range : ranges)
        list.push_back(
            {{"timeline", range.timeline}, {"start", to_string(range.start)}, {"end", to_string(range.end)}});
    return list;
}

std::vector<WalRange> read_ranges(const Json &source, std::string_view key) {
    std::vector<WalRange> ranges;
    for (const Json &item : fields::array_member(source, "wal_ranges", key)) {
        WalRange range;
        range.timeline = fields::number<uint32_t>(item, "timeline", key);
        range.start = fields::lsn_member(item, "start", key);
        range.end = fields::lsn_member(item, "end", key);
        if (range.end < range.start)
            throw fields::bad_member("wal_ranges", key);
        ranges.push_back(range);
    }
    return ranges;
}

Json damage_json(const std::vector<PageDamage> &damage) {
    Json list = Json::array();
    for (const PageDamage &file : damage)
        list.push_back({{"path", fields::text_value(file.path)},
                        {"bad_pages", file.bad_pages},
                        {"first_blocks", file.first_blocks}});
    return list;
}

std::vector<PageDamage> read_damage(const Json &source, std::string_view key) {
    std::vector<PageDamage> damage;
    for (const Json &item : fields::array_member(source, "damage", key)) {
        PageDamage file;
        file.path = fields::text_member(item, "path", key);
        file.bad_pages = fields::number<uint64_t>(item, "bad_pages", key);
        for (const Json &block : fields::array_member(item, "first_blocks", key)) {
            if (!block.is_number_unsigned())
                throw fields::bad_member("first_blocks", key);
            file.first_blocks.push_back(block.get<uint64_t>());
        }
        damage.push_back(std::move(file));
    }
    return damage;
}

Json tablespaces_json(const std::vector<Tablespace> &tablespaces) {
    Json list = Json::array();
    for (const Tablespace &tablespace : tablespaces)
        list.push_back({{"oid", tablespace.oid}, {"path", fields::text_value(tablespace.path)}});
    return list;
}

std::vector<Tablespace> read_tablespaces(const Json &source, std::string_view key) {
    std::vector<Tablespace> tablespaces;
    for (const Json &item : fields::array_member(source, "tablespaces", key))
        tablespaces.push_back({fields::number<uint32_t>(item, "oid", key), fields::text_member(item, "path", key)});
    return tablespaces;
}

Json totals_json(const BackupTotals &totals) {
    return {{"files", totals.files},
            {"logical_bytes", totals.logical_bytes},
            {"new_bytes", totals.new_bytes},
            {"stored_bytes", totals.stored_bytes},
            {"extents", totals.extents},
            {"changed_blocks", totals.changed_blocks},
            {"reused_bytes", totals.reused_bytes},
            {"objects", totals.objects}};
}

BackupTotals read_totals(const Json &source, std::string_view key) {
    const Json &item = fields::object_member(source, "totals", key);
    BackupTotals totals;
    totals.files = fields::number<uint64_t>(item, "files", key);
    totals.logical_bytes = fields::number<uint64_t>(item, "logical_bytes", key);
    totals.new_bytes = fields::number<uint64_t>(item, "new_bytes", key);
    totals.stored_bytes = fields::number<uint64_t>(item, "stored_bytes", key);
    totals.extents = fields::number<uint64_t>(item, "extents", key);
    totals.changed_blocks = fields::number<uint64_t>(item, "changed_blocks", key);
    totals.reused_bytes = fields::number<uint64_t>(item, "reused_bytes", key);
    totals.objects = fields::number<uint64_t>(item, "objects", key);
    return totals;
}

Json annotations_json(const std::map<std::string, std::string> &annotations) {
    Json object = Json::object();
    for (const auto &[name, text] : annotations) {
        const Json value = Json::parse(text, nullptr, false);
        if (value.is_discarded())
            throw Error(ErrorCode::kInvalidArgument, "annotation \"" + name + "\" is not valid JSON");
        object[name] = value;
    }
    return object;
}

void read_cluster_facts(const Json &source, CommitDocument &document, std::string_view key) {
    document.system_identifier = fields::identifier_member(source, "system_identifier", key);
    document.server_version = fields::number<uint32_t>(source, "server_version", key);
    document.block_size = fields::number<uint32_t>(source, "block_size", key);
    document.relation_segment_blocks = fields::number<uint32_t>(source, "relation_segment_blocks", key);
    document.wal_segment_size = fields::number<uint64_t>(source, "wal_segment_size", key);
    document.checksum_version = fields::number<uint32_t>(source, "checksum_version", key);
    if (!is_valid_segment_size(document.wal_segment_size))
        throw fields::bad_member("wal_segment_size", key);
    if (document.block_size < 1024 || document.block_size > 32768 ||
        (document.block_size & (document.block_size - 1)) != 0)
        throw fields::bad_member("block_size", key);
    if (document.relation_segment_blocks == 0)
        throw fields::bad_member("relation_segment_blocks", key);
}

void read_wal_facts(const Json &source, CommitDocument &document, std::string_view key) {
    document.start_lsn = fields::lsn_member(source, "start_lsn", key);
    document.start_timeline = fields::number<uint32_t>(source, "start_timeline", key);
    document.stop_lsn = fields::lsn_member(source, "stop_lsn", key);
    document.stop_timeline = fields::number<uint32_t>(source, "stop_timeline", key);
    document.wal_ranges = read_ranges(source, key);
    document.own_wal = fields::bool_member(source, "own_wal", key);
    if (document.stop_lsn < document.start_lsn)
        throw fields::bad_member("stop_lsn", key);
}

} // namespace

std::string encode(const CommitDocument &document) {
    return dump({{"format", kRepositoryFormat},
                 {"id", document.id},
                 {"kind", document.full ? "full" : "incremental"},
                 {"parents", text_list(document.parents)},
                 {"parent_commit_digests", document.parent_commit_digests},
                 {"epoch", document.epoch},
                 {"system_identifier", fields::identifier_value(document.system_identifier)},
                 {"server_version", document.server_version},
                 {"block_size", document.block_size},
                 {"relation_segment_blocks", document.relation_segment_blocks},
                 {"wal_segment_size", document.wal_segment_size},
                 {"checksum_version", document.checksum_version},
                 {"start_lsn", to_string(document.start_lsn)},
                 {"start_timeline", document.start_timeline},
                 {"stop_lsn", to_string(document.stop_lsn)},
                 {"stop_timeline", document.stop_timeline},
                 {"wal_ranges", ranges_json(document.wal_ranges)},
                 {"started", fields::time_value(document.started_ms)},
                 {"stopped", fields::time_value(document.stopped_ms)},
                 {"from_standby", document.from_standby},
                 {"own_wal", document.own_wal},
                 {"group_access", document.group_access},
                 {"host", fields::text_value(document.host)},
                 {"instance", to_string(document.instance)},
                 {"compression", document.compression},
                 {"product_version", document.product_version},
                 {"annotations", annotations_json(document.annotations_json)},
                 {"tablespaces", tablespaces_json(document.tablespaces)},
                 {"backup_label", fields::text_value(document.backup_label)},
                 {"tablespace_map", fields::text_value(document.tablespace_map)},
                 {"control_file", to_hex(document.control_file)},
                 {"totals", totals_json(document.totals)},
                 {"damage", damage_json(document.damage)},
                 {"packs", fields::objects_value(document.packs)},
                 {"table", fields::objects_value(document.table)},
                 {"block_hashes", document.block_hashes},
                 {"hash_repository", to_string(document.hash_repository)},
                 {"hashes", fields::objects_value(document.hashes)}});
}

CommitDocument decode_commit(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    CommitDocument document;
    document.id = read_backup_id(source, key);
    const std::string kind = fields::text_member(source, "kind", key);
    if (kind != "full" && kind != "incremental")
        throw fields::bad_member("kind", key);
    document.full = kind == "full";
    document.parents = read_backup_ids(source, "parents", key);
    for (const auto &[id, digest] : fields::object_member(source, "parent_commit_digests", key).items())
        document.parent_commit_digests[id] = fields::text(digest, "parent_commit_digests", key);
    document.epoch = fields::number<uint64_t>(source, "epoch", key);
    read_cluster_facts(source, document, key);
    read_wal_facts(source, document, key);
    document.started_ms = fields::time_member(source, "started", key);
    document.stopped_ms = fields::time_member(source, "stopped", key);
    document.from_standby = fields::bool_member(source, "from_standby", key);
    document.group_access = fields::bool_member(source, "group_access", key);
    document.host = fields::text_member(source, "host", key);
    document.instance = fields::uuid_member(source, "instance", key);
    document.compression = fields::text_member(source, "compression", key);
    document.product_version = fields::text_member(source, "product_version", key);
    for (const auto &[name, value] : fields::object_member(source, "annotations", key).items())
        document.annotations_json[name] = value.dump();
    document.tablespaces = read_tablespaces(source, key);
    document.backup_label = fields::text_member(source, "backup_label", key);
    document.tablespace_map = fields::text_member(source, "tablespace_map", key);
    document.control_file = fields::hex_member(source, "control_file", key);
    document.totals = read_totals(source, key);
    document.damage = read_damage(source, key);
    document.packs = fields::packs_member(source, key);
    document.table = fields::table_member(source, key);
    document.block_hashes = fields::bool_member(source, "block_hashes", key);
    document.hash_repository = fields::uuid_member(source, "hash_repository", key);
    document.hashes = fields::hashes_member(source, key);
    return document;
}

} // namespace pgvigil
