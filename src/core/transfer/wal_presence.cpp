#include "transfer/wal_presence.h"

#include "base/wal_name.h"
#include "repo/epochs.h"
#include "repo/expired_wal.h"

#include <algorithm>

namespace pgvigil {

namespace {

// "000000010000000000000001" of ".../000000010000000000000001" and of "…~3", an object of a later epoch.
std::string_view segment_of_key(std::string_view key) {
    key.remove_prefix(key.rfind('/') + 1);
    const size_t mark = key.find('~');
    return mark == std::string_view::npos ? key : key.substr(0, mark);
}

void add_missing(std::vector<std::string> &missing, const Repository &repository, const WalRange &range,
                 uint64_t segment_size, size_t limit, const CancelToken &cancel) {
    const ClusterLayout &layout = repository.layout();
    const uint64_t first = segment_of(range.start, segment_size);
    const uint64_t last = segment_before(range.end, segment_size);
    const auto name_of = [&](uint64_t segment) { return segment_name(range.timeline, segment, segment_size); };

    uint64_t next = first;
    const std::string prefix = layout.wal_prefix(range.timeline);
    // Behind every object that stands for the segment before.
    std::string after = first == 0 ? std::string() : layout.wal_file(name_of(first - 1)) + "~~";
    for (bool more = true; more && next <= last && missing.size() < limit;) {
        const ListPage page = repository.store().list({prefix, false, after, 1000}, cancel);
        for (const ObjectInfo &object : page.objects) {
            const auto parsed = parse_wal_file_name(segment_of_key(object.key));
            if (!parsed || parsed->kind != WalFileKind::kSegment)
                continue;
            const uint64_t segment = segment_number(*parsed, segment_size);
            while (next < segment && next <= last && missing.size() < limit)
                missing.push_back(name_of(next++));
            if (segment == next)
                ++next;
        }
        more = page.more;
        after = page.last;
    }
    while (next <= last && missing.size() < limit)
        missing.push_back(name_of(next++));
}

} // namespace

std::vector<std::string> missing_segments(const Repository &repository, const WalNeed &need, size_t limit,
                                          const CancelToken &cancel) {
    std::vector<std::string> missing;
    for (const WalRange &range : need.ranges)
        add_missing(missing, repository, range, need.segment_size, limit, cancel);
    if (missing.size() < limit)
        for (std::string &name : expired_segments(repository, need, limit - missing.size(), cancel))
            if (std::find(missing.begin(), missing.end(), name) == missing.end())
                missing.push_back(std::move(name));
    return missing;
}

std::vector<std::string> expired_segments(const Repository &repository, const WalNeed &need, size_t limit,
                                          const CancelToken &cancel) {
    std::vector<std::string> names;
    std::vector<ExpiredWal> marks = list_expired_wal(repository, cancel);
    std::erase_if(marks, [&](const ExpiredWal &mark) {
        return std::none_of(need.ranges.begin(), need.ranges.end(), [&](const WalRange &range) {
            return range.timeline == mark.timeline &&
                   segment_of(range.start, need.segment_size) <= mark.segments.last &&
                   mark.segments.first <= segment_before(range.end, need.segment_size);
        });
    });
    if (marks.empty())
        return names;
    const auto expired = expired_runs(marks, list_epochs(repository, 0, cancel), need.segment_size);
    for (const WalRange &range : need.ranges) {
        const auto runs = expired.find(range.timeline);
        if (runs == expired.end())
            continue;
        const uint64_t last = segment_before(range.end, need.segment_size);
        for (uint64_t segment = segment_of(range.start, need.segment_size); segment <= last; ++segment)
            if (names.size() < limit && find_run(runs->second, segment) != nullptr)
                names.push_back(segment_name(range.timeline, segment, need.segment_size));
    }
    return names;
}

} // namespace pgvigil
