#include "transfer/expire.h"

#include "base/time.h"
#include "repo/tombstones.h"
#include "transfer/expire_guard.h"
#include "transfer/expire_index.h"
#include "transfer/expire_leftovers.h"
#include "transfer/expire_tail.h"
#include "transfer/expire_wal.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr size_t kIdBytes = 16;
constexpr const char *kDeadAttempt = "a backup that was never finished";
constexpr const char *kCutOff = "an earlier expiry decided it";

uint64_t total_bytes(const std::vector<DoomedObject> &objects) {
    uint64_t bytes = 0;
    for (const DoomedObject &object : objects)
        bytes += object.size;
    return bytes;
}

class Expiry {
  public:
    Expiry(const Repository &repository, const ExpireOptions &options, LogSink &log, const CancelToken &cancel)
        : repository_(repository), store_(repository.store()), options_(options), log_(log), cancel_(cancel),
          deleter_(store_, options.threads) {}

    ExpireReport run() {
        const int64_t now_ms = store_.clock_ms(cancel_);
        guard([&] { check_clocks(now_ms, unix_time_ms(), store_.display_name()); });
        ExpireInventory inventory = load_inventory(repository_, now_ms, options_.grace_ms, cancel_);
        segment_size_ = inventory.catalog.segment_size;
        RetentionPlan plan = plan_retention(inventory.retention_input(options_.rules));
        decide(inventory, plan);
        check_confirmed(inventory);
        versioned_ = store_.keeps_versions(cancel_).value_or(false);
        if (!options_.dry_run)
            check_writer();
        if (options_.dry_run || !may_delete()) {
            show_wal(plan, find_wal_remains(repository_, inventory.catalog, plan, now_ms, options_.grace_ms, cancel_));
            show_tail(find_tail_remains(repository_, inventory.catalog, plan, cancel_));
            return finish();
        }
        release_passed_keeps(inventory);
        make_known();
        // Whoever came before the tombstones is seen now, whoever comes after them sees them.
        inventory = load_inventory(repository_, now_ms, options_.grace_ms, cancel_);
        yield(inventory);
        RetentionInput input = inventory.retention_input(options_.rules);
        input.decided = true;
        plan = plan_retention(input);
        const WalRemains wal =
            find_wal_remains(repository_, inventory.catalog, plan, now_ms, options_.grace_ms, cancel_);
        show_wal(plan, wal);
        const TailRemains tail = find_tail_remains(repository_, inventory.catalog, plan, cancel_);
        show_tail(tail);
        check_writer();
        const bool wal_goes = mark_wal(inventory, plan, wal);
        delete_backups(inventory);
        if (wal_goes)
            delete_wal(wal);
        delete_tail_remains(repository_, inventory.catalog, tail, wal_goes, deleter_, cancel_);
        delete_index(inventory);
        delete_rest(inventory);
        return finish();
    }

  private:
    // What a dry run only shows ends a run that deletes.
    template <class Check> void guard(Check check) {
        try {
            check();
        } catch (const Error &error) {
            if (!options_.dry_run || error.code() != ErrorCode::kRefused)
                throw;
            report_.refusal = error;
        }
    }

    void check_writer() const {
        if (options_.check_writer)
            options_.check_writer(cancel_);
    }

    void add_row(std::string kind, std::string object, bool goes, std::string reason, std::optional<uint64_t> bytes,
                 uint64_t objects) {
        report_.rows.push_back({std::move(kind), std::move(object), goes ? ExpireAction::kDelete : ExpireAction::kKeep,
                                std::move(reason), bytes, objects});
    }

