#include "plan/restore_plan.h"

#include "base/error.h"
#include "base/time.h"
#include "plan/abandoned.h"
#include "plan/wal_search.h"
#include "repo/streamed_wal.h"

#include <algorithm>
#include <map>

namespace pgvigil {

namespace {

// A backup together with one way on from it.
struct Candidate {
    const CommitDocument *backup = nullptr;
    TimelineId timeline = 0;
    TimelinePath path;
    Reach reach;
};

// What a candidate makes of the target; nullopt in `Serve` results means it does not serve.
struct Settings {
    std::string name;
    std::string value;
    bool to_planned_end = false;
    std::optional<Lsn> replay_to = std::nullopt; // unset: everything
};

std::string describe_target(const RecoveryTarget &target) {
    struct Describe {
        std::string operator()(const LatestTarget &) const { return "the latest moment"; }
        std::string operator()(const ImmediateTarget &) const { return "the end of a backup"; }
        std::string operator()(const TimeTarget &t) const { return "time \"" + postgres_time_us(t.time_us) + "\""; }
        std::string operator()(const LsnTarget &t) const { return "LSN \"" + to_string(t.lsn) + "\""; }
        std::string operator()(const XidTarget &t) const { return "transaction " + std::to_string(t.xid); }
        std::string operator()(const NameTarget &t) const { return "restore point \"" + t.name + "\""; }
    };
    return std::visit(Describe{}, target);
}

class Planner {
  public:
    Planner(const Catalog &catalog, const RestoreRequest &request, WalFactsSource &facts)
        : catalog_(catalog), request_(request), facts_(facts) {}

    RestorePlan run() {
        check_request();
        collect_candidates();
        const Candidate *broken = nullptr; // would serve, were its chain whole
        for (const Candidate &candidate : candidates_) {
            const auto settings = serve(candidate);
            if (!settings)
                continue;
            if (!catalog_.has_whole_chain(*candidate.backup)) {
                broken = broken == nullptr ? &candidate : broken;
                continue;
            }
            if (broken != nullptr && ends_before(candidate, *broken))
                check_chain(*broken->backup);
            return make_plan(candidate, *settings);
        }
        if (broken != nullptr)
            check_chain(*broken->backup);
        refuse();
    }

  private:
    void check_request() const {
        if (catalog_.backups.empty()) {
            Error error(ErrorCode::kNotFound, "the repository has no backup of this cluster");
            if (!catalog_.unreadable.empty())
                throw std::move(error).detail("\"" + catalog_.unreadable.front().key +
                                              "\" cannot be read: " + catalog_.unreadable.front().message + ".");
            throw std::move(error).hint("Take one with SELECT pgv_backup_now().");
        }
        if (!request_.backup.empty() && catalog_.backup(request_.backup) == nullptr)
            throw Error(ErrorCode::kNotFound, "there is no backup \"" + request_.backup + "\"")
                .detail("The newest backup is \"" + catalog_.backups.back().id + "\".")
                .hint("See pgvigil list.");
        if (!request_.backup.empty())
            check_backup(*catalog_.backup(request_.backup));
        if (request_.timeline && !path_to(catalog_, *request_.timeline))
            throw Error(ErrorCode::kNotFound,
                        "timeline " + std::to_string(*request_.timeline) + " is not in the repository")
                .detail("The newest timeline is " + std::to_string(reachable_timelines(catalog_).back()) + ".");
    }

    // An older backup may take the place of one whose chain is broken, but not end earlier without a word.
    [[nodiscard]] bool ends_before(const Candidate &candidate, const Candidate &broken) const {
        return std::holds_alternative<LatestTarget>(request_.target) &&
               (candidate.timeline < broken.timeline || candidate.reach.end < broken.reach.end);
    }

    void check_backup(const CommitDocument &backup) const {
        check_chain(backup);
        if (const EpochDocument *epoch = abandoned_by(catalog_, backup))
            throw Error(ErrorCode::kUnreachableTarget, "backup \"" + backup.id + "\" cannot be restored")
                .detail("Its history was given up: " + describe_abandoned(*epoch) + ".")
                .hint("See pgvigil list for what can be restored.");
    }

    void check_chain(const CommitDocument &backup) const {
        for (const std::string &parent : backup.parents)
            if (catalog_.backup(parent) == nullptr)
                throw Error(ErrorCode::kCorrupt, "backup \"" + backup.id + "\" needs backup \"" + parent +
                                                     "\", which is not in the repository");
    }

