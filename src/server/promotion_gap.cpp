#include "server/pg.h"

#include "server/promotion_gap.h"

#include "server/boundary.h"
#include "server/waiting.h"
#include "server/wal_wait.h"
#include "server/writer.h"

#include "base/error.h"
#include "base/wal_name.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <memory>
#include <set>

namespace pgvigil {

namespace {

struct CloseDirectory {
    void operator()(::DIR *directory) const noexcept { ::closedir(directory); }
};

std::vector<WalRange> ancestors_of(TimelineId timeline) {
    List *history = nullptr;
    pg_section([&]() noexcept { history = readTimeLineHistory(timeline); });
    std::vector<WalRange> ancestors;
    for (int i = 0; i < list_length(history); ++i) {
        const auto *entry = static_cast<const TimeLineHistoryEntry *>(list_nth(history, i));
        if (entry->tli != timeline)
            ancestors.push_back({entry->tli, Lsn{entry->begin}, Lsn{entry->end}});
    }
    // Asked for again and again while a file is refused, in an archiver whose memory is not reset before 17.
    pg_section([&]() noexcept { list_free_deep(history); });
    return ancestors;
}

// The complete segments of `range` that stand in pg_wal, by number.
std::set<uint64_t> local_segments(const std::string &wal_directory, const WalRange &range, uint64_t segment_size) {
    const std::unique_ptr<::DIR, CloseDirectory> directory(::opendir(wal_directory.c_str()));
    if (!directory)
        throw system_error("could not open directory \"" + wal_directory + "\"", errno);
    std::set<uint64_t> segments;
    while (const dirent *entry = ::readdir(directory.get())) { // NOLINT(concurrency-mt-unsafe): a stream of its own
        const auto name = parse_wal_file_name(entry->d_name);
        if (!name || name->kind != WalFileKind::kSegment || name->timeline != range.timeline)
            continue;
        const uint64_t segment = segment_number(*name, segment_size);
        if (segment_start(segment + 1, segment_size) <= range.end)
            segments.insert(segment);
    }
    return segments;
}

} // namespace

size_t close_promotion_gap(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop) {
    const uint64_t size = facts.wal_segment_size;
    std::set<std::string> local;
    WalNeed need;
    need.segment_size = size;
    for (const WalRange &ancestor : ancestors_of(facts.timeline)) {
        const std::set<uint64_t> segments = local_segments(facts.wal_directory, ancestor, size);
        if (segments.empty())
            continue;
        need.ranges.push_back(
            {ancestor.timeline, segment_start(*segments.begin(), size), segment_start(*segments.rbegin() + 1, size)});
        for (const uint64_t segment : segments)
            local.insert(segment_name(ancestor.timeline, segment, size));
    }
    if (local.empty())
        return 0;
    const auto missing = in_background(
        [&](const CancelToken &cancel) {
            std::set<std::string> names;
            for (const auto &repository : open_as_writer(settings, facts, cancel).repositories)
                for (std::string &name : missing_segments(*repository, need, local.size(), cancel))
                    names.insert(std::move(name));
            return names;
        },
        stop);
    size_t handed_over = 0;
    for (const std::string &name : missing) {
        if (!local.contains(name))
            continue;
        const char *file = name.c_str();
        pg_section([=]() noexcept {
            ereport(LOG, (errmsg("pgvigil archives WAL file \"%s\", which the former primary did not archive", file)));
            XLogArchiveNotify(file);
        });
        ++handed_over;
    }
    return handed_over;
}

bool lies_behind_switch(const ServerFacts &facts, const std::string &file) {
    const auto name = parse_wal_file_name(file);
    if (facts.in_recovery || !name || name->kind != WalFileKind::kSegment)
        return false;
    const Lsn start = segment_start(segment_number(*name, facts.wal_segment_size), facts.wal_segment_size);
    const std::vector<WalRange> ancestors = ancestors_of(facts.timeline);
    return std::any_of(ancestors.begin(), ancestors.end(), [&](const WalRange &ancestor) {
        return ancestor.timeline == name->timeline && start >= ancestor.end;
    });
}

} // namespace pgvigil