    void decide(const ExpireInventory &inventory, const RetentionPlan &plan) {
        for (const BackupVerdict &verdict : plan.backups) {
            const CommitFacts &facts = inventory.commits.at(verdict.id);
            add_row("backup", verdict.id, !verdict.keep, verdict.reason, facts.document.totals.stored_bytes,
                    facts.objects);
            if (!verdict.keep)
                decided_.push_back({verdict.id, verdict.reason});
        }
        newly_decided_ = decided_.size();
        std::set<std::string> going;
        for (const auto &[id, reason] : decided_)
            going.insert(id);
        for (const auto &[id, age] : inventory.tombstones)
            if (const auto found = inventory.commits.find(id);
                found != inventory.commits.end() && !inventory.is_in_catalog(id)) {
                going.insert(id);
                decided_.push_back({id, kCutOff});
                add_row("backup", id, true, kCutOff, found->second.document.totals.stored_bytes, found->second.objects);
            }
        const std::set<std::string> adopted = inventory.adopted_packs(going);
        for (const auto &[id, facts] : inventory.attempts) {
            if (facts.has_commit)
                continue;
            if (facts.running || inventory.is_continued(id)) {
                add_row("attempt", id, false, facts.running ? "it is running" : "a running backup continues it", {},
                        facts.objects.size());
                continue;
            }
            const std::vector<DoomedObject> stored = stored_objects(repository_, id, adopted, cancel_);
            if (stored.empty() && facts.objects.empty())
                continue; // only packs that a backup has taken over
            decided_.push_back({id, kDeadAttempt});
            add_row("attempt", id, true, kDeadAttempt, total_bytes(stored) + total_bytes(facts.objects),
                    stored.size() + facts.objects.size());
        }
    }

    void check_confirmed(const ExpireInventory &inventory) {
        const auto share = refuse_share(newly_decided_, inventory.offered, store_.display_name());
        auto foreign = refuse_foreign(repository_, inventory.catalog.epochs, cancel_);
        if (!options_.confirm)
            guard([&] {
                if (foreign)
                    throw *std::move(foreign);
                if (share)
                    throw Error(*share);
            });
        else if (foreign && !options_.dry_run)
            remember_confirmation(repository_, inventory.catalog.epochs, options_.host, inventory.now_ms, cancel_);
    }

    // Whether the credentials allow deleting at all, asked with a name that nothing has: without that right the
    // backups had better stay on offer.
    [[nodiscard]] bool may_delete() {
        const std::string key = repository_.layout().attempt("00000000T000000F");
        const std::vector<DeleteFailure> failures = store_.remove({key}, cancel_);
        if (failures.empty() || !failures.front().access_denied)
            return true;
        log_.emit(LogLevel::kWarning, fmt::format("expiry may not delete in \"{}\"", store_.display_name()),
                  failures.front().message);
        nothing_allowed_ = true;
        return false;
    }

    // A backup with a keep that is not released stays on offer in spite of a tombstone: who keeps it cannot know by
    // which clock its time has passed.
    void release_passed_keeps(const ExpireInventory &inventory) {
        std::erase_if(decided_, [&](const Decision &decision) {
            const auto keep = inventory.keeps.find(decision.id);
            if (keep == inventory.keeps.end() || keep->second.released || decision.reason == kCutOff ||
                release_passed_keep(repository_, keep->second, options_.host, options_.epoch, cancel_))
                return false;
            stay(decision.id, "kept since a moment ago");
            return true;
        });
    }

    void stay(const std::string &id, const std::string &reason) {
        for (ExpireRow &row : report_.rows)
            if (row.object == id) {
                row.action = ExpireAction::kKeep;
                row.reason = reason;
            }
    }

    void make_known() {
        // The youngest first: a backup never looks as if it had lost what it is built on.
        std::sort(decided_.begin(), decided_.end(), [](const auto &a, const auto &b) { return a.id > b.id; });
        for (const Decision &decision : decided_) {
            if (decision.reason == kCutOff)
                continue;
            create_tombstone(repository_, {decision.id, decision.reason, options_.host, unix_time_ms()}, options_.epoch,
                             cancel_);
        }
    }

    void yield(const ExpireInventory &inventory) {
        for (const Decision &decision : decided_) {
            if (!inventory.is_in_catalog(decision.id) && !inventory.is_continued(decision.id))
                continue;
            stay(decision.id, "in use since a moment ago");
            log_.emit(LogLevel::kInfo,
                      fmt::format("\"{}\" in \"{}\" is in use again and stays", decision.id, store_.display_name()),
                      "");
        }
        for (const auto &[id, entombed_ms] : inventory.tombstones) {
            // An attempt that was taken for dead and stored something since.
            const auto attempt = inventory.attempts.find(id);
            const bool woke_up =
                attempt != inventory.attempts.end() && !attempt->second.has_commit &&
                attempt->second.newest_ms > std::max(entombed_ms, inventory.now_ms - options_.grace_ms);
            if (!inventory.is_in_catalog(id) && !inventory.is_continued(id) && !woke_up)
                going_.insert(id);
        }
    }

