#include "transfer/wal_upload.h"

#include "base/error.h"
#include "repo/envelope.h"
#include "repo/epochs.h"

#include <fmt/format.h>

namespace pgvigil {

namespace {

bool same_content(const ObjectHeader &stored, const WalObject &object) {
    return stored.kind == ObjectKind::kWal && stored.digest_id != 0 && stored.plain_length == object.plain_length &&
           stored.digest == object.digest;
}

// The epoch under whose name this writer's object counts, where readers ignore `stored` because of a later epoch
// (rules C2); nullopt: `stored` counts. On the writer's own timeline that epoch is its own. On an ancestor's it is the
// last one there: what a promoted standby finds under the plain name may be from a server that its primary had fenced.
std::optional<uint64_t> superseding_epoch(const Repository &repository, const ObjectHeader &stored,
                                          const WalObject &object, const WalWriter &writer, const CancelToken &cancel) {
    if (object.parsed.kind != WalFileKind::kSegment && object.parsed.kind != WalFileKind::kBackupHistory)
        return std::nullopt;
    if (stored.epoch >= writer.epoch)
        return std::nullopt;
    const TimelineId timeline = object.parsed.timeline;
    const uint64_t segment = segment_number(object.parsed, writer.segment_size);
    if (timeline == writer.epoch_timeline && segment >= segment_of(writer.epoch_start, writer.segment_size))
        return writer.epoch;
    const auto later = list_epochs(repository, stored.epoch, cancel);
    const uint64_t lowest = lowest_accepted_epoch(later, timeline, segment, writer.segment_size);
    return lowest > stored.epoch ? std::optional(lowest) : std::nullopt;
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

struct Inspection {
    Found found = Found::kAbsent;
    std::string other_key; // kSuperseded: where the object belongs
};

Inspection inspect(const Repository &repository, const std::string &key, const WalObject &object,
                   const WalWriter &writer, const CancelToken &cancel) {
    const std::optional<ParsedHeader> stored = read_header(repository.store(), key, cancel);
    if (!stored)
        return {};
    // Also when the content is the same: from the epoch's start on readers pass over objects of older epochs. What
    // stands under an epoch's own name is never superseded by the same epoch.
    if (key == object.key)
        if (const auto epoch = superseding_epoch(repository, stored->header, object, writer, cancel))
            return {Found::kSuperseded, repository.layout().wal_file_of_epoch(object.name, *epoch)};
    if (same_content(stored->header, object))
        return {Found::kSame, {}};
    throw conflict(repository, key, stored->header, object, writer, cancel);
}

// Where the content is; or, without an outcome, where it belongs because readers ignore what stands under `key`.
struct Upload {
    std::optional<WalUploadOutcome> outcome;
    std::string key;
};

Upload upload_under(const Repository &repository, const std::string &key, const WalObject &object,
                    const WalWriter &writer, const CancelToken &cancel) {
    // An object can vanish between the refusal and the look at it when expiry runs; a second create then succeeds.
    for (int attempt = 0; attempt < 3; ++attempt) {
        if (put(repository, key, object, cancel) == PutOutcome::kStored)
            return {WalUploadOutcome::kStored, key};
        Inspection inspection = inspect(repository, key, object, writer, cancel);
        switch (inspection.found) {
        case Found::kSame:
            return {WalUploadOutcome::kAlreadyThere, key};
        case Found::kSuperseded:
            return {std::nullopt, std::move(inspection.other_key)};
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
    Upload upload = upload_under(repository, object.key, object, writer, cancel);
    if (!upload.outcome)
        upload = upload_under(repository, upload.key, object, writer, cancel);
    return {upload.outcome.value(), std::move(upload.key)};
}

WalPlace look_up_wal_object(const Repository &repository, const WalObject &object, const WalWriter &writer,
                            const CancelToken &cancel) {
    Inspection inspection = inspect(repository, object.key, object, writer, cancel);
    if (inspection.found == Found::kSuperseded)
        inspection = inspect(repository, inspection.other_key, object, writer, cancel);
    return inspection.found == Found::kSame ? WalPlace::kSameContent : WalPlace::kFree;
}

} // namespace pgvigil
