// pgv_expire(), pgv_keep() and pgv_release(): what goes from the repositories, and what does not.
#include "server/pg.h"

#include "server/boundary.h"
#include "server/catalog_store.h"
#include "server/expire_job.h"
#include "server/repositories.h"
#include "server/server_facts.h"
#include "server/session_job.h"
#include "server/settings.h"
#include "server/shared_state.h"
#include "server/sql_rows.h"
#include "server/waiting.h"
#include "server/writer.h"

#include "base/time.h"
#include "repo/keeps.h"

namespace pgvigil {

namespace {

// A dry run says why a run that deletes would not.
void warn_of(const Error &refusal) {
    const char *message = refusal.message().c_str();
    const char *detail = refusal.detail().c_str();
    const char *hint = refusal.hint().c_str();
    pg_section([=]() noexcept {
        ereport(WARNING, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("%s", message),
                          errdetail("%s", detail), errhint("%s", hint)));
    });
}

ExpireResult expire_for_good(bool confirm) {
    return run_in_session(JobKind::kExpire, "", [&](SessionJob &job) {
        ExpireResult result = run_expire_job({false, confirm});
        job.succeed(result.deleted_bytes(), result.summary());
        return result;
    });
}

Rows expire_now(bool dry_run, bool confirm) {
    const ExpireResult result = dry_run ? run_expire_job({dry_run, confirm}) : expire_for_good(confirm);
    Rows rows;
    for (const RepositoryExpiry &entry : result.repositories) {
        if (entry.report.refusal)
            warn_of(*entry.report.refusal);
        for (const ExpireRow &row : entry.report.rows)
            rows.push_back({cell(entry.repository), cell(row.kind), cell(row.object), cell(action_name(row.action)),
                            cell(row.reason), row.bytes ? cell(*row.bytes) : std::nullopt, cell(row.objects)});
    }
    return rows;
}

// In every repository that has the backup.
void say_keep(const std::string &id, bool released, std::optional<int64_t> until_ms) {
    const Settings settings = current_settings();
    if (settings.repositories.empty())
        throw no_repository_error();
    const Claim claim = settle_role_now(settings).value();
    KeepDocument document;
    document.id = id;
    document.released = released;
    document.until_ms = until_ms;
    document.host = server_facts().host;
    document.created_ms = unix_time_ms();
    in_background([&](const CancelToken &cancel) {
        std::optional<Error> missing;
        size_t found = 0;
        for (const auto &repository : claim.repositories) {
            try {
                add_keep(*repository, document, claim.epoch, cancel);
                ++found;
            } catch (const Error &error) {
                if (error.code() != ErrorCode::kNotFound)
                    throw;
                missing = error;
            }
        }
        if (found == 0)
            throw missing ? *std::move(missing) : Error(ErrorCode::kNotFound, "no repository can be reached");
    });
    refresh_catalog_file();
}

std::optional<int64_t> until_argument(FunctionCallInfo fcinfo) {
    if (PG_ARGISNULL(1))
        return std::nullopt;
    const TimestampTz until = PG_GETARG_TIMESTAMPTZ(1);
    if (until == DT_NOEND)
        return std::nullopt;
    if (until <= GetCurrentTimestamp())
        throw Error(ErrorCode::kInvalidArgument, "the time to keep the backup until has passed")
            .hint("End a keep with pgv_release().");
    return unix_us_from_postgres(until) / 1000;
}

} // namespace

} // namespace pgvigil

extern "C" {
PG_FUNCTION_INFO_V1(pgv_expire);
PG_FUNCTION_INFO_V1(pgv_keep);
PG_FUNCTION_INFO_V1(pgv_release);

Datum pgv_expire(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] {
        pgvigil::require_argument(fcinfo, 0, "dry_run");
        pgvigil::require_argument(fcinfo, 1, "confirm");
        return pgvigil::return_rows(fcinfo, pgvigil::expire_now(PG_GETARG_BOOL(0), PG_GETARG_BOOL(1)));
    });
}

Datum pgv_keep(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] {
        pgvigil::say_keep(pgvigil::text_argument(fcinfo, 0, "backup_id"), false, pgvigil::until_argument(fcinfo));
        return static_cast<Datum>(0);
    });
}

Datum pgv_release(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] {
        pgvigil::say_keep(pgvigil::text_argument(fcinfo, 0, "backup_id"), true, std::nullopt);
        return static_cast<Datum>(0);
    });
}
}
