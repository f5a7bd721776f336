#include "transfer/backup_adopt.h"

#include "base/error.h"
#include "base/parallel.h"
#include "plan/abandoned.h"
#include "repo/attempt_renewal.h"
#include "repo/envelope.h"
#include "repo/epochs.h"
#include "repo/tombstones.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>
#include <tuple>

namespace pgvigil {

namespace {

constexpr size_t kMaxAttempts = 3;
constexpr size_t kMaxExtents = 1'000'000;
constexpr size_t kReadThreads = 4;
// A first read from the end holds nearly every footer.
constexpr uint64_t kFooterProbeBytes = 64 * kKiB;

struct Signs {
    bool begun = false;
    int64_t newest_ms = 0; // the store's clock
};

std::map<std::string, Signs> list_attempts(const Repository &repository, const CancelToken &cancel) {
    std::map<std::string, Signs> attempts;
    ListRequest request;
    const std::string prefix = repository.layout().attempts_prefix();
    request.prefix = prefix;
    for_each_page(repository.store(), request, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects)
            if (const auto name = parse_attempt_name(std::string_view(object.key).substr(prefix.size()))) {
                Signs &signs = attempts[name->backup];
                signs.begun = signs.begun || !name->renewal;
                signs.newest_ms = std::max(signs.newest_ms, object.modified_ms);
            }
    });
    return attempts;
}

std::string newest_commit(const Repository &repository, const CancelToken &cancel) {
    std::string newest;
    ListRequest request;
    const std::string prefix = repository.layout().commits_prefix();
    request.prefix = prefix;
    for_each_page(repository.store(), request, cancel, [&](const ListPage &page) {
        if (!page.objects.empty())
            newest = page.objects.back().key.substr(prefix.size());
    });
    return newest;
}

std::map<std::string, uint64_t> list_packs_of(const Repository &repository, const std::string &id,
                                              const CancelToken &cancel) {
    std::map<std::string, uint64_t> packs;
    ListRequest request;
    const std::string prefix = repository.layout().data_prefix(id);
    request.prefix = prefix;
    for_each_page(repository.store(), request, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects)
            packs[object.key.substr(prefix.size())] = object.size;
    });
    return packs;
}

std::map<std::string, StoredObject> listed_in_renewals(const Repository &repository, const std::string &id,
                                                       const CancelToken &cancel) {
    std::map<std::string, StoredObject> packs;
    for (uint32_t number = 0;; ++number) {
        const std::string key = repository.layout().renewal(id, number);
        const auto json = read_document(repository.store(), key, cancel);
        if (!json)
            return packs;
        for (StoredObject &pack : decode_renewal(*json, key).packs)
            packs[pack.name] = std::move(pack);
    }
}

// Whether the server was put back to an earlier state since: what the attempt read may be of a history that was given
// up.
bool is_of_lost_history(const Repository &repository, const AttemptDocument &attempt, const CancelToken &cancel) {
    const auto header = read_header(repository.store(), repository.layout().attempt(attempt.id), cancel);
    if (!header)
        return true;
    const std::vector<EpochDocument> epochs = list_epochs(repository, 0, cancel);
    return std::any_of(epochs.begin(), epochs.end(), [&](const EpochDocument &epoch) {
        return epoch.number > header->header.epoch && epoch.timeline == attempt.timeline &&
               gives_up_history(epochs, epoch);
    });
}

} // namespace

std::vector<std::string> find_dead_attempts(const BackupUploader &uploader, const AttemptDocument &own,
                                            const DeadAttemptRules &rules, const CancelToken &cancel) {
    const std::shared_ptr<Repository> repository = uploader.live().front();
    ObjectStore &store = repository->store();
    const ClusterLayout &layout = repository->layout();
    const std::map<std::string, Signs> attempts = list_attempts(*repository, cancel);
    const auto tombstones = list_tombstones(*repository, cancel);
    // The backup that was committed next had its chance to continue what died before it.
    const std::string committed = newest_commit(*repository, cancel);
    std::vector<std::string> dead;
    for (auto attempt = attempts.rbegin(); attempt != attempts.rend() && dead.size() < kMaxAttempts; ++attempt) {
        const auto &[id, signs] = *attempt;
        if (id <= committed.substr(0, id.size()))
            break;
        if (!signs.begun || tombstones.contains(id))
            continue;
        const auto json = read_document(store, layout.attempt(id), cancel);
        if (!json)
            continue;
        const AttemptDocument document = decode_attempt(*json, layout.attempt(id));
        if (document.system_identifier != own.system_identifier || document.timeline != own.timeline ||
            is_of_lost_history(*repository, document, cancel))
            continue;
        const bool same_server = document.instance == own.instance && document.host == own.host;
        if ((rules.alone && same_server) || store.clock_ms(cancel) - signs.newest_ms >= rules.silence.count())
            dead.push_back(id);
    }
    return dead;
}

