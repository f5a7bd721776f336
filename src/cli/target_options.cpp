#include "cli/target_options.h"

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "cli/common_options.h"
#include "cli/report.h"
#include "plan/plan_steps.h"
#include "transfer/wal_get_path.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace pgvigil::cli {

namespace {

constexpr uint64_t kFirstNormalXid = 3;
constexpr size_t kMaxRestorePointBytes = 63; // MAXFNAMELEN - 1

Error wrong_value(const char *option, const std::string &value, const char *expected) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("invalid value \"{}\" for {}", value, option))
        .detail(expected);
}

RecoveryTarget target_of(const TargetOptions &options) {
    const int given = static_cast<int>(!options.time.empty()) + static_cast<int>(!options.lsn.empty()) +
                      static_cast<int>(!options.xid.empty()) + static_cast<int>(!options.name.empty()) +
                      static_cast<int>(options.immediate);
    if (given > 1)
        throw Error(ErrorCode::kInvalidArgument, "more than one recovery target is given")
            .hint("Give one of --target-time, --target-lsn, --target-xid, --target-name and --target-immediate.");
    if (options.immediate)
        return ImmediateTarget{};
    if (!options.time.empty()) {
        const auto time = parse_time_us(options.time);
        if (!time)
            throw wrong_value("--target-time", options.time,
                              "A time such as \"2026-11-20 08:59:00+00\" is expected; without a zone it is local.");
        return TimeTarget{*time};
    }
    if (!options.lsn.empty()) {
        const auto lsn = parse_lsn(options.lsn);
        if (!lsn || !lsn->is_valid())
            throw wrong_value("--target-lsn", options.lsn, "A WAL position such as \"16/B374D848\" is expected.");
        return LsnTarget{*lsn};
    }
    if (!options.xid.empty())
        return XidTarget{static_cast<uint32_t>(parse_number("--target-xid", options.xid, kFirstNormalXid, UINT32_MAX))};
    if (options.name.size() > kMaxRestorePointBytes)
        throw wrong_value("--target-name", options.name, "A restore point's name has at most 63 bytes.");
    if (!options.name.empty())
        return NameTarget{options.name};
    return LatestTarget{};
}

} // namespace

void add_target_options(CLI::App &command, TargetOptions &options) {
    command.add_option("--target-time", options.time, "Restore to a time")->type_name("TIME");
    command.add_option("--target-lsn", options.lsn, "Restore to a WAL position")->type_name("LSN");
    command.add_option("--target-xid", options.xid, "Restore to a transaction's end")->type_name("XID");
    command.add_option("--target-name", options.name, "Restore to a point made by pg_create_restore_point()")
        ->type_name("NAME");
    command.add_flag("--target-immediate", options.immediate, "Stop as soon as the backup is consistent");
    CLI::Option *inclusive =
        command.add_flag("--target-inclusive", options.inclusive, "Stop just after the target (the default)");
    command.add_flag("--target-exclusive", options.exclusive, "Stop just before the target")->excludes(inclusive);
    command
        .add_option("--target-timeline", options.timeline,
                    "latest (the newest that the backup leads to), current (the backup's own), or a number")
        ->type_name("TIMELINE")
        ->capture_default_str();
    command.add_option("--backup", options.backup, "Begin with this backup instead of the newest that serves")
        ->type_name("ID");
}

RestoreRequest restore_request(const TargetOptions &options) {
    RestoreRequest request;
    request.target = target_of(options);
    request.inclusive = !options.exclusive;
    if (options.timeline == "current")
        request.current_timeline = true;
    else if (options.timeline != "latest")
        request.timeline = static_cast<TimelineId>(parse_number("--target-timeline", options.timeline, 1, UINT32_MAX));
    if (!options.backup.empty() && !is_backup_id(options.backup))
        throw wrong_value("--backup", options.backup, "A backup's id such as \"20261120T084013F\" is expected.");
    request.backup = options.backup;
    return request;
}

