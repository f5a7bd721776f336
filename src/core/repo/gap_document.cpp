#include "repo/gap_document.h"

#include "base/wal_name.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"

namespace pgvigil {

std::string encode(const GapDocument &document) {
    const Json json = {{"format", kRepositoryFormat},
                       {"file", document.file},
                       {"reason", document.reason},
                       {"time", fields::time_value(document.time_ms)},
                       {"instance", to_string(document.instance)},
                       {"host", fields::text_value(document.host)}};
    return json.dump(1, ' ') + "\n";
}

GapDocument decode_gap(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    GapDocument document;
    document.file = fields::text_member(source, "file", key);
    if (!parse_wal_file_name(document.file))
        throw fields::bad_member("file", key);
    document.reason = fields::text_member(source, "reason", key);
    document.time_ms = fields::time_member(source, "time", key);
    document.instance = fields::uuid_member(source, "instance", key);
    document.host = fields::text_member(source, "host", key);
    return document;
}

} // namespace pgvigil