    // The timeline that recovery from `backup` follows, as recovery_target_timeline would choose it.
    [[nodiscard]] std::optional<TimelineId> timeline_for(const CommitDocument &backup,
                                                         const std::vector<TimelineId> &timelines) const {
        if (request_.timeline)
            return request_.timeline;
        if (request_.current_timeline)
            return backup.stop_timeline;
        for (auto timeline = timelines.rbegin(); timeline != timelines.rend(); ++timeline)
            if (is_on_path(backup, *path_to(catalog_, *timeline)))
                return *timeline;
        return std::nullopt;
    }

    void collect_candidates() {
        const std::vector<TimelineId> timelines = reachable_timelines(catalog_);
        for (const CommitDocument &backup : catalog_.backups) {
            if (!request_.backup.empty() && backup.id != request_.backup)
                continue;
            const auto timeline = timeline_for(backup, timelines);
            if (!timeline)
                continue;
            const auto path = path_to(catalog_, *timeline);
            if (!path || !is_on_path(backup, *path))
                continue;
            const Reach reach = usable_reach(catalog_, *path, backup);
            if (reach.end >= backup.stop_lsn)
                candidates_.push_back({&backup, *timeline, *path, reach});
        }
        std::sort(candidates_.begin(), candidates_.end(), [](const Candidate &a, const Candidate &b) {
            if (a.timeline != b.timeline)
                return a.timeline > b.timeline;
            return a.backup->stop_lsn > b.backup->stop_lsn;
        });
    }

    [[nodiscard]] std::optional<Settings> serve(const Candidate &candidate) {
        return std::visit([&](const auto &target) { return serve(candidate, target); }, request_.target);
    }

    std::optional<Settings> serve(const Candidate & /*candidate*/, const LatestTarget & /*target*/) {
        return Settings{};
    }

    std::optional<Settings> serve(const Candidate & /*candidate*/, const ImmediateTarget & /*target*/) {
        return Settings{"recovery_target", "immediate"};
    }

    std::optional<Settings> serve(const Candidate &candidate, const LsnTarget &target) {
        if (target.lsn < candidate.backup->stop_lsn || target.lsn > candidate.reach.end)
            return std::nullopt;
        // PostgreSQL stops at a record that begins at or behind the target. Behind the last record there is none.
        if (target.lsn >= search(candidate).end_of_records(candidate.backup->stop_lsn, candidate.reach.end))
            return Settings{"", "", true};
        return Settings{"recovery_target_lsn", to_string(target.lsn)};
    }

    std::optional<Settings> serve(const Candidate &candidate, const TimeTarget &target) {
        if (target.time_us < candidate.backup->stopped_ms * 1000)
            return std::nullopt;
        const auto last = search(candidate).last_transaction_us(candidate.backup->stop_lsn, candidate.reach.end);
        if (last && target.time_us < *last)
            return Settings{
                "recovery_target_time", postgres_time_us(target.time_us), false,
                search(candidate).end_of_replay_to(target.time_us, candidate.backup->stop_lsn, candidate.reach.end)};
        const auto stored = stored_ms(candidate);
        if ((last && target.time_us == *last) || (stored && target.time_us <= *stored * 1000))
            return Settings{"", "", true};
        return std::nullopt;
    }

    std::optional<Settings> serve(const Candidate &candidate, const XidTarget &target) {
        const auto end =
            search(candidate).find_transaction(target.xid, candidate.backup->stop_lsn, unsearched_end(candidate));
        if (!end) {
            note_searched(candidate);
            return std::nullopt;
        }
        return Settings{"recovery_target_xid", std::to_string(target.xid), false, end->end};
    }

    std::optional<Settings> serve(const Candidate &candidate, const NameTarget &target) {
        const auto points =
            search(candidate).find_restore_points(target.name, candidate.backup->stop_lsn, unsearched_end(candidate));
        if (points.empty()) {
            note_searched(candidate);
            return std::nullopt;
        }
        return Settings{"recovery_target_name", target.name, false, points.front().lsn};
    }

    // Behind a younger backup on the same way, where nothing was found, there is nothing.
    Lsn unsearched_end(const Candidate &candidate) {
        const auto found = searched_from_.find({candidate.timeline, candidate.reach.end.value});
        return found == searched_from_.end() ? candidate.reach.end : found->second;
    }
    void note_searched(const Candidate &candidate) {
        searched_from_[{candidate.timeline, candidate.reach.end.value}] = candidate.backup->stop_lsn;
    }

    [[nodiscard]] WalSearch search(const Candidate &candidate) const {
        return {candidate.path, catalog_.segment_size, facts_};
    }

    [[nodiscard]] std::optional<int64_t> stored_ms(const Candidate &candidate) const {
        const TimelineWal *wal = catalog_.timeline(candidate.reach.timeline);
        return wal == nullptr ? std::nullopt : stored_ms_of(*wal, candidate.reach.end, catalog_.segment_size);
    }

