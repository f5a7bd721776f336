#include "repo/stored_segments.h"

#include "base/wal_name.h"
#include "repo/accepted_wal.h"
#include "repo/envelope.h"
#include "repo/epochs.h"

#include <algorithm>
#include <charconv>
#include <map>

namespace pgvigil {

namespace {

struct Names {
    bool plain = false;
    uint64_t highest_epoch = 0; // of <segment>~<epoch>
};

} // namespace

SegmentRuns stored_segments(const Repository &repository, const std::vector<EpochDocument> &epochs, TimelineId timeline,
                            uint64_t segment_size, SegmentRun range, const CancelToken &cancel) {
    const ClusterLayout &layout = repository.layout();
    const std::string prefix = layout.wal_prefix(timeline);
    std::string after;
    if (range.first > 0)
        after = layout.wal_file(segment_name(timeline, range.first - 1, segment_size)) + "~~";
    std::map<uint64_t, Names> names;
    ListRequest request;
    request.prefix = prefix;
    for (bool more = true; more;) {
        request.start_after = after;
        const ListPage page = repository.store().list(request, cancel);
        more = page.more;
        for (const ObjectInfo &object : page.objects) {
            const std::string_view name = std::string_view(object.key).substr(object.key.rfind('/') + 1);
            const auto parsed = parse_wal_file_name(name.substr(0, name.find('~')));
            if (!parsed || parsed->kind != WalFileKind::kSegment || parsed->timeline != timeline)
                continue;
            const uint64_t segment = segment_number(*parsed, segment_size);
            if (segment > range.last) {
                more = false;
                break;
            }
            Names &entry = names[segment];
            uint64_t epoch = 0;
            if (name.size() > 25)
                std::from_chars(name.data() + 25, name.data() + name.size(), epoch);
            entry.plain = entry.plain || name.size() == 24;
            entry.highest_epoch = std::max(entry.highest_epoch, epoch);
        }
        after = page.last;
    }
    SegmentRuns stored;
    for (const auto &[segment, entry] : names) {
        if (segment < range.first)
            continue;
        const uint64_t lowest = lowest_accepted_epoch(epochs, timeline, segment, segment_size);
        // Readers begin at the plain name.
        const bool there =
            entry.plain && (lowest <= 1 || entry.highest_epoch >= lowest ||
                            is_segment_stored(repository, epochs, timeline, segment_size, segment, cancel));
        if (there)
            add_run(stored, {segment, segment});
    }
    return stored;
}

bool is_segment_stored(const Repository &repository, const std::vector<EpochDocument> &epochs, TimelineId timeline,
                       uint64_t segment_size, uint64_t segment, const CancelToken &cancel) {
    const auto stored = accepted_segment(repository, epochs, timeline, segment, segment_size, cancel);
    return stored && stored->header.kind == ObjectKind::kWal;
}

} // namespace pgvigil
