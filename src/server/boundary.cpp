#include "server/pg.h"

#include "server/boundary.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>

namespace pgvigil {

namespace {

// Cut at a character's start, so that what is shown stays valid in a UTF-8 database.
void copy_text(char *target, size_t size, std::string_view text) noexcept {
    size_t length = std::min(text.size(), size - 1);
    if (length < text.size())
        while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80)
            --length;
    memcpy(target, text.data(), length);
    target[length] = '\0';
}

void fill(ErrorReport &report, const char *sqlstate, std::string_view message) noexcept {
    copy_text(report.sqlstate, sizeof report.sqlstate, sqlstate);
    copy_text(report.message, sizeof report.message, message);
}

int sqlstate_of(const ErrorReport &report) noexcept {
    const char *s = report.sqlstate;
    return MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]);
}

} // namespace

void describe_error(const Error &error, ErrorReport &report) noexcept {
    fill(report, error_class(error.code()).sqlstate, error.message());
    copy_text(report.detail, sizeof report.detail, error.detail());
    copy_text(report.hint, sizeof report.hint, error.hint());
}

void capture_current_exception(ErrorReport &report) noexcept {
    try {
        throw;
    } catch (const PgErrorInFlight &) {
        report.pg_error = true;
    } catch (const Error &error) {
        describe_error(error, report);
    } catch (const ErrorReport &already) {
        report = already;
    } catch (const std::bad_alloc &) {
        fill(report, "53200", "out of memory");
    } catch (const std::exception &error) {
        fill(report, "XX000", error.what());
    } catch (...) {
        // The C library ends a thread by an exception of its own that has to be passed on; it never does so here,
        // because nothing cancels the main thread.
        fill(report, "XX000", "unknown exception");
    }
}

void take_pg_error(ErrorReport &report) noexcept {
    report.pg_error = false;
    fill(report, "XX000", "could not describe a PostgreSQL error");
    ErrorReport *target = &report;
    const MemoryContext before = CurrentMemoryContext;
    PG_TRY();
    {
        MemoryContextSwitchTo(TopMemoryContext);
        ErrorData *error = CopyErrorData();
        fill(*target, unpack_sql_state(error->sqlerrcode), error->message != nullptr ? error->message : "");
        copy_text(target->detail, sizeof target->detail, error->detail != nullptr ? error->detail : "");
        copy_text(target->hint, sizeof target->hint, error->hint != nullptr ? error->hint : "");
        FreeErrorData(error);
    }
    PG_CATCH();
    {
    }
    PG_END_TRY();
    FlushErrorState();
    MemoryContextSwitchTo(before);
    // What an error may leave behind in a process without transactions (postmaster/pgarch.c does the same).
    LWLockReleaseAll();
    ConditionVariableCancelSleep();
    pgstat_report_wait_end();
}

void raise(const ErrorReport &report) {
    if (report.pg_error)
        PG_RE_THROW();
    ereport(ERROR, (errcode(sqlstate_of(report)), errmsg_internal("%s", report.message),
                    report.detail[0] != '\0' ? errdetail_internal("%s", report.detail) : 0,
                    report.hint[0] != '\0' ? errhint("%s", report.hint) : 0));
    pg_unreachable();
}

void warn(const ErrorReport &report, const char *context) noexcept {
    const auto emit = [](void *argument) noexcept {
        const auto &[what, where] = *static_cast<std::pair<const ErrorReport *, const char *> *>(argument);
        ereport(WARNING, (errcode(sqlstate_of(*what)), errmsg_internal("%s: %s", where, what->message),
                          what->detail[0] != '\0' ? errdetail_internal("%s", what->detail) : 0,
                          what->hint[0] != '\0' ? errhint("%s", what->hint) : 0));
    };
    std::pair<const ErrorReport *, const char *> argument{&report, context};
    if (boundary_detail::raises(emit, &argument)) {
        ErrorReport ignored;
        take_pg_error(ignored);
    }
}

bool boundary_detail::raises(void (*call)(void *) noexcept, void *argument) noexcept {
    volatile bool failed = false;
    const MemoryContext before = CurrentMemoryContext;
    PG_TRY();
    {
        call(argument);
    }
    PG_CATCH();
    {
        // An error leaves ErrorContext current; destructors that run now must not allocate there.
        MemoryContextSwitchTo(before);
        failed = true;
    }
    PG_END_TRY();
    return failed;
}

} // namespace pgvigil