    [[nodiscard]] std::vector<std::string> chain_of(const CommitDocument &backup, uint64_t &stored_bytes) const {
        std::vector<std::string> chain{backup.id};
        chain.insert(chain.end(), backup.parents.begin(), backup.parents.end());
        for (const std::string &id : chain)
            stored_bytes += catalog_.backup(id)->totals.stored_bytes;
        return chain;
    }

    RestorePlan make_plan(const Candidate &candidate, const Settings &settings) {
        RestorePlan plan;
        plan.backup = candidate.backup->id;
        plan.chain = chain_of(*candidate.backup, plan.backup_bytes);
        plan.restored_bytes = candidate.backup->totals.logical_bytes;
        plan.target_timeline = candidate.timeline;
        plan.path = candidate.path;
        plan.wal_from = candidate.backup->start_lsn;
        plan.consistent_at = candidate.backup->stop_lsn;
        plan.wal_to =
            std::holds_alternative<ImmediateTarget>(request_.target) ? candidate.backup->stop_lsn : candidate.reach.end;
        if (const auto *lsn = std::get_if<LsnTarget>(&request_.target); lsn != nullptr && !settings.to_planned_end)
            plan.wal_to = lsn->lsn;
        plan.replay_to = std::min(plan.wal_to, settings.replay_to.value_or(plan.wal_to));
        if (catalog_.segment_size != 0)
            plan.wal_segments =
                segment_before(std::max(plan.replay_to, Lsn{plan.wal_from.value + 1}), catalog_.segment_size) -
                segment_of(plan.wal_from, catalog_.segment_size) + 1;
        plan.target_setting = settings.name;
        plan.target_value = settings.value;
        plan.inclusive = request_.inclusive;
        plan.to_planned_end = settings.to_planned_end;
        plan.window = {candidate.reach.timeline,
                       candidate.backup->stop_lsn,
                       candidate.reach.end,
                       candidate.backup->stopped_ms,
                       std::nullopt,
                       stored_ms(candidate),
                       {candidate.backup->id}};
        return plan;
    }

    [[nodiscard]] std::string nearest_hint(const std::vector<RecoveryWindow> &windows) const {
        if (const auto *time = std::get_if<TimeTarget>(&request_.target)) {
            std::optional<int64_t> best;
            for (const RecoveryWindow &window : windows)
                for (const int64_t edge : {window.from_ms * 1000, window.to_us.value_or(window.from_ms * 1000)})
                    if (!best || std::abs(edge - time->time_us) < std::abs(*best - time->time_us))
                        best = edge;
            return "The nearest moment that can be restored is " + postgres_time_us(*best) + ".";
        }
        if (const auto *lsn = std::get_if<LsnTarget>(&request_.target)) {
            std::optional<Lsn> best;
            const auto distance = [lsn](Lsn edge) {
                return edge > lsn->lsn ? edge.value - lsn->lsn.value : lsn->lsn.value - edge.value;
            };
            for (const RecoveryWindow &window : windows)
                for (const Lsn edge : {window.from_lsn, window.to_lsn})
                    if (!best || distance(edge) < distance(*best))
                        best = edge;
            return "The nearest position that can be restored is " + to_string(*best) + ".";
        }
        // Where a transaction or a name would be, nobody knows who has not seen it.
        const RecoveryWindow &newest = windows.back();
        const std::string lsn = to_string(newest.to_lsn);
        return "The newest moment that can be restored is " +
               (newest.to_us ? postgres_time_us(std::max(*newest.to_us, newest.from_ms * 1000)) + " (" + lsn + ")"
                             : lsn) +
               ". See pgvigil list for what can be restored.";
    }

    [[noreturn]] void refuse() {
        const std::vector<RecoveryWindow> windows = recovery_windows(catalog_, &facts_);
        Error error(ErrorCode::kUnreachableTarget, "cannot restore to " + describe_target(request_.target));
        if (windows.empty())
            throw std::move(error)
                .detail("No backup has all the WAL that makes it consistent.")
                .hint("Look at the gaps that pgvigil list shows.");
        std::string detail = windows.size() == 1 ? "The recovery window is " : "The recovery windows are ";
        for (size_t i = 0; i < windows.size(); ++i)
            detail += (i == 0 ? "" : "; ") + describe(windows[i]);
        throw std::move(error).detail(detail + ".").hint(nearest_hint(windows));
    }

    const Catalog &catalog_;
    const RestoreRequest &request_;
    WalFactsSource &facts_;
    std::vector<Candidate> candidates_;
    std::map<std::pair<TimelineId, uint64_t>, Lsn> searched_from_; // by timeline and end of the WAL
};

} // namespace

RestorePlan plan_restore(const Catalog &catalog, const RestoreRequest &request, WalFactsSource &facts) {
    return Planner(catalog, request, facts).run();
}

} // namespace pgvigil
