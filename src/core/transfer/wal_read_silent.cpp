// A take-over whose writer has not stored anything yet.
#include "transfer/wal_read.h"

#include "base/wal_name.h"
#include "repo/envelope.h"
#include "repo/epochs.h"
#include "repo/tail.h"
#include "transfer/tail_read.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr size_t kPageEntries = 100;

// Calls visit(key, file) for each object of a complete segment from the one named `first` on, until it returns false.
template <class Visit>
void for_each_segment_object(const Repository &repository, TimelineId timeline, std::string_view first, Visit &&visit,
                             const CancelToken &cancel) {
    const std::string prefix = repository.layout().wal_prefix(timeline);
    // Names that are a prefix of others sort before them.
    std::string after = repository.layout().wal_file(first);
    after.pop_back();
    for (;;) {
        const ListPage page =
            repository.store().list({.prefix = prefix, .start_after = after, .limit = kPageEntries}, cancel);
        for (const ObjectInfo &object : page.objects) {
            const std::string_view base = std::string_view(object.key).substr(object.key.rfind('/') + 1);
            const auto file = parse_wal_file_name(base.substr(0, base.find('~')));
            if (file && file->kind == WalFileKind::kSegment && base.substr(0, 24) >= first && !visit(object.key, *file))
                return;
        }
        if (!page.more)
            return;
        after = page.last;
    }
}

// The size of the timeline's segments; 0 when neither a segment from `name` on nor a tail tells.
uint64_t segment_size_of(const Repository &repository, TimelineId timeline, std::string_view name,
                         const CancelToken &cancel) {
    uint64_t size = list_tail_from(repository, timeline, name, cancel).segment_size;
    if (size == 0)
        for_each_segment_object(
            repository, timeline, name,
            [&](const std::string &key, const WalFileName &) {
                if (const auto header = read_header(repository.store(), key, cancel))
                    size = header->header.plain_length;
                return size == 0;
            },
            cancel);
    return is_valid_segment_size(size) ? size : 0;
}

struct Since {
    bool accepted = false; // something that counts, from the epoch's first segment on
    bool former = false;   // something that does not, from the segment that was asked for on
};

Since stored_since(const Repository &repository, const std::vector<EpochDocument> &epochs, const EpochDocument &epoch,
                   uint64_t asked, uint64_t size, const CancelToken &cancel) {
    Since since;
    const uint64_t begin = segment_of(epoch.lsn, size);
    for_each_segment_object(
        repository, epoch.timeline, segment_name(epoch.timeline, begin, size),
        [&](const std::string &key, const WalFileName &file) {
            const uint64_t segment = segment_number(file, size);
            const auto header = read_header(repository.store(), key, cancel);
            if (header && header->header.epoch >= lowest_accepted_epoch(epochs, epoch.timeline, segment, size))
                since.accepted = true;
            else if (header && segment >= asked)
                since.former = true;
            return !since.accepted;
        },
        cancel);
    // No WAL lies in segment 0.
    const std::string before = segment_name(epoch.timeline, begin == 0 ? 0 : begin - 1, size);
    if (since.accepted || is_streamed_behind(repository, epochs, before, cancel))
        return {true, since.former};
    const TimelineTail tail =
        list_tail_from(repository, epoch.timeline, segment_name(epoch.timeline, asked, size), cancel);
    for (const auto &entry : tail.segments) {
        const uint64_t segment = entry.first;
        if (segment >= asked && std::any_of(entry.second.begin(), entry.second.end(), [&](const TailPiece &piece) {
                return piece.run.epoch < lowest_accepted_epoch(epochs, epoch.timeline, segment, size);
            }))
            since.former = true;
    }
    return since;
}

} // namespace

std::optional<EpochDocument> WalReader::silent_take_over(std::string_view name, const CancelToken &cancel) {
    const auto file = parse_wal_file_name(name);
    if (!file || file->kind != WalFileKind::kSegment)
        return std::nullopt;
    // A repository that was away does not know of a later writer yet.
    std::vector<EpochDocument> epochs;
    for (Source &source : sources_) {
        confirm(source, cancel);
        for (EpochDocument &epoch : epochs_of(source, cancel))
            if (std::none_of(epochs.begin(), epochs.end(),
                             [&](const EpochDocument &other) { return other.number == epoch.number; }))
                epochs.push_back(std::move(epoch));
    }
    std::sort(epochs.begin(), epochs.end(),
              [](const EpochDocument &a, const EpochDocument &b) { return a.number < b.number; });
    // Nobody wrote before the first.
    if (epochs.size() < 2 || std::none_of(epochs.begin() + 1, epochs.end(),
                                          [&](const EpochDocument &epoch) { return epoch.timeline == file->timeline; }))
        return std::nullopt;
    uint64_t size = 0;
    for (size_t i = 0; i < sources_.size() && size == 0; ++i)
        size = segment_size_of(*sources_[i].repository, file->timeline, name, cancel);
    if (size == 0)
        return std::nullopt;
    const uint64_t asked = segment_number(*file, size);
    const uint64_t ruling = lowest_accepted_epoch(epochs, file->timeline, asked, size);
    const auto epoch = std::find_if(epochs.begin(), epochs.end(),
                                    [&](const EpochDocument &candidate) { return candidate.number == ruling; });
    if (epoch == epochs.begin() || epoch == epochs.end())
        return std::nullopt;
    bool former = false;
    for (const Source &source : sources_) {
        const Since since = stored_since(*source.repository, epochs, *epoch, asked, size, cancel);
        if (since.accepted)
            return std::nullopt;
        former = former || since.former;
    }
    return former ? std::optional(*epoch) : std::nullopt;
}

} // namespace pgvigil
