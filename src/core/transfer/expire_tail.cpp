#include "transfer/expire_tail.h"

#include "base/error.h"
#include "base/wal_name.h"
#include "repo/segment_runs.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>

namespace pgvigil {

namespace {

uint64_t newest_epoch(const Catalog &catalog) {
    return catalog.epochs.empty() ? 0 : catalog.epochs.back().number;
}

void look_at(const Repository &repository, const Catalog &catalog, const RetentionPlan &plan, const TimelineTail &tail,
             TailRemains &remains) {
    const TimelineWal *wal = catalog.timeline(tail.timeline);
    for (const auto &[segment, pieces] : tail.segments) {
        const bool complete = wal != nullptr && find_run(wal->runs, segment) != nullptr;
        if (!complete && plan.keeps_segment(tail.timeline, segment))
            continue;
        for (const TailPiece &piece : pieces)
            if (piece.run.epoch <= newest_epoch(catalog))
                (complete ? remains.superseded : remains.old)
                    .push_back({tail_piece_key(repository.layout(), tail.timeline, tail.segment_size, piece),
                                piece.stored_bytes});
    }
}

// `left`: keys of pieces that are still there although `remains` names them.
std::vector<DoomedObject> needless_runs(const Repository &repository, const Catalog &catalog,
                                        const TailRemains &remains, const std::set<std::string> &left) {
    std::set<std::string> gone;
    for (const auto *objects : {&remains.superseded, &remains.old})
        for (const DoomedObject &object : *objects)
            if (!left.contains(object.key))
                gone.insert(object.key);
    std::vector<DoomedObject> runs;
    for (const TimelineTail &tail : remains.tails) {
        for (const TailRun &run : tail.runs) {
            const uint64_t first = segment_of(run.from, tail.segment_size);
            const auto needs_it = [&](const TailPiece &piece) {
                return (piece.run == run.id || (piece.run < run.id && piece.segment > first)) &&
                       !gone.contains(tail_piece_key(repository.layout(), tail.timeline, tail.segment_size, piece));
            };
            const bool needed = std::any_of(tail.segments.begin(), tail.segments.end(), [&](const auto &entry) {
                return std::any_of(entry.second.begin(), entry.second.end(), needs_it);
            });
            if (!needed && run.id != tail.runs.back().id && run.id.epoch <= newest_epoch(catalog))
                runs.push_back({tail_run_key(repository.layout(), tail.timeline, run.id), 0});
        }
    }
    return runs;
}

} // namespace

TailRemains find_tail_remains(const Repository &repository, const Catalog &catalog, const RetentionPlan &plan,
                              const CancelToken &cancel) {
    TailRemains remains;
    if (catalog.segment_size == 0)
        return remains;
    for (const TimelineId timeline : list_tail_timelines(repository, cancel)) {
        // One that began since is none of this run's business.
        if (catalog.timeline(timeline) == nullptr)
            continue;
        try {
            TimelineTail tail = list_tail(repository, timeline, catalog.segment_size, 0, cancel);
            look_at(repository, catalog, plan, tail, remains);
            remains.tails.push_back(std::move(tail));
        } catch (const Error &error) {
            // Where a run cannot be read nobody knows what counts.
            if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported)
                throw;
        }
    }
    return remains;
}

void delete_tail_remains(const Repository &repository, const Catalog &catalog, const TailRemains &remains,
                         bool old_goes, Deleter &deleter, const CancelToken &cancel) {
    std::set<std::string> left = deleter.remove(remains.superseded, cancel);
    if (old_goes)
        left.merge(deleter.remove(remains.old, cancel));
    else
        for (const DoomedObject &object : remains.old)
            left.insert(object.key);
    (void)deleter.remove(needless_runs(repository, catalog, remains, left), cancel);
}

} // namespace pgvigil
