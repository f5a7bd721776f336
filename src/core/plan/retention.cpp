#include "plan/retention.h"

#include "plan/abandoned.h"
#include "plan/calendar_period.h"
#include "plan/retention_wal.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace pgvigil {

namespace {

constexpr const char *kWindow = "recovery window";
constexpr const char *kWindowBegin = "the recovery window begins with it";
constexpr const char *kNewest = "newest restorable backup";
constexpr const char *kYounger = "younger than the newest restorable backup";
constexpr const char *kNothingRestorable = "nothing can be restored: everything is kept";

// A backup that can be made consistent along the path to a timeline.
struct Usable {
    const CommitDocument *backup;
    TimelineId timeline;
};

std::string running_reason(const std::string &id) {
    return "backup " + id + " is running";
}

class Planner {
  public:
    explicit Planner(const RetentionInput &input)
        : input_(input), catalog_(input.catalog), needs_(std::max<uint64_t>(1, input.catalog.segment_size)),
          timelines_(reachable_timelines(input.catalog)) {
        constexpr int64_t kEarliest = std::numeric_limits<int64_t>::min();
        const int64_t window = std::max<int64_t>(0, input.rules.window_ms);
        window_begin_ = input.now_ms < kEarliest + window ? kEarliest : input.now_ms - window;
        for (const CommitDocument &backup : catalog_.backups)
            by_id_.emplace(backup.id, &backup);
    }

    RetentionPlan run() {
        find_usable();
        if (usable_.empty()) {
            keep_everything();
            return finish();
        }
        keep_newest();
        keep_window();
        keep_fulls();
        keep_calendar(CalendarUnit::kDay, input_.rules.daily, "daily");
        keep_calendar(CalendarUnit::kWeek, input_.rules.weekly, "weekly");
        keep_calendar(CalendarUnit::kMonth, input_.rules.monthly, "monthly");
        keep_calendar(CalendarUnit::kYear, input_.rules.yearly, "yearly");
        keep_kept();
        if (input_.decided)
            for (const CommitDocument &backup : catalog_.backups)
                keep(backup.id, "it stays in this run");
        keep_running();
        keep_ancestors();
        keep_wal_of_backups();
        return finish();
    }

  private:
    [[nodiscard]] int64_t stored_ms(const CommitDocument &backup) const {
        const auto found = input_.stored_ms.find(backup.id);
        return found == input_.stored_ms.end() ? backup.stopped_ms : found->second;
    }

    // Adds the reason once.
    void keep(std::string_view id, const std::string &reason) {
        std::vector<std::string> &reasons = reasons_[std::string(id)];
        if (std::find(reasons.begin(), reasons.end(), reason) == reasons.end())
            reasons.push_back(reason);
    }

    // All that `backup` is built on; `complete` says whether all of it is there.
    std::vector<const CommitDocument *> ancestors(const CommitDocument &backup, bool &complete) const {
        std::vector<const CommitDocument *> found;
        std::vector<std::string_view> open(backup.parents.begin(), backup.parents.end());
        std::set<std::string_view> seen{backup.id};
        complete = true;
        while (!open.empty()) {
            const std::string_view id = open.back();
            open.pop_back();
            if (!seen.insert(id).second)
                continue;
            const auto at = by_id_.find(id);
            if (at == by_id_.end()) {
                complete = false;
                continue;
            }
            found.push_back(at->second);
            open.insert(open.end(), at->second->parents.begin(), at->second->parents.end());
        }
        return found;
    }

    void find_usable() {
        for (const TimelineId timeline : timelines_) {
            const TimelinePath path = *path_to(catalog_, timeline);
            for (const CommitDocument &backup : catalog_.backups) {
                bool complete = false;
                (void)ancestors(backup, complete);
                if (!complete || !is_on_path(backup, path) ||
                    usable_reach(catalog_, path, backup).end < backup.stop_lsn)
                    continue;
                usable_.push_back({&backup, timeline});
                restorable_.insert(backup.id);
            }
        }
    }

    void keep_everything() {
        for (const CommitDocument &backup : catalog_.backups)
            keep(backup.id, kNothingRestorable);
        for (const TimelineWal &wal : catalog_.timelines)
            needs_.add(wal.timeline, 0, kOpenEnd, kNothingRestorable);
    }

