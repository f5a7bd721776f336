// What expiry may never do, for any history: orphan a backup, or take away a moment that was promised. The judge is the
// restore planner, asked before, after, and after each single deletion.
#include "plan/retention.h"

#include "base/error.h"
#include "plan_test_support.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

using test::at;
using test::kSegment;

constexpr int64_t kHour = int64_t{3600} * 1000;
constexpr int64_t kBegin = int64_t{1800000000} * 1000;

struct History {
    Catalog catalog;
    test::StatedFacts facts;
    Keeps keeps;
    std::vector<RunningBackup> running;
    RetentionRules rules;
    int64_t now = 0;
};

int64_t time_of(uint64_t segment) {
    return kBegin + static_cast<int64_t>(segment) * kHour;
}

std::string id_of(size_t number, bool full) {
    char text[32];
    std::snprintf(text, sizeof text, "20270101T%06zu%c", number, full ? 'F' : 'I');
    return text;
}

// Up to three timelines, each branching off the one before; some segments are missing.
void make_timelines(History &history) {
    const int count = *rc::gen::inRange(1, 4);
    uint64_t first = 1;
    std::vector<TimelineSwitch> ancestors;
    for (int number = 1; number <= count; ++number) {
        const auto timeline = static_cast<TimelineId>(number);
        const uint64_t length = *rc::gen::inRange<uint64_t>(4, 30);
        TimelineWal wal{timeline, {}, ancestors, number > 1, time_of(first + length - 1)};
        for (uint64_t segment = first; segment < first + length; ++segment) {
            if (*rc::gen::inRange(0, 25) == 0)
                continue;
            if (!wal.runs.empty() && wal.runs.back().last + 1 == segment)
                wal.runs.back().last = segment;
            else
                wal.runs.push_back({segment, segment});
            history.facts.commit(timeline, at(segment, 5000), static_cast<uint32_t>(1000 + segment),
                                 time_of(segment) * 1000);
        }
        history.catalog.timelines.push_back(wal);
        const uint64_t branch = first + *rc::gen::inRange<uint64_t>(0, length);
        ancestors.push_back({timeline, at(branch, *rc::gen::inRange<uint64_t>(0, 9000)), ""});
        first = std::max<uint64_t>(1, branch);
    }
}

void make_backups(History &history) {
    const size_t count = *rc::gen::inRange<size_t>(0, 12);
    for (size_t number = 0; number < count; ++number) {
        const auto &wal = *rc::gen::elementOf(history.catalog.timelines);
        if (wal.runs.empty())
            continue;
        const SegmentRun run = *rc::gen::elementOf(wal.runs);
        const uint64_t start = *rc::gen::inRange<uint64_t>(run.first, run.last + 1);
        const uint64_t stop = start + *rc::gen::inRange<uint64_t>(0, 3);
        CommitDocument backup = test::backup("", wal.timeline, at(start, 100), at(stop, 6000), time_of(stop));
        backup.wal_ranges = {{wal.timeline, backup.start_lsn, backup.stop_lsn}};
        // Built on one of those there are, and all that one is built on.
        if (!history.catalog.backups.empty() && *rc::gen::inRange(0, 2) == 0) {
            const CommitDocument parent = *rc::gen::elementOf(history.catalog.backups);
            backup.full = false;
            backup.parents = parent.parents;
            backup.parents.insert(backup.parents.begin(), parent.id);
        }
        backup.id = id_of(number, backup.full);
        if (*rc::gen::inRange(0, 8) == 0)
            history.keeps[backup.id] = {backup.id, 1, false, std::nullopt, "", 0};
        history.catalog.backups.push_back(std::move(backup));
    }
}

History make_history() {
    History history;
    history.catalog.segment_size = kSegment;
    make_timelines(history);
    make_backups(history);
    if (!history.catalog.backups.empty() && *rc::gen::inRange(0, 4) == 0) {
        const CommitDocument parent = *rc::gen::elementOf(history.catalog.backups);
        history.running.push_back({id_of(900000, false), {parent.id}, parent.stop_timeline, parent.stop_lsn});
    }
    history.rules = {*rc::gen::inRange<int64_t>(0, 40) * kHour,
                     *rc::gen::inRange(0U, 4U),
                     *rc::gen::inRange(0U, 3U),
                     *rc::gen::inRange(0U, 2U),
                     *rc::gen::inRange(0U, 2U),
                     0};
    history.now = time_of(*rc::gen::inRange<uint64_t>(0, 60));
    return history;
}

RetentionPlan plan_of(const History &history) {
    return plan_retention({history.catalog, {}, history.keeps, history.running, history.rules, history.now, false});
}

void cut_segment(Catalog &catalog, TimelineId timeline, uint64_t segment) {
    for (TimelineWal &wal : catalog.timelines) {
        if (wal.timeline != timeline)
            continue;
        std::vector<SegmentRun> runs;
        for (const SegmentRun &run : wal.runs) {
            if (run.first <= segment && segment <= run.last) {
                if (run.first < segment)
                    runs.push_back({run.first, segment - 1});
                if (segment < run.last)
                    runs.push_back({segment + 1, run.last});
            } else {
                runs.push_back(run);
            }
        }
        wal.runs = runs;
    }
}

void hide_backups(Catalog &catalog, const RetentionPlan &plan) {
    std::erase_if(catalog.backups, [&](const CommitDocument &backup) { return !plan.keeps_backup(backup.id); });
}

