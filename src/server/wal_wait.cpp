#include "server/pg.h"

#include "server/wal_wait.h"

#include "base/error.h"
#include "base/time.h"
#include "base/wal_name.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{2000};

// "000000010000000000000001" of ".../000000010000000000000001" and of "…~3", an object of a later epoch.
std::string_view segment_of_key(std::string_view key) {
    key.remove_prefix(key.rfind('/') + 1);
    const size_t mark = key.find('~');
    return mark == std::string_view::npos ? key : key.substr(0, mark);
}

} // namespace

namespace {

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
    return missing;
}

void wait_until_stored(const std::vector<std::shared_ptr<Repository>> &repositories, const WalNeed &need,
                       std::chrono::milliseconds timeout, const CancelToken &cancel) {
    const size_t wanted =
        need.required == 0 ? repositories.size() : std::min<size_t>(need.required, repositories.size());
    const int64_t deadline = boot_time_ms() + timeout.count();
    std::chrono::milliseconds pause = kFirstPause;
    for (;;) {
        size_t complete = 0;
        std::string first_missing;
        std::string where;
        for (const auto &repository : repositories) {
            const auto missing = missing_segments(*repository, need, 1, cancel);
            if (missing.empty())
                ++complete;
            else if (first_missing.empty()) {
                first_missing = missing.front();
                where = repository->store().display_name();
            }
        }
        if (complete >= wanted)
            return;
        if (boot_time_ms() >= deadline)
            throw Error(ErrorCode::kTimeout, "the WAL of the backup did not reach the repository within " +
                                                 std::to_string(timeout.count() / 1000) + " seconds")
                .detail("WAL file \"" + first_missing + "\" is missing in \"" + where + "\".")
                .hint("pgv_archiver shows why WAL is not archived. See pgvigil.backup_wal_timeout.");
        if (!cancel.wait_for(pause))
            cancel.check();
        pause = std::min(pause * 2, kLongestPause);
    }
}

} // namespace pgvigil
