#include "repo/expired_wal.h"

#include "base/error.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"
#include "repo/wal_index.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <tuple>

namespace pgvigil {

namespace {

constexpr size_t kTimelineDigits = 8;
constexpr size_t kSegmentDigits = 16;

std::optional<uint64_t> hexadecimal(std::string_view text) {
    uint64_t value = 0;
    if (text.find_first_not_of("0123456789ABCDEF") != std::string_view::npos)
        return std::nullopt;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (status != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

// Whether `outer` says all that `inner` does.
bool contains(const ExpiredWal &outer, const ExpiredWal &inner) {
    return outer.timeline == inner.timeline && outer.epoch >= inner.epoch &&
           outer.segments.first <= inner.segments.first && inner.segments.last <= outer.segments.last;
}

// Whether every segment that the object speaks of is expired.
bool is_expired(const WalBlock &block, const std::map<TimelineId, SegmentRuns> &expired) {
    const auto found = expired.find(block.timeline);
    if (found == expired.end())
        return false;
    const SegmentRun *run = find_run(found->second, block.first);
    return run != nullptr && block.last <= run->last;
}

// Whether `other` says all that `block` does.
bool replaces(const WalBlock &other, const WalBlock &block) {
    if (other.timeline != block.timeline || other.segment_size != block.segment_size || other.epoch < block.epoch)
        return false;
    if (other.span == block.span)
        return other.start == block.start && other.generation > block.generation && other.count >= block.count;
    return other.span > block.span && other.start <= block.start && block.end() <= other.end() && other.is_whole() &&
           other.first <= block.first && block.last <= other.last;
}

} // namespace

std::string expired_wal_key(const ClusterLayout &layout, const ExpiredWal &mark) {
    return layout.expired_wal_prefix(mark.timeline) +
           fmt::format("{:016X}-{:016X}~{}", mark.segments.first, mark.segments.last, mark.epoch);
}

std::optional<ExpiredWal> parse_expired_wal_key(const ClusterLayout &layout, std::string_view key) {
    const std::string prefix = layout.expired_wal_prefix();
    if (!key.starts_with(prefix))
        return std::nullopt;
    key.remove_prefix(prefix.size());
    constexpr size_t kRangeBytes = kTimelineDigits + 1 + kSegmentDigits + 1 + kSegmentDigits;
    if (key.size() <= kRangeBytes + 1 || key[kTimelineDigits] != '/' ||
        key[kTimelineDigits + 1 + kSegmentDigits] != '-' || key[kRangeBytes] != '~')
        return std::nullopt;
    uint64_t epoch = 0;
    const auto [end, status] = std::from_chars(key.data() + kRangeBytes + 1, key.data() + key.size(), epoch);
    if (status != std::errc() || end != key.data() + key.size())
        return std::nullopt;
    const auto timeline = hexadecimal(key.substr(0, kTimelineDigits));
    const auto first = hexadecimal(key.substr(kTimelineDigits + 1, kSegmentDigits));
    const auto last = hexadecimal(key.substr(kTimelineDigits + 1 + kSegmentDigits + 1, kSegmentDigits));
    if (!timeline || !first || !last || *last < *first)
        return std::nullopt;
    return ExpiredWal{static_cast<TimelineId>(*timeline), {*first, *last}, epoch};
}

bool mark_wal_expired(const Repository &repository, const ExpiredWal &mark, const CancelToken &cancel) {
    const Json json = {{"format", kRepositoryFormat},
                       {"timeline", mark.timeline},
                       {"first_segment", mark.segments.first},
                       {"last_segment", mark.segments.last},
                       {"epoch", mark.epoch}};
    const Bytes body = encode_document(json.dump(1, ' ') + "\n", 0, random_uuid());
    const std::string key = expired_wal_key(repository.layout(), mark);
    PutRequest request;
    request.key = key;
    request.body = body;
    // The name says it all: whoever created it, it is the same mark.
    return repository.store().put_new(request, cancel) == PutOutcome::kStored;
}

std::vector<ExpiredWal> list_expired_wal(const Repository &repository, const CancelToken &cancel) {
    std::vector<ExpiredWal> marks;
    const std::string prefix = repository.layout().expired_wal_prefix();
    for_each_page(repository.store(), {.prefix = prefix}, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects)
            if (const auto mark = parse_expired_wal_key(repository.layout(), object.key))
                marks.push_back(*mark);
    });
    return marks;
}

std::map<TimelineId, SegmentRuns> expired_runs(const std::vector<ExpiredWal> &marks,
                                               const std::vector<EpochDocument> &epochs, uint64_t segment_size) {
    std::map<TimelineId, SegmentRuns> expired;
    if (segment_size == 0)
        return expired;
    for (const ExpiredWal &mark : marks) {
        uint64_t end = mark.segments.last + 1;
        for (const EpochDocument &epoch : epochs)
            if (epoch.number > mark.epoch && epoch.timeline == mark.timeline)
                end = std::min(end, segment_of(epoch.lsn, segment_size));
        if (end > mark.segments.first)
            add_run(expired[mark.timeline], {mark.segments.first, end - 1});
    }
    return expired;
}

std::vector<std::string> list_needless_wal_index(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                                 uint64_t segment_size, const CancelToken &cancel) {
    const std::vector<ExpiredWal> marks = list_expired_wal(repository, cancel);
    const std::map<TimelineId, SegmentRuns> expired = expired_runs(marks, epochs, segment_size);
    std::vector<std::string> needless;
    for (const ExpiredWal &mark : marks)
        if (std::any_of(marks.begin(), marks.end(),
                        [&](const ExpiredWal &other) { return !(other == mark) && contains(other, mark); }))
            needless.push_back(expired_wal_key(repository.layout(), mark));
    // The larger spans come first, so that what may replace a small one is known by then.
    std::map<std::tuple<TimelineId, uint64_t, uint64_t>, WalBlock> newest;
    for (const uint64_t span : kWalIndexSpans) {
        const std::string prefix = repository.layout().walindex_prefix() + std::to_string(span) + "/";
        std::vector<WalBlock> blocks;
        for_each_page(repository.store(), {.prefix = prefix}, cancel, [&](const ListPage &page) {
            for (const ObjectInfo &object : page.objects)
                if (const auto block = parse_wal_block_key(repository.layout(), object.key))
                    blocks.push_back(*block);
        });
        for (const WalBlock &block : blocks)
            newest[{block.timeline, span, block.start}] = block;
        for (const WalBlock &block : blocks) {
            const WalBlock &same = newest.at({block.timeline, span, block.start});
            const auto larger = newest.find(
                {block.timeline, kWalIndexSpans.front(), block.start - block.start % kWalIndexSpans.front()});
            if (is_expired(block, expired) || replaces(same, block) ||
                (larger != newest.end() && replaces(larger->second, block)))
                needless.push_back(wal_block_key(repository.layout(), block));
        }
    }
    return needless;
}

} // namespace pgvigil
