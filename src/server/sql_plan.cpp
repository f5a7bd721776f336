// pgv_restore_plan() and pgv_restore_command(): what a restore would do, from what this server knows of its
// repositories. They ask the stores only for what the catalog does not hold. The work runs in a thread.
#include "server/pg.h"

#include "server/boundary.h"
#include "server/catalog_store.h"
#include "server/repositories.h"
#include "server/sql_rows.h"
#include "server/waiting.h"

#include "base/shell.h"
#include "base/time.h"
#include "plan/plan_steps.h"
#include "transfer/restore_planning.h"

#include <charconv>

namespace pgvigil {

namespace {

constexpr uint32_t kFirstNormalXid = 3;
constexpr size_t kMaxRestorePointBytes = 63; // MAXFNAMELEN - 1

std::optional<std::string> optional_text(FunctionCallInfo fcinfo, int number, const char *name) {
    if (PG_ARGISNULL(number))
        return std::nullopt;
    return text_argument(fcinfo, number, name);
}

RecoveryTarget time_target(TimestampTz time) {
    if (TIMESTAMP_NOT_FINITE(time))
        throw Error(ErrorCode::kInvalidArgument, "target_time is not a moment")
            .hint("Without a target everything there is gets restored.");
    return TimeTarget{unix_us_from_postgres(time)};
}

RecoveryTarget xid_target(int64_t xid) {
    // txid_current() counts on over the wraparound; the WAL holds the lower half.
    const auto low = static_cast<uint32_t>(static_cast<uint64_t>(xid));
    if (xid < 0 || low < kFirstNormalXid)
        throw Error(ErrorCode::kInvalidArgument, "target_xid is not the id of a transaction")
            .detail("It is " + std::to_string(xid) + ".");
    return XidTarget{low};
}

RecoveryTarget name_target(const std::string &name) {
    if (name.empty() || name.size() > kMaxRestorePointBytes)
        throw Error(ErrorCode::kInvalidArgument, "target_name is not the name of a restore point")
            .detail("A restore point's name has 1 to 63 bytes.");
    return NameTarget{name};
}

void read_timeline(const std::string &text, RestoreRequest &request) {
    if (text == "current") {
        request.current_timeline = true;
    } else if (text != "latest") {
        TimelineId timeline = 0;
        const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), timeline);
        if (status != std::errc() || end != text.data() + text.size() || timeline == 0)
            throw Error(ErrorCode::kInvalidArgument, "\"" + text.substr(0, 80) + "\" is not a timeline")
                .detail("Expected \"latest\", \"current\" or a number.");
        request.timeline = timeline;
    }
}

// The arguments that both functions share, from number `first` on.
RestoreRequest request_of(FunctionCallInfo fcinfo, int first) {
    std::vector<RecoveryTarget> targets;
    if (!PG_ARGISNULL(first))
        targets.push_back(time_target(PG_GETARG_TIMESTAMPTZ(first)));
    if (!PG_ARGISNULL(first + 1))
        targets.emplace_back(LsnTarget{Lsn{PG_GETARG_LSN(first + 1)}});
    if (!PG_ARGISNULL(first + 2))
        targets.push_back(xid_target(PG_GETARG_INT64(first + 2)));
    if (const auto name = optional_text(fcinfo, first + 3, "target_name"))
        targets.push_back(name_target(*name));
    if (!PG_ARGISNULL(first + 4) && PG_GETARG_BOOL(first + 4))
        targets.emplace_back(ImmediateTarget{});
    if (targets.size() > 1)
        throw Error(ErrorCode::kInvalidArgument, "more than one recovery target is given")
            .hint("Give one of target_time, target_lsn, target_xid, target_name and target_immediate.");
    RestoreRequest request;
    if (!targets.empty())
        request.target = targets.front();
    read_timeline(optional_text(fcinfo, first + 5, "timeline").value_or("latest"), request);
    request.backup = optional_text(fcinfo, first + 6, "backup_id").value_or("");
    if (!request.backup.empty() && !is_backup_id(request.backup))
        throw Error(ErrorCode::kInvalidArgument, "invalid backup id \"" + request.backup.substr(0, 80) + "\"")
            .detail("A backup id looks like 20261120T084013F.");
    request.inclusive = PG_ARGISNULL(first + 7) || PG_GETARG_BOOL(first + 7);
    return request;
}

