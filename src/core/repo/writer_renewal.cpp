#include "repo/writer_renewal.h"

#include "base/error.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"

#include <charconv>
#include <deque>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr size_t kDigits = 10;
constexpr size_t kRenewalsKept = 4;

std::optional<uint64_t> parse_number(std::string_view digits) noexcept {
    uint64_t number = 0;
    const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (status != std::errc() || end != digits.data() + digits.size())
        return std::nullopt;
    return number;
}

} // namespace

std::string encode(const WriterRenewal &renewal) {
    const Json json = {{"format", kRepositoryFormat},
                       {"epoch", renewal.epoch},
                       {"number", renewal.number},
                       {"instance", to_string(renewal.instance)},
                       {"host", fields::text_value(renewal.host)},
                       {"released", renewal.released},
                       {"created", fields::time_value(renewal.created_ms)}};
    return json.dump(1, ' ') + "\n";
}

WriterRenewal decode_writer_renewal(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    WriterRenewal renewal;
    renewal.epoch = fields::number<uint64_t>(source, "epoch", key);
    renewal.number = fields::number<uint64_t>(source, "number", key);
    renewal.instance = fields::uuid_member(source, "instance", key);
    renewal.host = fields::text_member(source, "host", key);
    renewal.released = fields::bool_member(source, "released", key);
    renewal.created_ms = fields::time_member(source, "created", key);
    return renewal;
}

std::optional<RenewalName> parse_renewal_key(const ClusterLayout &layout, std::string_view key) {
    const std::string prefix = layout.alive_prefix();
    if (!key.starts_with(prefix))
        return std::nullopt;
    const std::string_view name = key.substr(prefix.size());
    const size_t slash = name.find('/');
    if (slash < kDigits || slash == std::string_view::npos || !name.ends_with(".json"))
        return std::nullopt;
    const auto epoch = parse_number(name.substr(0, slash));
    const auto number = parse_number(name.substr(slash + 1, name.size() - slash - 6));
    if (!epoch || !number || layout.alive(*epoch, *number) != key)
        return std::nullopt;
    return RenewalName{*epoch, *number};
}

NewestRenewal newest_renewal(const Repository &repository, uint64_t epoch, uint64_t after, const CancelToken &cancel) {
    const ClusterLayout &layout = repository.layout();
    const std::string prefix = layout.alive_prefix(epoch);
    const std::string start_after = after == 0 ? std::string() : layout.alive(epoch, after);
    NewestRenewal newest;
    for_each_page(
        repository.store(), {.prefix = prefix, .start_after = start_after}, cancel, [&](const ListPage &page) {
            for (const ObjectInfo &object : page.objects)
                if (const auto name = parse_renewal_key(layout, object.key); name && name->number > newest.number)
                    newest = {name->number, object.modified_ms};
        });
    return newest;
}

std::optional<WriterRenewal> read_renewal(const Repository &repository, uint64_t epoch, uint64_t number,
                                          const CancelToken &cancel) {
    const std::string key = repository.layout().alive(epoch, number);
    const std::optional<std::string> json = read_document(repository.store(), key, cancel);
    if (!json)
        return std::nullopt;
    WriterRenewal renewal = decode_writer_renewal(*json, key);
    if (renewal.epoch != epoch || renewal.number != number)
        throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" is damaged", key))
            .detail(fmt::format("It speaks of renewal {} of epoch {}.", renewal.number, renewal.epoch));
    return renewal;
}

std::vector<ObjectInfo> obsolete_renewals(const Repository &repository, int64_t oldest_ms, const CancelToken &cancel) {
    // In the order of their epochs and numbers, as keys sort; of the highest epoch the last ones are held back.
    std::vector<ObjectInfo> obsolete;
    std::deque<ObjectInfo> last;
    uint64_t epoch = 0;
    const std::string prefix = repository.layout().alive_prefix();
    for_each_page(repository.store(), {.prefix = prefix}, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects) {
            const auto name = parse_renewal_key(repository.layout(), object.key);
            if (!name)
                continue;
            if (name->epoch != epoch) {
                obsolete.insert(obsolete.end(), last.begin(), last.end());
                last.clear();
                epoch = name->epoch;
            }
            last.push_back(object);
            if (last.size() > kRenewalsKept) {
                obsolete.push_back(last.front());
                last.pop_front();
            }
        }
    });
    std::erase_if(obsolete, [=](const ObjectInfo &object) { return object.modified_ms >= oldest_ms; });
    return obsolete;
}

} // namespace pgvigil
