#include "repo/attempt_renewal.h"

#include "repo/envelope.h"
#include "repo/json_fields.h"
#include "repo/stored_objects.h"

namespace pgvigil {

std::string encode(const RenewalDocument &document) {
    const Json json = {{"format", kRepositoryFormat},
                       {"attempt", document.attempt},
                       {"number", document.number},
                       {"time", fields::time_value(document.time_ms)},
                       {"packs", fields::objects_value(document.packs)}};
    return json.dump(1, ' ') + "\n";
}

RenewalDocument decode_renewal(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    RenewalDocument document;
    document.attempt = fields::text_member(source, "attempt", key);
    if (!is_backup_id(document.attempt))
        throw fields::bad_member("attempt", key);
    document.number = fields::number<uint32_t>(source, "number", key);
    document.time_ms = fields::time_member(source, "time", key);
    document.packs = fields::packs_member(source, key);
    return document;
}

} // namespace pgvigil