    void deny_row(std::string_view object) {
        for (ExpireRow &row : report_.rows)
            if (row.object == object && row.action == ExpireAction::kDelete)
                row.action = ExpireAction::kDenied;
    }

    void delete_backups(const ExpireInventory &inventory) {
        const std::set<std::string> adopted = inventory.adopted_packs(going_);
        // The commit first, and the youngest: also who knows nothing of tombstones never sees half a backup.
        for (auto id = going_.rbegin(); id != going_.rend(); ++id) {
            cancel_.check();
            const auto commit = inventory.commits.find(*id);
            if (commit == inventory.commits.end() ||
                deleter_.remove({{repository_.layout().commit(*id), commit->second.size}}, cancel_).empty())
                gone_.insert(*id);
            else
                deny_row(*id);
        }
        for (auto id = gone_.begin(); id != gone_.end();) {
            const bool left = !deleter_.remove(stored_objects(repository_, *id, adopted, cancel_), cancel_).empty();
            if (left)
                deny_row(*id);
            // What says that there is something to delete stays until it is deleted.
            id = left ? gone_.erase(id) : std::next(id);
        }
        (void)deleter_.remove(small_objects(repository_, inventory, gone_, cancel_), cancel_);
    }

    static std::string range_text(const DoomedWal &wal, uint64_t segment_size) {
        return range_text(wal.timeline, wal.first, wal.last, segment_size);
    }
    static std::string range_text(TimelineId timeline, uint64_t first, uint64_t last, uint64_t segment_size) {
        std::string text = segment_name(timeline, first, segment_size);
        if (last != first)
            text += " to " + segment_name(timeline, last, segment_size);
        return text;
    }

    void show_wal(const RetentionPlan &plan, const WalRemains &wal) {
        const uint64_t size = segment_size_;
        for (const WalVerdict &verdict : plan.wal)
            if (verdict.keep)
                add_row("wal", range_text(verdict.timeline, verdict.first, verdict.last, size), false, verdict.reason,
                        {}, verdict.last - verdict.first + 1);
        for (const DoomedWal &range : wal.segments)
            add_row("wal", range_text(range, size), true, "no recovery window and no kept backup needs it",
                    total_bytes(range.objects), range.objects.size());
        for (const DoomedObject &history : wal.histories)
            add_row("history", history.key.substr(history.key.rfind('/') + 1), true, "nothing that is kept leads there",
                    history.size, 1);
        show_others("WAL objects of writers that were replaced or died", wal.leftovers);
        show_others("records of WAL that was let go", wal.gaps);
    }

    void show_tail(const TailRemains &tail) {
        show_others("streamed pieces of segments that are complete", tail.superseded);
        show_others("streamed pieces of WAL that nothing needs", tail.old);
    }

    void show_others(const char *what, const std::vector<DoomedObject> &objects) {
        if (!objects.empty())
            add_row("other", what, true, "nothing refers to them", total_bytes(objects), objects.size());
    }

    // A backup that began since the inventory was read looks for the marks before it commits. Where it may have done so
    // before they were there, it is seen now, and the WAL it needs stays.
    [[nodiscard]] bool mark_wal(const ExpireInventory &inventory, const RetentionPlan &plan, const WalRemains &wal) {
        const auto marks = mark_doomed_wal(repository_, wal.segments, plan, inventory.newest_epoch(), cancel_);
        if (!has_newcomers(inventory))
            return true;
        const ExpireInventory later = load_inventory(repository_, inventory.now_ms, options_.grace_ms, cancel_);
        RetentionInput input = later.retention_input(options_.rules);
        input.decided = true;
        const RetentionPlan later_plan = plan_retention(input);
        if (std::none_of(wal.segments.begin(), wal.segments.end(), [&](const DoomedWal &range) {
                return later_plan.keeps_some(range.timeline, range.first, range.last);
            }))
            return true;
        std::vector<DoomedObject> undone;
        for (const ExpiredWal &mark : marks)
            undone.push_back({expired_wal_key(repository_.layout(), mark), 0});
        (void)deleter_.remove(undone, cancel_);
        for (const DoomedWal &range : wal.segments)
            stay(range_text(range, segment_size_), "a backup began a moment ago");
        return false;
    }

