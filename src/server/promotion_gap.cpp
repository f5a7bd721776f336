#include "server/pg.h"

#include "server/promotion_gap.h"

#include "server/boundary.h"
#include "server/waiting.h"
#include "server/wal_gaps.h"
#include "server/wal_wait.h"
#include "server/writer.h"

#include "base/error.h"
#include "base/wal_name.h"
#include "pgdata/history_file.h"
#include "repo/accepted_wal.h"
#include "repo/expired_wal.h"
#include "storage/posix/posix_files.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <set>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr uint64_t kMaxHistoryBytes = uint64_t{16} * 1024 * 1024 + 1; // one more than is accepted

struct CloseDirectory {
    void operator()(::DIR *directory) const noexcept { ::closedir(directory); }
};

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

std::vector<WalRange> timeline_ancestors(TimelineId timeline) {
    if (timeline <= 1)
        return {};
    // Not readTimeLineHistory(): what it cannot read ends the process, and the next one would read it again.
    const std::string path = "pg_wal/" + history_name(timeline);
    const FileHandle file = open_at(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (!file) {
        if (errno != ENOENT)
            throw system_error("could not open file \"" + path + "\"", errno);
        return {};
    }
    const Bytes text = read_at(file, 0, kMaxHistoryBytes, path, CancelToken());
    std::vector<WalRange> ancestors;
    Lsn begin;
    for (const TimelineSwitch &ancestor : parse_history_file(as_text(text), timeline)) {
        ancestors.push_back({ancestor.timeline, begin, ancestor.end});
        begin = ancestor.end;
    }
    return ancestors;
}

namespace {

// What pg_wal has of the history of a timeline.
struct LocalHistory {
    std::set<std::string> segments; // complete ones of the ancestors
    WalNeed need;                   // the same
    std::string history;            // the timeline's own history file; empty when there is none

    [[nodiscard]] bool is_empty() const { return segments.empty() && history.empty(); }
    // In ascending order within a timeline.
    void add(TimelineId timeline, uint64_t segment) {
        const uint64_t size = need.segment_size;
        const Lsn start = segment_start(segment, size);
        segments.insert(segment_name(timeline, segment, size));
        if (need.ranges.empty() || need.ranges.back().timeline != timeline || need.ranges.back().end != start)
            need.ranges.push_back({timeline, start, start});
        need.ranges.back().end = segment_start(segment + 1, size);
    }
};

LocalHistory local_history(const ServerFacts &facts) {
    const uint64_t size = facts.wal_segment_size;
    LocalHistory local;
    local.need.segment_size = size;
    std::set<std::string> let_go;
    for (const WalGap &gap : read_gaps(facts.data_directory))
        let_go.insert(gap.file);
    for (const WalRange &ancestor : timeline_ancestors(facts.timeline))
        for (const uint64_t segment : local_segments(facts.wal_directory, ancestor, size))
            if (!let_go.contains(segment_name(ancestor.timeline, segment, size)))
                local.add(ancestor.timeline, segment);
    std::string history = history_name(facts.timeline);
    if (facts.timeline > 1 && ::access((facts.wal_directory + "/" + history).c_str(), F_OK) == 0)
        local.history = std::move(history);
    return local;
}

// Segments that are stored under their names, but by a writer that readers do not accept there any more. What has
// expired was stored, and is not missed.
std::set<std::string> unreadable_of(const std::set<std::string> &segments, uint64_t segment_size,
                                    const Repository &repository, const CancelToken &cancel) {
    const std::vector<EpochDocument> epochs = list_epochs(repository, 0, cancel);
    const auto expired = expired_runs(list_expired_wal(repository, cancel), epochs, segment_size);
    std::set<std::string> names;
    for (const std::string &name : segments) {
        const WalFileName file = parse_wal_file_name(name).value();
        const uint64_t segment = segment_number(file, segment_size);
        const auto runs = expired.find(file.timeline);
        if (runs != expired.end() && find_run(runs->second, segment) != nullptr)
            continue;
        // Where only one epoch may have written, a name in a listing says as much.
        if (lowest_accepted_epoch(epochs, file.timeline, segment, segment_size) > 1 &&
            !accepted_segment(repository, epochs, file.timeline, segment, segment_size, cancel))
            names.insert(name);
    }
    return names;
}

std::set<std::string> missing_of(const LocalHistory &local,
                                 const std::vector<std::shared_ptr<Repository>> &repositories,
                                 const std::function<bool()> &stop) {
    if (local.is_empty())
        return {};
    const size_t limit = local.segments.size();
    return in_background(
        [&](const CancelToken &cancel) {
            std::set<std::string> names;
            for (const auto &repository : repositories) {
                if (!local.history.empty() &&
                    !repository->store().head(repository->layout().wal_file(local.history), cancel))
                    names.insert(local.history);
                if (limit == 0)
                    continue;
                names.merge(unreadable_of(local.segments, local.need.segment_size, *repository, cancel));
                const auto expired = expired_segments(*repository, local.need, limit, cancel);
                for (std::string &name : missing_segments(*repository, local.need, limit, cancel))
                    if (std::find(expired.begin(), expired.end(), name) == expired.end())
                        names.insert(std::move(name));
            }
            return names;
        },
        stop);
}

// Hands a file of pg_wal to the archiver; false when it waits there already. To be called in pg_section().
bool hand_over(const char *file) noexcept {
    char done[MAXPGPATH];
    const bool waits = XLogArchiveIsReady(file);
    if (!waits)
        XLogArchiveNotify(file);
    // With .done beside .ready the next checkpoint would take the file away unarchived: XLogArchiveCheckDone() asks for
    // .done first. It may also be left from a try that a crash cut off here, so it goes in any case, and last: a file
    // with neither would be handed over by a checkpoint only, and a history file by nobody.
    StatusFilePath(done, file, ".done");
    if (::access(done, F_OK) == 0)
        (void)durable_unlink(done, LOG);
    return !waits;
}

} // namespace

std::set<std::string> missing_history(const ServerFacts &facts,
                                      const std::vector<std::shared_ptr<Repository>> &repositories,
                                      const std::function<bool()> &stop) {
    return missing_of(local_history(facts), repositories, stop);
}

std::set<std::string> not_stored(const std::set<std::string> &segments, uint64_t segment_size,
                                 const std::vector<std::shared_ptr<Repository>> &repositories,
                                 const std::function<bool()> &stop) {
    LocalHistory local;
    local.need.segment_size = segment_size;
    for (const std::string &name : segments) {
        const WalFileName file = parse_wal_file_name(name).value();
        local.add(file.timeline, segment_number(file, segment_size));
    }
    return missing_of(local, repositories, stop);
}

size_t close_promotion_gap(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop) {
    const LocalHistory local = local_history(facts);
    if (local.is_empty())
        return 0;
    const Claim claim =
        in_background([&](const CancelToken &cancel) { return open_as_writer(settings, facts, cancel); }, stop);
    size_t handed_over = 0;
    for (const std::string &name : missing_of(local, claim.repositories, stop)) {
        const char *file = name.c_str();
        bool anew = false;
        pg_section([&]() noexcept {
            anew = hand_over(file);
            if (anew)
                ereport(LOG,
                        (errmsg("pgvigil archives WAL file \"%s\", which the former primary did not archive", file)));
        });
        handed_over += anew ? 1 : 0;
    }
    return handed_over;
}

size_t archive_own_anew(const Claim &claim, const ServerFacts &facts, const std::function<bool()> &stop) {
    const uint64_t size = facts.wal_segment_size;
    // Before the first epoch nobody archived anything.
    if (claim.epoch_timeline != facts.timeline || claim.epoch < 2)
        return 0;
    const uint64_t first = segment_of(claim.epoch_start, size);
    const Lsn end = segment_start(segment_of(facts.wal_end, size), size);
    std::set<std::string> segments;
    for (const uint64_t segment : local_segments(facts.wal_directory, {facts.timeline, claim.epoch_start, end}, size))
        if (segment >= first)
            segments.insert(segment_name(facts.timeline, segment, size));
    if (segments.empty())
        return 0;
    const auto missing = in_background(
        [&](const CancelToken &cancel) {
            std::set<std::string> names;
            for (const auto &repository : claim.repositories)
                names.merge(unreadable_of(segments, size, *repository, cancel));
            return names;
        },
        stop);
    for (const std::string &name : missing) {
        const char *file = name.c_str();
        pg_section([&]() noexcept {
            if (hand_over(file))
                ereport(LOG, (errmsg("pgvigil archives WAL file \"%s\" anew: the repository has it from a server that "
                                     "is the writer no more, or not at all",
                                     file)));
        });
    }
    return missing.size();
}

bool lies_behind_switch(const ServerFacts &facts, const std::string &file) {
    const auto name = parse_wal_file_name(file);
    if (facts.in_recovery || !name || name->kind != WalFileKind::kSegment || name->timeline == facts.timeline)
        return false;
    const Lsn end = segment_start(segment_number(*name, facts.wal_segment_size) + 1, facts.wal_segment_size);
    const std::vector<WalRange> ancestors = timeline_ancestors(facts.timeline);
    return std::any_of(ancestors.begin(), ancestors.end(), [&](const WalRange &ancestor) {
        return ancestor.timeline == name->timeline && end > ancestor.end;
    });
}

} // namespace pgvigil
