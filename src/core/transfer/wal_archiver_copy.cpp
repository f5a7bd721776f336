#include "transfer/wal_archiver_copy.h"

#include "base/error.h"
#include "repo/wal_object.h"
#include "transfer/wal_upload.h"

#include <fmt/format.h>

namespace pgvigil {

namespace {

// A part of plain bytes that did not compress, its frame headers, and the object's header.
constexpr uint64_t kMaxWalObjectBytes = kWalPartBytes + kMiB;

// "…/<segment>~<epoch>" and "…/<segment>.partial-<digest>" back to the names PostgreSQL gives.
std::string file_name_of(const std::string &key) {
    std::string name = key.substr(key.rfind('/') + 1);
    name = name.substr(0, name.find('~'));
    return name.substr(0, name.find('-'));
}

void copy_part(const Repository &from, const Repository &to, const std::string &key, const CancelToken &cancel) {
    const std::optional<Bytes> body = from.store().get(key, kMaxWalObjectBytes, cancel);
    if (!body)
        throw Error(ErrorCode::kNotFound, fmt::format("\"{}\" lacks the part \"{}\"", from.url(), key));
    PutRequest request;
    request.key = key;
    request.body = *body;
    request.role = ObjectRole::kWal;
    // A part's name carries its attempt: what is there is this part, from an earlier try.
    static_cast<void>(to.store().put_new(request, cancel));
}

} // namespace

bool copy_wal_object(const Repository &from, const Repository &to, const std::string &key, const WalWriter &writer,
                     const CancelToken &cancel) {
    std::optional<Bytes> body = from.store().get(key, kMaxWalObjectBytes, cancel);
    if (!body)
        return false;
    const ParsedHeader parsed = parse_header(*body, key);
    WalObject object;
    object.name = file_name_of(key);
    const std::optional<WalFileName> name = parse_wal_file_name(object.name);
    if (!name)
        throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" is not the name of a WAL file", key));
    object.parsed = *name;
    object.key = key;
    object.plain_length = parsed.header.plain_length;
    object.digest = parsed.header.digest;
    for (const WalPart &part : decode_wal_facts(parsed.header.extension, key).parts)
        copy_part(from, to, part.key, cancel);
    object.body = std::move(*body);
    WalWriter owner = writer;
    // An object of an earlier epoch of this server supersedes nothing: where that epoch began is not known here.
    if (parsed.header.epoch != writer.epoch)
        owner.epoch = 0;
    upload_wal_object(to, object, owner, cancel);
    return true;
}

} // namespace pgvigil