    [[nodiscard]] bool has_newcomers(const ExpireInventory &inventory) const {
        for (const std::string &prefix :
             {repository_.layout().attempts_prefix(), repository_.layout().commits_prefix()})
            for (const ObjectInfo &object : list_objects(repository_, prefix, cancel_)) {
                const std::string id = object.key.substr(prefix.size(), kIdBytes);
                if (is_backup_id(id) && !inventory.attempts.contains(id) && !inventory.commits.contains(id))
                    return true;
            }
        return false;
    }

    void delete_wal(const WalRemains &wal) {
        for (const DoomedWal &range : wal.segments)
            if (!deleter_.remove(range.objects, cancel_).empty())
                deny_row(range_text(range, segment_size_));
        (void)deleter_.remove(wal.gaps, cancel_);
        (void)deleter_.remove(wal.leftovers, cancel_);
        (void)deleter_.remove(wal.histories, cancel_);
    }

    void delete_index(const ExpireInventory &inventory) {
        (void)deleter_.remove(needless_index_objects(repository_, inventory.catalog, cancel_), cancel_);
    }

    void delete_rest(const ExpireInventory &inventory) {
        const std::vector<DoomedObject> old = old_objects(repository_, inventory, options_.grace_ms, cancel_);
        show_others("tombstones, signs of life and probes", old);
        (void)deleter_.remove(old, cancel_);
    }

    ExpireReport finish() {
        (versioned_ ? report_.hidden_objects : report_.deleted_objects) = deleter_.deleted_objects();
        (versioned_ ? report_.hidden_bytes : report_.deleted_bytes) = deleter_.deleted_bytes();
        report_.denied_objects = deleter_.denied_objects();
        report_.failure = deleter_.failure();
        for (ExpireRow &row : report_.rows) {
            if (row.action != ExpireAction::kDelete)
                continue;
            if (versioned_)
                row.action = ExpireAction::kHide;
            if (nothing_allowed_) {
                row.action = ExpireAction::kDenied;
                report_.denied_objects += row.objects;
            }
        }
        if (report_.denied_objects > 0 && !nothing_allowed_)
            log_.emit(LogLevel::kWarning,
                      fmt::format("expiry may not delete {} objects in \"{}\"", report_.denied_objects,
                                  store_.display_name()),
                      deleter_.denial());
        return std::move(report_);
    }

    struct Decision {
        std::string id;
        std::string reason;
    };

    const Repository &repository_;
    ObjectStore &store_;
    const ExpireOptions &options_;
    LogSink &log_;
    const CancelToken &cancel_;
    Deleter deleter_;
    ExpireReport report_;
    std::vector<Decision> decided_;
    size_t newly_decided_ = 0;    // of them, backups that were on offer
    std::set<std::string> going_; // decided, and nobody came in time
    std::set<std::string> gone_;  // of them, those that could be deleted
    uint64_t segment_size_ = 0;   // bytes of WAL
    bool nothing_allowed_ = false;
    bool versioned_ = false; // as far as the store tells
};

} // namespace

const char *action_name(ExpireAction action) noexcept {
    switch (action) {
    case ExpireAction::kDelete:
        return "delete";
    case ExpireAction::kHide:
        return "hide";
    case ExpireAction::kDenied:
        return "denied";
    default:
        return "keep";
    }
}

ExpireReport expire_repository(const Repository &repository, const ExpireOptions &options, LogSink &log,
                               const CancelToken &cancel) {
    return Expiry(repository, options, log, cancel).run();
}

} // namespace pgvigil
