#include "plan/plan_steps.h"

#include "base/time.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr double kMegabyte = 1048576.0;
constexpr int64_t kTellingMs = 1000;

uint64_t segments_between(Lsn from, Lsn to, uint64_t segment_size) {
    return to <= from ? 0 : segment_before(to, segment_size) - segment_of(from, segment_size) + 1;
}

class Steps {
  public:
    Steps(const Catalog &catalog, const RestorePlan &plan)
        : catalog_(catalog), plan_(plan), rate_(measured_rate(catalog)) {}

    std::vector<PlanStep> make() {
        fetch_backups();
        write_files();
        fetch_wal();
        replay();
        stop();
        total();
        return std::move(steps_);
    }

  private:
    [[nodiscard]] std::optional<double> estimate(uint64_t bytes) const {
        if (rate_.bytes_per_second <= 0)
            return std::nullopt;
        return static_cast<double>(bytes) / rate_.bytes_per_second;
    }

    void add_fetch(PlanStep step) {
        step.seconds = estimate(*step.bytes);
        fetched_ += *step.bytes;
        steps_.push_back(std::move(step));
    }

    void fetch_backups() {
        for (const std::string &id : plan_.chain) {
            const CommitDocument *backup = catalog_.backup(id);
            if (backup == nullptr)
                continue;
            PlanStep step;
            step.action = "fetch backup";
            step.object = id;
            step.objects = backup->totals.objects;
            step.bytes = backup->totals.stored_bytes;
            step.detail = fmt::format("{}, consistent at {} on timeline {}", backup->full ? "full" : "incremental",
                                      to_string(backup->stop_lsn), backup->stop_timeline);
            if (id != plan_.backup)
                step.detail += "; at most so much: what newer backups replace is not read";
            add_fetch(std::move(step));
        }
    }

    void write_files() {
        const CommitDocument *backup = catalog_.backup(plan_.backup);
        PlanStep step;
        step.action = "write files";
        step.object = "data directory";
        step.bytes = plan_.restored_bytes;
        if (backup != nullptr) {
            step.objects = backup->totals.files;
            for (const Tablespace &space : backup->tablespaces)
                if (!space.path.empty())
                    step.detail +=
                        fmt::format("{}tablespace {} at {}", step.detail.empty() ? "" : "; ", space.oid, space.path);
        }
        steps_.push_back(std::move(step));
    }

    void fetch_wal() {
        const CommitDocument *backup = catalog_.backup(plan_.backup);
        if (catalog_.segment_size == 0 || backup == nullptr)
            return;
        PlanStep step;
        step.action = "fetch WAL";
        step.object = "pg_wal";
        step.objects = segments_between(plan_.wal_from, plan_.consistent_at, catalog_.segment_size);
        step.bytes = *step.objects * catalog_.segment_size;
        step.detail = fmt::format("{} to {}: what makes the backup consistent{}", to_string(plan_.wal_from),
                                  to_string(plan_.consistent_at), backup->own_wal ? ", part of the backup" : "");
        add_fetch(std::move(step));
    }

    void replay() {
        if (catalog_.segment_size == 0)
            return;
        Lsn from = plan_.wal_from;
        for (size_t i = 0; i < plan_.path.size(); ++i) {
            const TimelineStep &path = plan_.path[i];
            const bool goes_on = path.end.is_valid() && path.end < plan_.replay_to;
            const Lsn to = goes_on ? path.end : plan_.replay_to;
            if (to <= from)
                continue;
            PlanStep step;
            step.action = "replay WAL";
            step.object = fmt::format("timeline {}", path.timeline);
            step.objects = segments_between(from, to, catalog_.segment_size);
            step.bytes = *step.objects * catalog_.segment_size;
            step.detail = fmt::format("{} to {}", to_string(from), to_string(to));
            if (const uint64_t streamed = streamed_between(path.timeline, from, to); streamed > 0)
                step.detail += fmt::format(", {} segment{} as streamed", streamed, streamed == 1 ? "" : "s");
            if (goes_on)
                step.detail += fmt::format(", where timeline {} begins", plan_.path[i + 1].timeline);
            add_fetch(std::move(step));
            from = to;
        }
    }

    // Segments that are not stored complete.
    [[nodiscard]] uint64_t streamed_between(TimelineId timeline, Lsn from, Lsn to) const {
        const TimelineWal *wal = catalog_.timeline(timeline);
        if (wal == nullptr)
            return 0;
        const auto first = wal->streamed.lower_bound(segment_of(from, catalog_.segment_size));
        const auto last = wal->streamed.upper_bound(segment_before(to, catalog_.segment_size));
        return static_cast<uint64_t>(std::count_if(
            first, last, [wal](const auto &entry) { return find_run(wal->runs, entry.first) == nullptr; }));
    }

    void stop() {
        PlanStep step;
        step.action = "stop";
        if (plan_.target_setting.empty()) {
            step.object = "end of WAL";
            step.detail = to_string(plan_.wal_to);
            if (plan_.to_planned_end)
                step.detail += ": the target lies behind the last transaction";
        } else {
            step.object = fmt::format("{} = '{}'", plan_.target_setting, plan_.target_value);
            step.detail = fmt::format("at the latest at {}{}", to_string(plan_.replay_to),
                                      plan_.inclusive ? "" : ", the target excluded");
        }
        steps_.push_back(std::move(step));
    }

    void total() {
        PlanStep step;
        step.action = "total";
        step.object = "to fetch";
        step.bytes = fetched_;
        step.seconds = estimate(fetched_);
        step.detail = rate_.basis + "; what the server needs to replay comes on top";
        steps_.push_back(std::move(step));
    }

    const Catalog &catalog_;
    const RestorePlan &plan_;
    const MeasuredRate rate_;
    uint64_t fetched_ = 0;
    std::vector<PlanStep> steps_;
};

} // namespace

MeasuredRate measured_rate(const Catalog &catalog) {
    const auto took = [](const CommitDocument &backup) { return backup.stopped_ms - backup.started_ms; };
    const CommitDocument *chosen = nullptr;
    for (const CommitDocument &backup : catalog.backups) {
        if (took(backup) <= 0 || backup.totals.stored_bytes == 0)
            continue;
        const bool tells = backup.full && took(backup) >= kTellingMs;
        const bool chosen_tells = chosen != nullptr && chosen->full && took(*chosen) >= kTellingMs;
        if (chosen == nullptr || tells || (!chosen_tells && backup.totals.stored_bytes >= chosen->totals.stored_bytes))
            chosen = &backup;
    }
    if (chosen == nullptr)
        return {0, "no rate is known: no backup has been measured"};
    const double seconds = static_cast<double>(took(*chosen)) / 1000;
    const double rate = static_cast<double>(chosen->totals.stored_bytes) / seconds;
    return {rate, fmt::format("estimated from backup {}, which stored {:.1f} MB in {:.1f} s", chosen->id,
                              static_cast<double>(chosen->totals.stored_bytes) / kMegabyte, seconds)};
}

std::vector<PlanStep> plan_steps(const Catalog &catalog, const RestorePlan &plan) {
    return Steps(catalog, plan).make();
}

} // namespace pgvigil
