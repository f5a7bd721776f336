#include "repo/writer_facts.h"

#include "base/wal_name.h"
#include "repo/accepted_wal.h"
#include "repo/envelope.h"
#include "repo/epochs.h"
#include "repo/wal_comparison.h"
#include "repo/wal_object.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr size_t kMaxReasonBytes = 1000;

constexpr const char *kAcceptHint =
    "Check that the file system is mounted and the URL is right. If this is the repository to use from now on, run "
    "SELECT pgv_accept_repository().";

Error foreign(const std::string &message, const std::string &detail) {
    return Error(ErrorCode::kForeign, message).detail(detail).hint(kAcceptHint);
}

void check_document(const std::string &url, const std::optional<RepositoryDocument> &document,
                    const Identity &identity) {
    const AcceptedRepository *known = identity.find_repository(url);
    if (known != nullptr) {
        if (!document)
            throw foreign(fmt::format("repository \"{}\" is missing", url),
                          fmt::format("This server has used the repository with the id {} there; now there is none.",
                                      to_string(known->id)));
        if (document->id != known->id)
            throw foreign(fmt::format("\"{}\" is another repository", url),
                          fmt::format("It has the id {}; this server has used the one with the id {} there.",
                                      to_string(document->id), to_string(known->id)));
        return;
    }
    if (identity.repositories.empty())
        return; // the first use of any: nothing to mistake it for
    const bool accepted =
        document && std::any_of(identity.repositories.begin(), identity.repositories.end(),
                                [&](const AcceptedRepository &other) { return other.id == document->id; });
    if (!accepted)
        throw foreign(fmt::format("repository \"{}\" has not been accepted for this server", url),
                      document
                          ? fmt::format("It has the id {}, which this server has never used.", to_string(document->id))
                          : std::string("There is no repository yet, and this server has used others so far."));
}

// The end of the last complete record of a stored segment; the segment's own end where its facts do not say.
Lsn end_of_segment(const ParsedHeader &header, uint64_t segment, uint64_t segment_size, const std::string &key) {
    const Lsn end = decode_wal_facts(header.header.extension, key).scan.end_of_records;
    return end.is_valid() ? end : segment_start(segment + 1, segment_size);
}

// Complete segments from the one on that the server's WAL ends in: looks for a record that ends behind the server's.
std::optional<Lsn> record_behind_end(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                     const ClaimInput &input, const CancelToken &cancel) {
    const uint64_t own_segment = segment_of(input.wal_end, input.segment_size);
    const std::string own_key =
        repository.layout().wal_file(segment_name(input.timeline, own_segment, input.segment_size));
    // Everything that sorts after "<own key without its last character>…" and is not before it.
    const std::string after = own_key.substr(0, own_key.size() - 1);
    const std::string prefix = repository.layout().wal_prefix(input.timeline);
    ListRequest request;
    request.prefix = prefix;
    request.start_after = after;
    for (std::string last;;) {
        const ListPage page = repository.store().list(request, cancel);
        for (const ObjectInfo &object : page.objects) {
            const auto stored = parse_segment_key(object.key, input.segment_size);
            if (!stored || stored->segment < own_segment)
                continue;
            const uint64_t segment = stored->segment;
            const auto header = read_header(repository.store(), object.key, cancel);
            if (!header ||
                header->header.epoch < lowest_accepted_epoch(epochs, input.timeline, segment, input.segment_size))
                continue;
            // The first is enough: a copy that is far behind would make this read the headers of a whole archive.
            if (const Lsn end = end_of_segment(*header, segment, input.segment_size, object.key); end > input.wal_end)
                return end;
        }
        if (!page.more)
            break;
        last = page.last;
        request.start_after = last;
    }
    return tail_record_behind(repository, epochs, input.timeline, input.wal_end, input.segment_size, cancel);
}

// Where the repository has something else of what this server itself has written in the present epoch.
std::optional<Lsn> other_bytes_at(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                  const ClaimInput &input, const CancelToken &cancel) {
    const EpochDocument &own = epochs.back();
    if (own.timeline != input.timeline)
        return std::nullopt;
    const uint64_t first = segment_of(own.lsn, input.segment_size);
    if (const auto segment = find_contradiction(repository, epochs, input, first, cancel))
        return segment_start(*segment, input.segment_size);
    return std::nullopt;
}

