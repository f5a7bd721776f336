// pgv_take_over() and pgv_accept_repository(): what an operator decides about who writes where (rules C).
#include "server/pg.h"

#include "server/boundary.h"
#include "server/shared_state.h"
#include "server/sql_rows.h"
#include "server/waiting.h"
#include "server/writer.h"

namespace pgvigil {

namespace {

// The keeper looks at the role again, and the archiver tries again, at once.
void wake_others() {
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept {
        ++shared.writer.decisions;
        shared.keeper.catalog_requested = true;
        if (shared.keeper.latch != nullptr)
            SetLatch(shared.keeper.latch);
    });
    pg_section([]() noexcept { PgArchWakeup(); });
}

Settings settings_with_repository() {
    Settings settings = current_settings();
    if (settings.repositories.empty())
        throw no_repository_error();
    return settings;
}

int64_t take_over_now(const std::string &reason) {
    if (reason.find_first_not_of(" \t\r\n") == std::string::npos)
        throw Error(ErrorCode::kInvalidArgument, "the reason for taking over is empty")
            .detail("It is kept in the repository beside this server's name.");
    const Settings settings = settings_with_repository();
    const ServerFacts facts = server_facts();
    if (facts.in_recovery)
        throw Error(ErrorCode::kNotWriter, "a server in recovery cannot take over")
            .hint("Promote it first. A standby that streamed from the writer takes over by itself then.");
    const uint64_t epoch =
        in_background([&](const CancelToken &cancel) { return order_take_over(settings, facts, reason, cancel); });
    wake_others();
    return static_cast<int64_t>(epoch);
}

Rows accept_now() {
    const Settings settings = settings_with_repository();
    const ServerFacts facts = server_facts();
    Rows rows;
    for (std::string &line :
         in_background([&](const CancelToken &cancel) { return order_acceptance(settings, facts, cancel); }))
        rows.push_back({Cell(std::move(line))});
    wake_others();
    return rows;
}

} // namespace

} // namespace pgvigil

extern "C" {
PG_FUNCTION_INFO_V1(pgv_take_over);
PG_FUNCTION_INFO_V1(pgv_accept_repository);

Datum pgv_take_over(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section(
        [&] { return Int64GetDatum(pgvigil::take_over_now(pgvigil::text_argument(fcinfo, 0, "reason"))); });
}

Datum pgv_accept_repository(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::return_rows(fcinfo, pgvigil::accept_now(), true); });
}
}
