#include "repo/identity_file.h"

#include "base/error.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>

namespace pgvigil::identity_file {

Marks read_marks(int descriptor, const std::string &path) {
    struct statx facts{};
    if (statx(descriptor, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &facts) != 0)
        throw system_error("could not stat \"" + path + "\"", errno);
    Marks marks;
    marks.inode = facts.stx_ino;
    if ((facts.stx_mask & STATX_BTIME) != 0)
        marks.birth_ns = facts.stx_btime.tv_sec * int64_t{1000000000} + facts.stx_btime.tv_nsec;
    return marks;
}

std::string encode(const Content &content) {
    const Identity &identity = content.identity;
    Json repositories = Json::array();
    for (const AcceptedRepository &repository : identity.repositories)
        repositories.push_back({{"url", fields::text_value(repository.url)}, {"id", to_string(repository.id)}});
    const Json document = {{"format", kRepositoryFormat},
                           {"instance", to_string(identity.instance)},
                           {"inode", fields::identifier_value(content.marks.inode)},
                           {"birth_ns", fields::identifier_value(static_cast<uint64_t>(content.marks.birth_ns))},
                           {"repositories", repositories},
                           {"held_epoch", identity.held_epoch},
                           {"pending_epoch", identity.pending_epoch},
                           {"registered_standby", identity.registered_standby},
                           {"standby_epoch", identity.standby_epoch},
                           {"standby_timeline", identity.standby_timeline}};
    return document.dump(1, ' ') + "\n";
}

Content decode(std::string_view json, const std::string &path) {
    const Json source = parse_json(json, path);
    fields::check_format(source, path);
    Content content;
    Identity &identity = content.identity;
    identity.instance = fields::uuid_member(source, "instance", path);
    content.marks.inode = fields::identifier_member(source, "inode", path);
    content.marks.birth_ns = static_cast<int64_t>(fields::identifier_member(source, "birth_ns", path));
    for (const Json &item : fields::array_member(source, "repositories", path))
        identity.repositories.push_back(
            {fields::text_member(item, "url", path), fields::uuid_member(item, "id", path)});
    identity.held_epoch = fields::number<uint64_t>(source, "held_epoch", path);
    identity.pending_epoch = fields::number<uint64_t>(source, "pending_epoch", path);
    identity.registered_standby = fields::bool_member(source, "registered_standby", path);
    identity.standby_epoch = fields::number<uint64_t>(source, "standby_epoch", path);
    identity.standby_timeline = fields::number<uint32_t>(source, "standby_timeline", path);
    return content;
}

} // namespace pgvigil::identity_file
