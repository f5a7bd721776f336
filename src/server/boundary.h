// Where C++ exceptions and PostgreSQL's ereport meet. PostgreSQL's errors are long jumps, which skip C++ destructors;
// C++ exceptions must not reach PostgreSQL. So each call across the boundary goes through one of two functions:
//
//   cpp_section   PostgreSQL called us: every exception is caught, and only when no C++ object is alive any more is it
//                 raised as a PostgreSQL error with SQLSTATE, detail and hint.
//   pg_section    we call PostgreSQL: a PostgreSQL error becomes the exception PgErrorInFlight, which unwinds; the
//                 original error stays on PostgreSQL's error stack and is raised again by cpp_section.
//
// Threading: the process's main thread only.
#pragma once

#include "base/error.h"

#include <type_traits>
#include <utility>

namespace pgvigil {

// Thrown by pg_section; carries nothing: PostgreSQL keeps the error. Never swallow it without take_pg_error().
struct PgErrorInFlight {};

// An error without an owner: may be left behind by a long jump, may stand in shared memory. Thrown where a process
// passes on what another one has met.
struct ErrorReport {
    bool pg_error = false; // the error is still on PostgreSQL's stack; the other members are not filled in
    char sqlstate[6] = "";
    char message[1024] = "";
    char detail[1024] = "";
    char hint[512] = "";
};
static_assert(std::is_trivially_destructible_v<ErrorReport>);

// Describes the exception being handled; of an Error everything is kept. To be called in a catch block.
void capture_current_exception(ErrorReport &report) noexcept;
// The same for an Error that is at hand.
void describe_error(const Error &error, ErrorReport &report) noexcept;
// Moves the error that is in flight off PostgreSQL's stack into `report`: for those who do not raise it again.
void take_pg_error(ErrorReport &report) noexcept;
// Raises `report` as a PostgreSQL error. No C++ object with a destructor may be alive in any frame that this leaves.
[[noreturn]] void raise(const ErrorReport &report);
// Writes `report` to the server log as a warning, "context: message"; never raises.
void warn(const ErrorReport &report, const char *context) noexcept;

template <class F> auto cpp_section(F &&body) {
    ErrorReport report;
    try {
        return body();
    } catch (...) {
        capture_current_exception(report);
    }
    raise(report);
}

// For callers that must not raise: returns false with the error described in `report`, PostgreSQL's own errors taken
// off its stack and what they may have left behind released.
template <class F> [[nodiscard]] bool cpp_attempt(F &&body, ErrorReport &report) noexcept {
    try {
        body();
        return true;
    } catch (...) {
        capture_current_exception(report);
    }
    if (report.pg_error)
        take_pg_error(report);
    return false;
}

namespace boundary_detail {
// Runs `call(argument)` below PG_TRY; returns whether PostgreSQL raised an error.
[[nodiscard]] bool raises(void (*call)(void *) noexcept, void *argument) noexcept;
} // namespace boundary_detail

template <class F> void pg_section(F body) {
    static_assert(std::is_nothrow_invocable_v<F> && std::is_trivially_destructible_v<F>,
                  "a long jump leaves this body: it must not throw and holds nothing that needs a destructor");
    if (boundary_detail::raises([](void *argument) noexcept { (*static_cast<F *>(argument))(); }, &body))
        throw PgErrorInFlight{};
}

} // namespace pgvigil