OpenedRepository open_one(const ClaimInput &input, const NamedStore &named, const Identity &identity,
                          const CancelToken &cancel) {
    OpenedRepository opened;
    opened.url = named.url;
    opened.store = named.store;
    opened.document = read_repository_document(*named.store, cancel);
    check_document(named.url, opened.document, identity);
    opened.facts.name = named.url;
    if (!opened.document)
        return opened;
    const auto repository = opened.handle(input.system_identifier);
    opened.epochs = list_epochs(*repository, 0, cancel);
    if (!opened.epochs.empty())
        opened.facts.highest = opened.epochs.back();
    opened.facts.conditional_create = named.store->features().conditional_create;
    if (input.in_recovery || input.known_current)
        return opened;
    opened.facts.record_behind_end = record_behind_end(*repository, opened.epochs, input, cancel);
    // A server that was put back to an earlier state, and has written more than it had before meanwhile.
    if (!opened.facts.record_behind_end && opened.facts.highest && opened.facts.highest->instance == identity.instance)
        opened.facts.other_bytes_at = other_bytes_at(*repository, opened.epochs, input, cancel);
    return opened;
}

// A directory that is not mounted is away as a server is that does not answer: nothing is written to it, and the other
// repositories go on where pgvigil.required_repositories lets them.
bool is_out_of_reach(const Error &error) noexcept {
    switch (error.code()) {
    case ErrorCode::kForeign:
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout:
    case ErrorCode::kIo:
    case ErrorCode::kAccessDenied:
    case ErrorCode::kDiskFull:
        return true;
    default:
        return false;
    }
}

} // namespace

std::shared_ptr<Repository> OpenedRepository::handle(uint64_t system_identifier) const {
    return std::make_shared<Repository>(store, document.value(), url, system_identifier);
}

OpenedRepositories open_repositories(const ClaimInput &input, const std::vector<NamedStore> &stores,
                                     const Identity &identity, const CancelToken &cancel) {
    const size_t required = input.required == 0 ? stores.size() : std::min<size_t>(input.required, stores.size());
    OpenedRepositories all;
    for (const NamedStore &named : stores) {
        try {
            all.opened.push_back(open_one(input, named, identity, cancel));
        } catch (const Error &error) {
            if (!is_out_of_reach(error))
                throw;
            all.unreachable.push_back({named.url, error});
        }
    }
    if (all.opened.size() < required)
        throw all.unreachable.front().error;
    return all;
}

Lsn archiving_start(const ClaimInput &input) {
    Lsn start = input.wal_end;
    std::error_code failed;
    std::filesystem::directory_iterator item(input.data_directory + "/pg_wal/archive_status", failed);
    for (; !failed && item != std::filesystem::directory_iterator(); item.increment(failed)) {
        const std::string name = item->path().filename().string();
        constexpr std::string_view kReady = ".ready";
        if (!name.ends_with(kReady))
            continue;
        const auto parsed = parse_wal_file_name(std::string_view(name).substr(0, name.size() - kReady.size()));
        if (parsed && parsed->kind == WalFileKind::kSegment && parsed->timeline == input.timeline)
            start = std::min(start, segment_start(segment_number(*parsed, input.segment_size), input.segment_size));
    }
    return start;
}

std::optional<std::string> read_take_over_file(const std::string &data_directory) {
    const std::string path = data_directory + "/" + std::string(kTakeOverFileName);
    if (::access(path.c_str(), F_OK) != 0) {
        if (errno == ENOENT)
            return std::nullopt;
        throw system_error("could not look at \"" + path + "\"", errno);
    }
    std::ifstream file(path);
    std::string reason(kMaxReasonBytes, '\0');
    file.read(reason.data(), static_cast<std::streamsize>(reason.size()));
    if (!file && !file.eof())
        throw Error(ErrorCode::kIo, "could not read \"" + path + "\"");
    reason.resize(static_cast<size_t>(file.gcount()));
    while (!reason.empty() && (reason.back() == '\n' || reason.back() == ' '))
        reason.pop_back();
    return reason.empty() ? std::string("ordered by the file ") + std::string(kTakeOverFileName) : reason;
}

void remove_take_over_file(const std::string &data_directory) {
    const std::string path = data_directory + "/" + std::string(kTakeOverFileName);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        throw system_error("could not remove \"" + path + "\"", errno);
}

} // namespace pgvigil