    // What a restore to the latest moment takes: the newest timeline, there the backup that stopped last.
    void keep_newest() {
        const Usable newest = *std::max_element(usable_.begin(), usable_.end(), [](const Usable &a, const Usable &b) {
            return std::pair(a.timeline, a.backup->stop_lsn) < std::pair(b.timeline, b.backup->stop_lsn);
        });
        newest_timeline_ = newest.timeline;
        keep(newest.backup->id, kNewest);
        newest_start_ = newest.backup->start_lsn;
        // A timeline with a higher number that cannot be restored yet may be the one that is written now.
        for (const CommitDocument *backup : latest_by_id())
            keep(backup->id, kNewest);
        keep_younger();
    }

    // WAL may be on its way to a repository that lags behind the others: then they can be restored soon.
    void keep_younger() {
        const std::string &newest = latest_by_id().front()->id;
        for (const CommitDocument &backup : catalog_.backups)
            if (backup.id > newest && abandoned_by(catalog_, backup) == nullptr)
                keep(backup.id, kYounger);
    }

    // Backups' order of time may differ from the order of timelines: the one made last stays as well.
    [[nodiscard]] std::vector<const CommitDocument *> latest_by_id() const {
        const auto last = std::max_element(usable_.begin(), usable_.end(), [](const Usable &a, const Usable &b) {
            return a.backup->id < b.backup->id;
        });
        return {last->backup};
    }

    [[nodiscard]] bool is_live(TimelineId timeline) const {
        const TimelineWal *wal = catalog_.timeline(timeline);
        if (timeline >= newest_timeline_)
            return true;
        // A time that is not known tells nothing against it.
        if (wal != nullptr && !wal->runs.empty() &&
            (wal->newest_object_ms == 0 || wal->newest_object_ms >= window_begin_))
            return true;
        if (wal != nullptr && !wal->streamed.empty() &&
            wal->streamed.rbegin()->second.pieces.back().modified_ms >= window_begin_)
            return true;
        return std::any_of(catalog_.backups.begin(), catalog_.backups.end(), [&](const CommitDocument &backup) {
            return backup.stop_timeline == timeline && stored_ms(backup) >= window_begin_;
        });
    }

    void keep_window() {
        for (const CommitDocument &backup : catalog_.backups)
            if (stored_ms(backup) >= window_begin_)
                keep(backup.id, kWindow);
        for (const TimelineId timeline : timelines_)
            if (is_live(timeline))
                keep_window_of(timeline);
        // WAL without a history file: a promotion that has not archived it yet, or a timeline that lost it.
        for (const TimelineWal &wal : catalog_.timelines)
            if (!std::binary_search(timelines_.begin(), timelines_.end(), wal.timeline) && is_live(wal.timeline))
                needs_.add(wal.timeline, 0, kOpenEnd, kWindow);
    }

    // Every moment of the window on this timeline: from the newest backup before its begin, or from the first in it.
    void keep_window_of(TimelineId timeline) {
        const CommitDocument *base = nullptr;
        const CommitDocument *first = nullptr;
        for (const Usable &usable : usable_) {
            if (usable.timeline != timeline)
                continue;
            const CommitDocument *backup = usable.backup;
            if (stored_ms(*backup) < window_begin_ && (base == nullptr || backup->stop_lsn > base->stop_lsn))
                base = backup;
            if (first == nullptr || backup->start_lsn < first->start_lsn)
                first = backup;
        }
        const TimelinePath path = *path_to(catalog_, timeline);
        if (base != nullptr)
            keep(base->id, kWindowBegin);
        if (base == nullptr)
            base = first;
        needs_.add_path(path, base == nullptr ? Lsn{} : base->start_lsn, kWindow);
        if (timeline == newest_timeline_)
            needs_.add_path(path, newest_start_, kNewest);
    }

    void keep_fulls() {
        unsigned left = input_.rules.fulls;
        for (auto backup = catalog_.backups.rbegin(); backup != catalog_.backups.rend() && left > 0; ++backup)
            if (backup->full && restorable_.contains(backup->id)) {
                keep(backup->id, "one of the newest " + std::to_string(input_.rules.fulls) + " full backups");
                --left;
            }
    }

    void keep_calendar(CalendarUnit unit, unsigned count, const std::string &name) {
        std::map<int64_t, const CommitDocument *, std::greater<>> newest; // by period, the latest first
        for (const CommitDocument &backup : catalog_.backups) {
            if (!restorable_.contains(backup.id))
                continue;
            const CommitDocument *&entry = newest[calendar_period(backup.stopped_ms, unit)];
            if (entry == nullptr || entry->stopped_ms <= backup.stopped_ms)
                entry = &backup;
        }
        for (const auto &[period, backup] : newest) {
            if (count-- == 0)
                return;
            keep(backup->id, name);
        }
    }

