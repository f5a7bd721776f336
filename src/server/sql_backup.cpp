// pgv_backup_now() and pgv_cancel_backup().
#include "server/pg.h"

#include "server/backup_requests.h"
#include "server/boundary.h"
#include "server/repositories.h"
#include "server/settings.h"
#include "server/sql_rows.h"
#include "server/waiting.h"

namespace pgvigil {

namespace {

constexpr long kLookMs = 200;

// The request this session waits for; 0 when none. A session that ends while it waits ends its backup as well.
uint64_t awaited_request = 0;

void cancel_awaited(int /*code*/, Datum /*argument*/) {
    if (awaited_request != 0)
        cancel_request(awaited_request);
    awaited_request = 0;
}

WantedKind kind_argument(const std::string &text) {
    if (const auto kind = parse_wanted_kind(text))
        return *kind;
    throw Error(ErrorCode::kInvalidArgument, "\"" + text + "\" is not a kind of backup")
        .detail("Expected \"auto\", \"full\" or \"incremental\".");
}

std::string annotations_argument(FunctionCallInfo fcinfo, int number) {
    char *text = nullptr;
    bool is_object = false;
    pg_section([&]() noexcept {
        Jsonb *value = PG_GETARG_JSONB_P(number);
        is_object = JB_ROOT_IS_OBJECT(value);
        text = JsonbToCString(nullptr, &value->root, VARSIZE(value));
    });
    if (!is_object)
        throw Error(ErrorCode::kInvalidArgument, "annotations are not a JSON object")
            .detail(std::string("They are ") + text + "; expected an object such as {\"name\": \"value\"}.");
    return text;
}

std::string current_role() {
    char *name = nullptr;
    pg_section([&]() noexcept { name = GetUserNameFromId(GetUserId(), true); });
    return name == nullptr ? "" : name;
}

void notice_full(const BackupReport &report) {
    const char *id = report.id.c_str();
    const char *reason = report.reason.c_str();
    pg_section([=]() noexcept {
        ereport(NOTICE,
                (errmsg("backup %s is full, although an incremental one was asked for", id), errdetail("%s", reason)));
    });
}

// Returns the backup's id: when it is complete, or, without `wait`, as soon as it has one.
std::string wait_for_backup(BackupTicket &ticket, bool wait, WantedKind wanted) {
    for (;;) {
        const BackupReport report = ticket.look();
        if (report.state == BackupState::kFailed)
            throw report.error;
        if (report.state == BackupState::kDone || (!wait && !report.id.empty())) {
            if (wanted == WantedKind::kIncremental && report.id.ends_with('F'))
                notice_full(report);
            if (report.bad_pages != 0) {
                const char *id = report.id.c_str();
                const auto pages = static_cast<unsigned long long>(report.bad_pages);
                pg_section([=]() noexcept {
                    ereport(WARNING, (errcode(ERRCODE_DATA_CORRUPTED),
                                      errmsg("backup %s holds %llu pages that do not match their checksum", id, pages),
                                      errhint("pgv_backups.damage names the files.")));
                });
            }
            return report.id;
        }
        wait_on_latch(-1, kLookMs);
    }
}

std::string backup_now(FunctionCallInfo fcinfo) {
    BackupRequest request;
    request.kind = kind_argument(text_argument(fcinfo, 0, "kind"));
    require_argument(fcinfo, 1, "annotations");
    require_argument(fcinfo, 2, "wait");
    require_argument(fcinfo, 3, "fast");
    request.annotations = annotations_argument(fcinfo, 1);
    const bool wait = PG_GETARG_BOOL(2);
    request.fast = PG_GETARG_BOOL(3);
    request.role = current_role();
    (void)require_shared_state();
    if (current_settings().repositories.empty())
        throw no_repository_error();
    static bool registered = false;
    if (!registered)
        pg_section([]() noexcept { before_shmem_exit(cancel_awaited, 0); });
    registered = true;

    BackupTicket ticket(request);
    awaited_request = ticket.request();
    try {
        const std::string id = wait_for_backup(ticket, wait, request.kind);
        awaited_request = 0;
        ticket.leave();
        return id;
    } catch (const PgErrorInFlight &) {
        // The statement was cancelled: so is what it asked for. The slot needs no waiting session any more.
        cancel_awaited(0, static_cast<Datum>(0));
        ticket.abandon();
        throw;
    } catch (...) {
        awaited_request = 0;
        ticket.leave();
        throw;
    }
}

Datum text_result(const std::string &text) {
    Datum result = 0;
    const char *value = text.c_str();
    pg_section([&]() noexcept { result = CStringGetTextDatum(value); });
    return result;
}

} // namespace

} // namespace pgvigil

extern "C" {
PG_FUNCTION_INFO_V1(pgv_backup_now);
PG_FUNCTION_INFO_V1(pgv_cancel_backup);

Datum pgv_backup_now(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::text_result(pgvigil::backup_now(fcinfo)); });
}

Datum pgv_cancel_backup(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return pgvigil::cpp_section([] { return BoolGetDatum(pgvigil::cancel_backup().found); });
}
}