Settings settings_with_repository() {
    Settings settings = current_settings();
    if (settings.repositories.empty())
        throw no_repository_error();
    return settings;
}

PlannedRestore plan_now(const RestoreRequest &request) {
    const Settings settings = settings_with_repository();
    const ServerFacts facts = server_facts();
    std::vector<KnownCatalog> known = shown_catalogs(settings, facts);
    return in_background([&](const CancelToken &cancel) {
        std::vector<PlanSource> sources;
        for (const auto &repository : open_for_reading(settings, facts, cancel))
            for (KnownCatalog &entry : known)
                if (entry.url == repository->url() && entry.repository_id == to_string(repository->id()))
                    sources.push_back({repository, std::move(entry.catalog)});
        if (sources.empty())
            throw Error(ErrorCode::kNotFound, "no repository has been read yet")
                .hint("pgv_repositories says what stands in the way.");
        return plan_over(sources, request, cancel);
    });
}

Rows plan_rows(const PlannedRestore &planned) {
    Rows rows;
    for (const PlanStep &step : plan_steps(planned.catalog, planned.plan))
        rows.push_back({cell(rows.size() + 1), cell(step.action), cell(step.object),
                        step.objects ? cell(*step.objects) : std::nullopt,
                        step.bytes ? cell(*step.bytes) : std::nullopt,
                        step.seconds ? seconds_cell(*step.seconds) : std::nullopt, cell(step.detail)});
    if (planned.goes_on)
        rows.push_back({cell(rows.size() + 1), cell("attention"), cell("WAL"), std::nullopt, std::nullopt, std::nullopt,
                        cell("WAL is missing at the end of this window; later WAL cannot be reached")});
    return rows;
}

std::string target_words(const RestoreRequest &request) {
    struct Words {
        std::string operator()(const LatestTarget &) const { return ""; }
        std::string operator()(const ImmediateTarget &) const { return " --target-immediate"; }
        std::string operator()(const TimeTarget &t) const {
            return " --target-time " + shell_quoted(postgres_time_us(t.time_us));
        }
        std::string operator()(const LsnTarget &t) const { return " --target-lsn " + to_string(t.lsn); }
        std::string operator()(const XidTarget &t) const { return " --target-xid " + std::to_string(t.xid); }
        std::string operator()(const NameTarget &t) const { return " --target-name " + shell_quoted(t.name); }
    };
    return std::visit(Words{}, request.target);
}

// Secrets never stand in a URL or setting (rules F5), so that none can get in here.
std::string command_line(const std::string &directory, const RestoreRequest &request) {
    const Settings settings = settings_with_repository();
    std::string urls;
    for (const RepositoryUrl &url : settings.repositories)
        urls += (urls.empty() ? "" : ",") + url.normalised();
    std::string line = "pgvigil restore --repository " + shell_quoted(urls);
    if (!settings.credentials_file.empty())
        line += " --credentials-file " + shell_quoted(settings.credentials_file);
    line += " --system-identifier " + std::to_string(server_facts().system_identifier);
    line += " -D " + shell_quoted(directory) + target_words(request);
    if (!request.inclusive)
        line += " --target-exclusive";
    if (request.current_timeline)
        line += " --target-timeline current";
    if (request.timeline)
        line += " --target-timeline " + std::to_string(*request.timeline);
    if (!request.backup.empty())
        line += " --backup " + request.backup;
    return line;
}

Datum text_result(const std::string &text) {
    Datum result = 0;
    const char *value = text.c_str();
    pg_section([&]() noexcept { result = CStringGetTextDatum(value); });
    return result;
}

Datum restore_command_of(FunctionCallInfo fcinfo) {
    const std::string directory = text_argument(fcinfo, 0, "data_directory");
    if (directory.empty())
        throw Error(ErrorCode::kInvalidArgument, "data_directory is empty");
    return text_result(command_line(directory, request_of(fcinfo, 1)));
}

} // namespace

} // namespace pgvigil

extern "C" {
PG_FUNCTION_INFO_V1(pgv_restore_plan);
PG_FUNCTION_INFO_V1(pgv_restore_command);

Datum pgv_restore_plan(PG_FUNCTION_ARGS) {
    using namespace pgvigil;
    return cpp_section([&] { return return_rows(fcinfo, plan_rows(plan_now(request_of(fcinfo, 0)))); });
}

Datum pgv_restore_command(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::restore_command_of(fcinfo); });
}
}