    void keep_kept() {
        for (const CommitDocument &backup : catalog_.backups) {
            const auto found = input_.keeps.find(backup.id);
            if (found != input_.keeps.end() && found->second.holds(input_.now_ms))
                keep(backup.id, found->second.until_ms ? "kept by pgv_keep for a time" : "kept by pgv_keep");
        }
    }

    void keep_running() {
        for (const RunningBackup &running : input_.running) {
            for (const std::string &parent : running.parents)
                if (by_id_.contains(parent))
                    keep(parent, running_reason(running.id));
            needs_.add(running.timeline, segment_of(running.start_lsn, std::max<uint64_t>(1, catalog_.segment_size)),
                       kOpenEnd, running_reason(running.id));
        }
    }

    void keep_ancestors() {
        std::map<std::string, std::string> needed_by; // the newest that needs it
        for (const auto &[id, reasons] : reasons_) {
            bool complete = false;
            for (const CommitDocument *ancestor : ancestors(*by_id_.at(id), complete))
                needed_by[ancestor->id] = id;
        }
        for (const auto &[id, child] : needed_by)
            keep(id, "backup " + child + " is built on it");
    }

    // Those that only others are built on as well: they are listed, so they can be restored.
    void keep_wal_of_backups() {
        for (const auto &[id, reasons] : reasons_)
            needs_.add_backup(catalog_, *by_id_.at(id), "makes backup " + id + " consistent");
    }

    [[nodiscard]] std::string why_unusable(const CommitDocument &backup) const {
        const EpochDocument *epoch = abandoned_by(catalog_, backup);
        return epoch == nullptr ? "" : ": its history was given up, " + describe_abandoned(*epoch);
    }

    RetentionPlan finish() {
        RetentionPlan plan;
        plan.kept = needs_.result();
        plan.wal = judge_wal(catalog_, plan.kept);
        std::optional<TimelineId> lowest;
        const auto use = [&lowest](TimelineId timeline) { lowest = lowest ? std::min(*lowest, timeline) : timeline; };
        for (const CommitDocument &backup : catalog_.backups) {
            const auto found = reasons_.find(backup.id);
            BackupVerdict verdict{backup.id, found != reasons_.end(), ""};
            if (verdict.keep) {
                use(std::min(backup.start_timeline, backup.stop_timeline));
                for (const std::string &reason : found->second)
                    verdict.reason += (verdict.reason.empty() ? "" : "; ") + reason;
            } else {
                verdict.reason = restorable_.contains(backup.id)
                                     ? "no rule keeps it"
                                     : "no rule keeps it; it cannot be restored" + why_unusable(backup);
            }
            plan.backups.push_back(std::move(verdict));
        }
        for (const WalVerdict &verdict : plan.wal)
            if (verdict.keep)
                use(verdict.timeline);
        for (const RunningBackup &running : input_.running)
            use(running.timeline);
        plan.lowest_history = lowest.value_or(0);
        return plan;
    }

    const RetentionInput &input_;
    const Catalog &catalog_;
    WalNeeds needs_;
    const std::vector<TimelineId> timelines_; // reachable, ascending
    int64_t window_begin_ = 0;
    std::map<std::string_view, const CommitDocument *> by_id_;
    std::vector<Usable> usable_;
    std::set<std::string_view> restorable_;
    std::map<std::string, std::vector<std::string>> reasons_; // by backup
    TimelineId newest_timeline_ = 0;
    Lsn newest_start_;
};

} // namespace

bool RetentionPlan::keeps_backup(std::string_view id) const noexcept {
    const auto found = std::find_if(backups.begin(), backups.end(), [id](const auto &b) { return b.id == id; });
    return found == backups.end() || found->keep;
}

bool RetentionPlan::keeps_segments(TimelineId timeline, uint64_t first, uint64_t last) const noexcept {
    const auto found = kept.find(timeline);
    if (found == kept.end())
        return false;
    for (const KeptWal &wal : found->second) {
        if (wal.first > first)
            return false;
        if (wal.last >= last)
            return true;
        first = std::max(first, wal.last + 1);
    }
    return false;
}

bool RetentionPlan::keeps_some(TimelineId timeline, uint64_t first, uint64_t last) const noexcept {
    const auto found = kept.find(timeline);
    return found != kept.end() && std::any_of(found->second.begin(), found->second.end(), [&](const KeptWal &wal) {
               return wal.first <= last && first <= wal.last;
           });
}

RetentionPlan plan_retention(const RetentionInput &input) {
    return Planner(input).run();
}

} // namespace pgvigil