// Packs that every live repository holds alike.
void AdoptedPacks::list_packs(const BackupUploader &uploader, const std::string &id, const CancelToken &cancel) {
    const BackupUploader::Repositories live = uploader.live();
    std::map<std::string, uint64_t> packs = list_packs_of(*live.front(), id, cancel);
    for (size_t i = 1; i < live.size(); ++i) {
        const std::map<std::string, uint64_t> others = list_packs_of(*live[i], id, cancel);
        std::erase_if(packs, [&](const auto &pack) {
            const auto other = others.find(pack.first);
            return other == others.end() || other->second != pack.second;
        });
    }
    const std::map<std::string, StoredObject> listed = listed_in_renewals(*live.front(), id, cancel);
    for (const auto &[name, size] : packs) {
        Pack pack;
        pack.object.name = fmt::format("{}/{}", id, name);
        pack.object.size = size;
        if (const auto known = listed.find(name); known != listed.end() && known->second.size == size) {
            pack.object.sha256 = known->second.sha256;
            pack.digest_known = true;
        }
        packs_.push_back(std::move(pack));
    }
}

std::vector<PackedExtent> AdoptedPacks::read_footer(const Repository &repository, Pack &pack,
                                                    const CancelToken &cancel) const {
    const std::string key = pack_key(repository.layout(), "", pack.object);
    ObjectStore &store = repository.store();
    const auto need = [&](std::optional<Bytes> &&bytes) {
        if (!bytes)
            throw Error(ErrorCode::kNotFound, fmt::format("\"{}\" lacks \"{}\"", repository.url(), key));
        return std::move(*bytes);
    };
    if (!pack.digest_known) {
        const Bytes whole = need(store.get(key, kMaxPackBytes, cancel));
        pack.object.sha256 = sha256(whole);
        pack.digest_known = true;
        return read_pack_footer(whole, key);
    }
    const uint64_t size = pack.object.size;
    const uint64_t probe = std::min(size, kFooterProbeBytes);
    const Bytes end = need(store.get_range(key, {size - probe, probe}, cancel));
    if (end.size() < kPackTrailerBytes)
        throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" is too short for a pack", key));
    const PackPlace place = read_pack_trailer(ByteView(end).last(kPackTrailerBytes), size, key);
    if (place.offset >= size - end.size())
        return read_footer_frame(ByteView(end).subspan(place.offset - (size - end.size()), place.length), place, key);
    return read_footer_frame(need(store.get_range(key, {place.offset, place.length}, cancel)), place, key);
}

void AdoptedPacks::load(const BackupUploader &uploader, const std::vector<std::string> &ids, LogSink &log,
                        const CancelToken &cancel) {
    const std::shared_ptr<Repository> repository = uploader.live().front();
    for (const std::string &id : ids) {
        const BackupUploader::Repositories live = uploader.live();
        if (std::none_of(live.begin(), live.end(), [&](const auto &each) { return has_tombstone(*each, id, cancel); }))
            list_packs(uploader, id, cancel);
    }
    std::mutex mutex;
    size_t left_out = 0;
    parallel_for(packs_.size(), kReadThreads, [&](size_t i) {
        {
            const std::lock_guard lock(mutex);
            if (extents_.size() >= kMaxExtents) {
                ++left_out;
                return;
            }
        }
        try {
            const std::vector<PackedExtent> extents = read_footer(*repository, packs_[i], cancel);
            const std::lock_guard lock(mutex);
            for (const PackedExtent &extent : extents)
                if (extent.digest != BlockHash{})
                    extents_.push_back({extent.digest, extent.plain_length, static_cast<uint32_t>(i), extent.place,
                                        extent.frame_offset, extent.frame_length, extent.hash, extent.own_hash});
        } catch (const Error &error) {
            // What cannot be read is stored again.
            if (error.code() == ErrorCode::kCancelled)
                throw;
            log.emit(LogLevel::kWarning,
                     fmt::format("a pack of an interrupted backup is left out: {}", error.message()), error.detail());
        }
    });
    if (left_out > 0)
        log.emit(LogLevel::kInfo,
                 fmt::format("{} of {} packs of interrupted backups are not looked at", left_out, packs_.size()),
                 fmt::format("The others hold {} extents, as many as are remembered.", extents_.size()));
    std::sort(extents_.begin(), extents_.end(), [](const Extent &a, const Extent &b) {
        return std::tie(a.digest, a.length) < std::tie(b.digest, b.length);
    });
}

std::optional<AdoptedPacks::Found> AdoptedPacks::find(const BlockHash &digest, uint32_t length) const {
    const auto found = std::lower_bound(
        extents_.begin(), extents_.end(), std::tie(digest, length),
        [](const Extent &extent, const auto &wanted) { return std::tie(extent.digest, extent.length) < wanted; });
    if (found == extents_.end() || found->digest != digest || found->length != length)
        return std::nullopt;
    Found result;
    result.pack = found->pack;
    result.extent.plain_length = length;
    result.extent.place = found->place;
    result.extent.frame_offset = found->frame_offset;
    result.extent.frame_length = found->frame_length;
    result.extent.hash = found->hash;
    result.extent.own_hash = found->own_hash;
    return result;
}

} // namespace pgvigil
