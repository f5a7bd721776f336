#include "transfer/wal_upload.h"

#include "base/error.h"
#include "repo/envelope.h"

#include <fmt/format.h>

namespace pgvigil {

namespace {

bool same_content(const ObjectHeader &stored, const WalObject &object) {
    return stored.kind == ObjectKind::kWal && stored.digest_id != 0 && stored.plain_length == object.plain_length &&
           stored.digest == object.digest;
}

// Whether readers ignore `stored` because this writer's epoch begins at or before the file (rules C2).
bool is_superseded(const ObjectHeader &stored, const WalObject &object, const WalWriter &writer) {
    if (object.parsed.kind != WalFileKind::kSegment && object.parsed.kind != WalFileKind::kBackupHistory)
        return false;
    return stored.epoch < writer.epoch && object.parsed.timeline == writer.epoch_timeline &&
           segment_number(object.parsed, writer.segment_size) >= segment_of(writer.epoch_start, writer.segment_size);
}

// " of host \"a\"" where the epoch's document can be read; it only makes a message clearer.
std::string host_of_epoch(const Repository &repository, uint64_t epoch, const CancelToken &cancel) {
    if (epoch == 0)
        return {};
    try {
        const std::string key = repository.layout().epoch(epoch);
        const std::optional<std::string> json = read_document(repository.store(), key, cancel);
        return json ? fmt::format(" of host \"{}\"", decode_epoch(*json, key).host) : std::string();
    } catch (const Error &) {
        return {};
    }
}

Error conflict(const Repository &repository, const std::string &key, const ObjectHeader &stored,
               const WalObject &object, const WalWriter &writer, const CancelToken &cancel) {
    return Error(ErrorCode::kConflict,
                 fmt::format("could not archive \"{}\": \"{}\" already holds other content under this name",
                             object.name, repository.url()))
        .detail(
            fmt::format("The file has {} bytes, SHA-256 {}, epoch {}{}; \"{}\" has {} bytes, SHA-256 {}, epoch {}{}.",
                        object.plain_length, to_hex(object.digest), writer.epoch,
                        host_of_epoch(repository, writer.epoch, cancel), key, stored.plain_length,
                        to_hex(stored.digest), stored.epoch, host_of_epoch(repository, stored.epoch, cancel)))
        .hint(fmt::format("Another server may archive to the same place: look for it first. If this file is not needed "
                          "in the repository, rename \"{0}.ready\" to \"{0}.done\" in pg_wal/archive_status.",
                          object.name));
}

PutOutcome put(const Repository &repository, const std::string &key, const WalObject &object,
               const CancelToken &cancel) {
    PutRequest request;
    request.key = key;
    request.body = object.body;
    request.role = ObjectRole::kWal;
    request.sha256 = object.body_sha256 ? &*object.body_sha256 : nullptr;
    return repository.store().put_new(request, cancel);
}

enum class Found { kAbsent, kSame, kSuperseded };

Found inspect(const Repository &repository, const std::string &key, const WalObject &object, const WalWriter &writer,
              const CancelToken &cancel) {
    // What stands under an epoch's own name is never superseded by the same epoch.
    const bool own_name = key == object.key;
    const std::optional<ParsedHeader> stored = read_header(repository.store(), key, cancel);
    if (!stored)
        return Found::kAbsent;
    // Also when the content is the same: from the epoch's start on readers pass over objects of older epochs.
    if (own_name && is_superseded(stored->header, object, writer))
        return Found::kSuperseded;
    if (same_content(stored->header, object))
        return Found::kSame;
    throw conflict(repository, key, stored->header, object, writer, cancel);
}

// nullopt when the key is taken by an object that this writer supersedes.
std::optional<WalUploadOutcome> upload_under(const Repository &repository, const std::string &key,
                                             const WalObject &object, const WalWriter &writer,
                                             const CancelToken &cancel) {
    // An object can vanish between the refusal and the look at it when expiry runs; a second create then succeeds.
    for (int attempt = 0; attempt < 3; ++attempt) {
        if (put(repository, key, object, cancel) == PutOutcome::kStored)
            return WalUploadOutcome::kStored;
        switch (inspect(repository, key, object, writer, cancel)) {
        case Found::kSame:
            return WalUploadOutcome::kAlreadyThere;
        case Found::kSuperseded:
            return std::nullopt;
        case Found::kAbsent:
            break;
        }
    }
    throw Error(ErrorCode::kUnavailable, fmt::format("could not archive \"{}\": \"{}\" says that \"{}\" exists, but "
                                                     "does not show it",
                                                     object.name, repository.url(), key))
        .retryable();
}

} // namespace

WalUploadResult upload_wal_object(const Repository &repository, const WalObject &object, const WalWriter &writer,
                                  const CancelToken &cancel) {
    if (const auto outcome = upload_under(repository, object.key, object, writer, cancel))
        return {*outcome, object.key};
    const std::string key = repository.layout().wal_file_of_epoch(object.name, writer.epoch);
    return {upload_under(repository, key, object, writer, cancel).value(), key};
}

WalPlace look_up_wal_object(const Repository &repository, const WalObject &object, const WalWriter &writer,
                            const CancelToken &cancel) {
    Found found = inspect(repository, object.key, object, writer, cancel);
    if (found == Found::kSuperseded)
        found = inspect(repository, repository.layout().wal_file_of_epoch(object.name, writer.epoch), object, writer,
                        cancel);
    return found == Found::kSame ? WalPlace::kSameContent : WalPlace::kFree;
}

} // namespace pgvigil
