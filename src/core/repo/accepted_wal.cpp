#include "repo/accepted_wal.h"

#include "base/wal_name.h"
#include "repo/tail.h"
#include "repo/tail_piece.h"

#include <charconv>

namespace pgvigil {

std::optional<SegmentKey> parse_segment_key(std::string_view key, uint64_t segment_size) {
    std::string_view name = key.substr(key.rfind('/') + 1);
    SegmentKey result;
    if (const size_t tilde = name.find('~'); tilde != std::string_view::npos) {
        const std::string_view digits = name.substr(tilde + 1);
        const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), result.epoch);
        if (status != std::errc() || end != digits.data() + digits.size() || result.epoch == 0)
            return std::nullopt;
        name = name.substr(0, tilde);
    }
    const auto parsed = parse_wal_file_name(name);
    if (!parsed || parsed->kind != WalFileKind::kSegment)
        return std::nullopt;
    result.timeline = parsed->timeline;
    result.segment = segment_number(*parsed, segment_size);
    return result;
}

std::optional<AcceptedSegment> accepted_segment(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                                TimelineId timeline, uint64_t segment, uint64_t segment_size,
                                                const CancelToken &cancel) {
    const std::string name = segment_name(timeline, segment, segment_size);
    const std::string key = repository.layout().wal_file(name);
    auto parsed = read_header(repository.store(), key, cancel);
    if (!parsed)
        return std::nullopt; // readers begin at the plain name
    const uint64_t lowest = lowest_accepted_epoch(epochs, timeline, segment, segment_size);
    if (parsed->header.epoch >= lowest)
        return AcceptedSegment{key, std::move(parsed->header)};
    const std::string newer = repository.layout().wal_file_of_epoch(name, lowest);
    parsed = read_header(repository.store(), newer, cancel);
    if (!parsed || parsed->header.epoch < lowest)
        return std::nullopt;
    return AcceptedSegment{newer, std::move(parsed->header)};
}

bool has_wal_before(const Repository &repository, TimelineId timeline, uint64_t segment, uint64_t segment_size,
                    const CancelToken &cancel) {
    const std::string prefix = repository.layout().wal_prefix(timeline);
    std::string after;
    for (;;) {
        const ListPage page = repository.store().list({.prefix = prefix, .start_after = after}, cancel);
        for (const ObjectInfo &object : page.objects)
            if (const auto stored = parse_segment_key(object.key, segment_size)) // sorted: the first is the lowest
                return stored->segment < segment;
        if (!page.more)
            return false;
        after = page.last;
    }
}

std::optional<Lsn> tail_record_behind(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                      TimelineId timeline, Lsn end, uint64_t segment_size, const CancelToken &cancel) {
    const uint64_t first = segment_of(end, segment_size);
    const TimelineTail tail = list_tail(repository, timeline, segment_size, first, cancel);
    if (tail.segment_size != segment_size)
        return std::nullopt;
    const TailContext context{
        epochs, [&](uint64_t segment) {
            return accepted_segment(repository, epochs, timeline, segment, segment_size, cancel).has_value();
        }};
    for (const auto &[segment, pieces] : tail.segments) {
        if (segment < first)
            continue;
        const auto cover = tail_cover(tail, context, segment);
        if (!cover || cover->pieces.empty())
            continue;
        const std::string key = tail_piece_key(repository.layout(), timeline, segment_size, cover->pieces.back());
        const auto header = read_header(repository.store(), key, cancel);
        if (!header)
            continue; // merged or removed meanwhile
        const Lsn record = decode_tail_facts(header->header.extension, key).scan.end_of_records;
        if (record.is_valid() && record > end)
            return record;
    }
    return std::nullopt;
}

} // namespace pgvigil