void delete_histories(Catalog &catalog, const RetentionPlan &plan) {
    for (TimelineWal &wal : catalog.timelines)
        if (wal.timeline < plan.lowest_history)
            wal.has_history = false;
    std::erase_if(catalog.timelines, [](const TimelineWal &wal) { return wal.runs.empty() && !wal.has_history; });
}

Catalog after_all(const History &history, const RetentionPlan &plan) {
    Catalog after = history.catalog;
    hide_backups(after, plan);
    for (const WalVerdict &verdict : plan.wal)
        if (!verdict.keep)
            for (uint64_t segment = verdict.first; segment <= verdict.last; ++segment)
                cut_segment(after, verdict.timeline, segment);
    delete_histories(after, plan);
    return after;
}

std::optional<RestorePlan> try_plan(const Catalog &catalog, const RestoreRequest &request, test::StatedFacts &facts) {
    try {
        return plan_restore(catalog, request, facts);
    } catch (const Error &) {
        return std::nullopt;
    }
}

bool can_restore(const Catalog &catalog, const std::string &id, test::StatedFacts &facts) {
    return try_plan(catalog, {ImmediateTarget{}, true, {}, false, id}, facts).has_value();
}

RC_GTEST_PROP(RetentionProperty, NothingIsOrphaned, ()) {
    const History history = make_history();
    const RetentionPlan plan = plan_of(history);
    for (const CommitDocument &backup : history.catalog.backups)
        if (plan.keeps_backup(backup.id))
            for (const std::string &parent : backup.parents)
                RC_ASSERT(plan.keeps_backup(parent));
    for (const auto &[id, keep] : history.keeps)
        RC_ASSERT(plan.keeps_backup(id));
    for (const RunningBackup &running : history.running)
        for (const std::string &parent : running.parents)
            RC_ASSERT(plan.keeps_backup(parent));
}

RC_GTEST_PROP(RetentionProperty, TheLatestMomentStays, ()) {
    History history = make_history();
    const Catalog after = after_all(history, plan_of(history));
    const RestoreRequest latest{LatestTarget{}, true, {}, false, ""};
    const auto before = try_plan(history.catalog, latest, history.facts);
    const auto now = try_plan(after, latest, history.facts);
    RC_ASSERT(before.has_value() == now.has_value());
    if (before) {
        RC_ASSERT(before->backup == now->backup);
        RC_ASSERT(before->wal_to == now->wal_to);
        RC_ASSERT(before->target_timeline == now->target_timeline);
    }
}

RC_GTEST_PROP(RetentionProperty, EveryMomentOfTheWindowStays, ()) {
    History history = make_history();
    const RetentionPlan plan = plan_of(history);
    const Catalog after = after_all(history, plan);
    for (const TimelineWal &wal : history.catalog.timelines)
        for (uint64_t segment = 1; segment <= 100; ++segment) {
            const int64_t moment = time_of(segment);
            if (moment < history.now - history.rules.window_ms)
                continue;
            const RestoreRequest request{TimeTarget{moment * 1000}, true, wal.timeline, false, ""};
            if (try_plan(history.catalog, request, history.facts))
                RC_ASSERT(try_plan(after, request, history.facts).has_value());
        }
}

RC_GTEST_PROP(RetentionProperty, WhatIsListedCanBeRestoredAfterEveryDeletion, ()) {
    History history = make_history();
    const RetentionPlan plan = plan_of(history);
    Catalog catalog = history.catalog;
    std::vector<std::string> listed;
    for (const CommitDocument &backup : catalog.backups)
        if (plan.keeps_backup(backup.id) && can_restore(catalog, backup.id, history.facts))
            listed.push_back(backup.id);
    // Tombstones hide backups all before the first segment goes; segments go in no order, several at a time.
    hide_backups(catalog, plan);
    std::vector<std::pair<TimelineId, uint64_t>> doomed;
    for (const WalVerdict &verdict : plan.wal)
        if (!verdict.keep)
            for (uint64_t segment = verdict.first; segment <= verdict.last; ++segment)
                doomed.emplace_back(verdict.timeline, segment);
    for (size_t i = doomed.size(); i > 1; --i)
        std::swap(doomed[i - 1], doomed[*rc::gen::inRange<size_t>(0, i)]);
    doomed.emplace_back(0, 0); // the history files
    for (const auto &[timeline, segment] : doomed) {
        if (timeline == 0)
            delete_histories(catalog, plan);
        else
            cut_segment(catalog, timeline, segment);
        for (const std::string &id : listed)
            RC_ASSERT(can_restore(catalog, id, history.facts));
    }
    // Asked again, nothing more goes: the plan is stable.
    history.catalog = catalog;
    const RetentionPlan again = plan_of(history);
    for (const BackupVerdict &verdict : again.backups)
        RC_ASSERT(verdict.keep);
    for (const WalVerdict &verdict : again.wal)
        RC_ASSERT(verdict.keep);
}

RC_GTEST_PROP(RetentionProperty, SoManyFullsStay, ()) {
    History history = make_history();
    const RetentionPlan plan = plan_of(history);
    const auto count = [&](const auto &wanted) {
        return std::count_if(history.catalog.backups.begin(), history.catalog.backups.end(),
                             [&](const CommitDocument &b) { return b.full && wanted(b.id); });
    };
    const auto kept = count([&](const std::string &id) { return plan.keeps_backup(id); });
    const auto restorable =
        count([&](const std::string &id) { return can_restore(history.catalog, id, history.facts); });
    RC_ASSERT(kept >= std::min<int64_t>(restorable, history.rules.fulls));
}

} // namespace
} // namespace pgvigil
