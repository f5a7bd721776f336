#include "repo/keeps.h"

#include "base/error.h"
#include "base/time.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"
#include "repo/tombstones.h"

#include <charconv>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr size_t kIdBytes = 16;
constexpr int kMaxTries = 100;

struct KeepName {
    std::string id;
    uint32_t number = 0;
};

// "<id>-<6 digits>.json"
std::optional<KeepName> parse_name(std::string_view name) {
    constexpr std::string_view kSuffix = ".json";
    if (name.size() <= kIdBytes + 1 + kSuffix.size() || !name.ends_with(kSuffix) || name[kIdBytes] != '-' ||
        !is_backup_id(name.substr(0, kIdBytes)))
        return std::nullopt;
    name.remove_suffix(kSuffix.size());
    KeepName parsed{std::string(name.substr(0, kIdBytes)), 0};
    const auto [end, status] = std::from_chars(name.data() + kIdBytes + 1, name.data() + name.size(), parsed.number);
    if (status != std::errc() || end != name.data() + name.size())
        return std::nullopt;
    return parsed;
}

// By backup, the highest number there is.
std::map<std::string, uint32_t> highest_numbers(const Repository &repository, std::string_view id,
                                                const CancelToken &cancel) {
    std::map<std::string, uint32_t> highest;
    const std::string prefix = repository.layout().keeps_prefix();
    const std::string wanted = prefix + std::string(id);
    for_each_page(repository.store(), {.prefix = wanted}, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects)
            if (const auto name = parse_name(std::string_view(object.key).substr(prefix.size())))
                highest[name->id] = std::max(highest[name->id], name->number);
    });
    return highest;
}

bool create(const Repository &repository, const KeepDocument &document, uint64_t epoch, const CancelToken &cancel) {
    const std::string key = repository.layout().keep(document.id, document.number);
    const Bytes body = encode_document(encode(document), epoch, random_uuid());
    return repository.store().put_new({.key = key, .body = body}, cancel) == PutOutcome::kStored;
}

void create_next(const Repository &repository, KeepDocument &document, uint64_t epoch, const CancelToken &cancel) {
    for (int tries = 0; tries < kMaxTries; ++tries) {
        ++document.number;
        if (create(repository, document, epoch, cancel))
            return;
    }
    throw Error(ErrorCode::kBusy, "others change the keep of backup \"" + document.id + "\" all the time");
}

} // namespace

std::string encode(const KeepDocument &document) {
    Json json = {{"format", kRepositoryFormat},
                 {"id", document.id},
                 {"number", document.number},
                 {"released", document.released},
                 {"until", nullptr},
                 {"host", fields::text_value(document.host)},
                 {"created", fields::time_value(document.created_ms)}};
    if (document.until_ms)
        json["until"] = fields::time_value(*document.until_ms);
    return json.dump(1, ' ') + "\n";
}

KeepDocument decode_keep(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    KeepDocument document;
    document.id = fields::text_member(source, "id", key);
    if (!is_backup_id(document.id))
        throw fields::bad_member("id", key);
    document.number = fields::number<uint32_t>(source, "number", key);
    document.released = fields::bool_member(source, "released", key);
    if (!fields::member(source, "until", key).is_null())
        document.until_ms = fields::time_member(source, "until", key);
    document.host = fields::text_member(source, "host", key);
    document.created_ms = fields::time_member(source, "created", key);
    return document;
}

Keeps load_keeps(const Repository &repository, const CancelToken &cancel) {
    Keeps keeps;
    for (const auto &[id, number] : highest_numbers(repository, "", cancel)) {
        const std::string key = repository.layout().keep(id, number);
        if (const auto json = read_document(repository.store(), key, cancel))
            keeps.emplace(id, decode_keep(*json, key));
    }
    return keeps;
}

Keeps load_keeps(const Repository &repository, std::vector<UnreadableDocument> &unreadable, const CancelToken &cancel) {
    Keeps keeps;
    for (const auto &[id, number] : highest_numbers(repository, "", cancel)) {
        const std::string key = repository.layout().keep(id, number);
        try {
            if (const auto json = read_document(repository.store(), key, cancel))
                keeps.emplace(id, decode_keep(*json, key));
        } catch (const Error &error) {
            if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported)
                throw;
            unreadable.push_back({key, error.message()});
            keeps.emplace(id, KeepDocument{id, number, false, std::nullopt, "", 0});
        }
    }
    return keeps;
}

bool release_passed_keep(const Repository &repository, const KeepDocument &keep, const std::string &host,
                         uint64_t epoch, const CancelToken &cancel) {
    return create(repository, {keep.id, keep.number + 1, true, std::nullopt, host, unix_time_ms()}, epoch, cancel);
}

void add_keep(const Repository &repository, KeepDocument document, uint64_t epoch, const CancelToken &cancel) {
    const auto missing = [&] {
        return Error(ErrorCode::kNotFound, fmt::format("there is no backup \"{}\" in \"{}\"", document.id,
                                                       repository.store().display_name()));
    };
    if (!is_backup_id(document.id))
        throw Error(ErrorCode::kInvalidArgument, "invalid backup id \"" + document.id.substr(0, 80) + "\"")
            .detail("A backup id looks like 20261120T084013F.");
    if (!repository.store().head(repository.layout().commit(document.id), cancel))
        throw missing().hint("See pgv_backups, or pgvigil list.");
    const auto highest = highest_numbers(repository, document.id, cancel);
    document.number = highest.empty() ? 0 : highest.begin()->second;
    create_next(repository, document, epoch, cancel);
    if (document.released || !has_tombstone(repository, document.id, cancel))
        return;
    document.released = true;
    create_next(repository, document, epoch, cancel);
    throw missing().detail("Expiry has decided to delete it.");
}

} // namespace pgvigil