Planned make_plan(const std::vector<std::shared_ptr<Repository>> &repositories, const RestoreRequest &request,
                  LogSink &log, const CancelToken &cancel) {
    std::optional<Error> failure;
    std::vector<PlanSource> sources;
    for (const auto &repository : repositories) {
        try {
            sources.push_back({repository, load_catalog(*repository, cancel)});
            for (const UnreadableDocument &document : sources.back().catalog.unreadable)
                log.emit(LogLevel::kWarning, document.message, {});
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            if (repositories.size() > 1)
                log.emit(
                    LogLevel::kWarning,
                    fmt::format("planning without \"{}\": {}", repository->store().display_name(), error.message()),
                    error.detail());
            if (!failure)
                failure = error;
        }
    }
    if (sources.empty())
        throw std::move(*failure);
    return plan_over(sources, request, cancel);
}

std::vector<std::string> describe_plan(const Planned &planned) {
    const RestorePlan &plan = planned.plan;
    std::vector<std::string> lines;
    lines.push_back(
        fmt::format("{:<13} {:<32} {:>8} {:>10} {:>9}  {}", "step", "object", "objects", "size", "about", "detail"));
    for (const PlanStep &step : plan_steps(planned.catalog, plan))
        lines.push_back(
            fmt::format("{:<13} {:<32} {:>8} {:>10} {:>9}  {}", step.action, step.object,
                        step.objects ? std::to_string(*step.objects) : "", step.bytes ? pretty_bytes(*step.bytes) : "",
                        step.seconds ? pretty_seconds(static_cast<uint64_t>(*step.seconds + 1)) : "", step.detail));
    lines.push_back(fmt::format("consistent at    {}", to_string(plan.consistent_at)));
    lines.push_back(fmt::format("recovery window  {}", describe(plan.window)));
    if (planned.goes_on)
        lines.push_back("attention        WAL is missing at the end of this window; later WAL cannot be reached");
    return lines;
}

std::string plan_json(const Planned &planned) {
    const RestorePlan &plan = planned.plan;
    Json tablespaces = Json::array();
    const CommitDocument *backup = planned.catalog.backup(plan.backup);
    if (backup != nullptr)
        for (const Tablespace &tablespace : backup->tablespaces)
            tablespaces.push_back({{"oid", tablespace.oid}, {"path", tablespace.path}});
    Json steps = Json::array();
    for (const PlanStep &step : plan_steps(planned.catalog, plan)) {
        Json item = {{"action", step.action}, {"object", step.object}, {"objects", nullptr},
                     {"bytes", nullptr},      {"seconds", nullptr},    {"detail", step.detail}};
        if (step.objects)
            item["objects"] = *step.objects;
        if (step.bytes)
            item["bytes"] = *step.bytes;
        if (step.seconds)
            item["seconds"] = *step.seconds;
        steps.push_back(std::move(item));
    }
    const Json out = {{"backup", plan.backup},
                      {"chain", plan.chain},
                      {"timeline", plan.target_timeline},
                      {"timeline_path", to_string(plan.path)},
                      {"wal_from", to_string(plan.wal_from)},
                      {"consistent_at", to_string(plan.consistent_at)},
                      {"wal_to", to_string(plan.wal_to)},
                      {"replay_to", to_string(plan.replay_to)},
                      {"wal_segments", plan.wal_segments},
                      {"backup_bytes", plan.backup_bytes},
                      {"restored_bytes", plan.restored_bytes},
                      {"target_setting", plan.target_setting},
                      {"target_value", plan.target_value},
                      {"inclusive", plan.inclusive},
                      {"to_planned_end", plan.to_planned_end},
                      {"wal_missing_after_end", planned.goes_on},
                      {"tablespaces", tablespaces},
                      {"steps", std::move(steps)}};
    return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

} // namespace pgvigil::cli
