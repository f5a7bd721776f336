#include "server/pg.h"

#include "server/archive_module.h"

#include "server/archive_command.h"
#include "server/archive_session.h"
#include "server/archive_status.h"
#include "server/boundary.h"
#include "server/final_tail.h"
#include "server/lease_rounds.h"
#include "server/lease_state.h"
#include "server/log_queue.h"
#include "server/promotion_gap.h"
#include "server/server_facts.h"
#include "server/settings.h"
#include "server/shared_state.h"
#include "server/waiting.h"
#include "server/wal_gaps.h"
#include "server/wal_queue.h"

#include "base/time.h"
#include "base/wal_name.h"

#include <memory>
#include <optional>

namespace pgvigil {

namespace {

// How long a wake-up is held back where nobody tells that the server goes down.
constexpr int64_t kWakeUpMs = 10000;
// How long a reload may wait for a file that is on its way, and the end of the server for all that still waits.
constexpr int64_t kReloadGraceMs = 2000;
constexpr int64_t kShutdownGraceMs = 10000;
constexpr int64_t kRepeatMs = 60000;
constexpr int64_t kReleaseMs = 3000;

std::unique_ptr<ArchiveSession> session;

bool server_goes_down() {
    bool down = false;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { down = shared.keeper.shutting_down; });
    return down;
}

// Waiting here may have taken the wake-up by which the postmaster tells the archiver to finish: that one would sleep
// for a minute before it looks. Other wake-ups are not passed on: they only say that there are files, and one that is
// passed on while a store is away would be taken by the next try, and so for ever.
void pass_on_wake_up() {
    static int64_t passed_on_ms = 0;
    if (!was_latch_taken())
        return;
    ErrorReport ignored;
    bool down = shared_state() == nullptr && boot_time_ms() - passed_on_ms >= kWakeUpMs;
    if (shared_state() != nullptr)
        (void)cpp_attempt([&] { down = server_goes_down(); }, ignored);
    if (!down)
        return;
    passed_on_ms = boot_time_ms();
    SetLatch(MyLatch);
}

// Tells when waiting has to end: the archiver was told to stop, the settings are to be read again, or the server goes
// down and the store does not answer.
class Patience {
  public:
    bool over() {
        if (ShutdownRequestPending)
            return true;
        const int64_t now = boot_time_ms();
        if (ConfigReloadPending) {
            if (reload_since_ == 0)
                reload_since_ = now;
            return now - reload_since_ >= kReloadGraceMs;
        }
        if (server_goes_down()) {
            static int64_t since = 0;
            if (since == 0)
                since = now;
            return now - std::max(since, last_success_ms) >= kShutdownGraceMs;
        }
        return false;
    }
    // A store that answers may take all that waits, as PostgreSQL wants at its end.
    static inline int64_t last_success_ms = 0;

  private:
    int64_t reload_since_ = 0;
};

// Rules H1: true when so much WAL waits that the oldest is let go. The directory is looked at once a second.
bool queue_is_full(const ServerFacts &facts, uint64_t limit) {
    static int64_t measured_ms = 0;
    static uint64_t waiting = 0;
    if (limit == 0)
        return false;
    if (boot_time_ms() - measured_ms >= 1000 || waiting > limit) {
        waiting = measure_queue(facts.wal_directory, facts.wal_segment_size).bytes;
        measured_ms = boot_time_ms();
    }
    return waiting > limit;
}

void let_go(const ServerFacts &facts, const std::string &file, const char *reason, const std::string &detail) {
    add_gap(facts.data_directory, {file, reason, unix_time_ms(), false});
    status_let_go();
    const char *name = file.c_str();
    const char *why = detail.c_str();
    pg_section([=]() noexcept {
        ereport(WARNING,
                (errcode(ERRCODE_DATA_EXCEPTION), errmsg("pgvigil lets WAL file \"%s\" go without archiving it", name),
                 errdetail_internal("%s", why),
                 errhint("Recovery cannot pass this gap. A new full backup is made as soon as possible.")));
    });
}

// Without a gap: nothing that this server's history needs is lost.
void leave_behind(const std::string &file) {
    const char *name = file.c_str();
    pg_section([=]() noexcept {
        ereport(LOG,
                (errmsg("pgvigil leaves WAL file \"%s\" out of the archive: its timeline had ended before it", name),
                 errdetail("This server's history left that timeline in the segment, or before it.")));
    });
}

// Whether PostgreSQL may be told that the file is archived although it is not.
bool may_let_go(const std::string &file, const Settings &settings) {
    const auto parsed = parse_wal_file_name(file);
    // A history file is small and the map of the timelines: it is never let go because of the queue.
    if (file == skip_wal_file()) {
        let_go(server_facts(), file, "skipped", "pgvigil.skip_wal_file names it.");
        return true;
    }
    if (settings.queue_max == 0 || !parsed || parsed->kind == WalFileKind::kHistory)
        return false;
    const ServerFacts facts = server_facts();
    if (!queue_is_full(facts, settings.queue_max))
        return false;
    let_go(facts, file, "queue",
           "More than pgvigil.archive_queue_max (" + std::to_string(settings.queue_max / kMiB) +
               " MB) of WAL waits for the archive.");
    return true;
}

// Errors after which stores are opened and the claim is looked at afresh before anything else is written. A store that
// is only away keeps its session, and with it what runs ahead.
bool wants_fresh_start(ErrorCode code) noexcept {
    return code == ErrorCode::kNotWriter || code == ErrorCode::kForeign || code == ErrorCode::kIo ||
           code == ErrorCode::kAccessDenied || code == ErrorCode::kInternal;
}

void end_session_after(const Error &error) {
    if (!wants_fresh_start(error.code()))
        return;
    session.reset();
    status_session_ended();
}

// Rules C4: PostgreSQL is told that a file is archived only while no other server can have taken over unseen.
void confirm(const std::function<bool()> &stop) {
    try {
        session->confirm(stop);
    } catch (const Error &error) {
        end_session_after(error);
        throw;
    }
}

void archive(const std::string &file, const std::string &path, Patience &patience) {
    const auto stop = [&patience] { return patience.over(); };
    const Settings settings = current_settings();
    if (session && (session->settings().differs(settings) || !session->fits_server() ||
                    lease_state().epoch > session->claim().epoch)) {
        session.reset();
        status_session_ended();
    }
    if (may_let_go(file, settings))
        return;
    if (lies_behind_switch(server_facts(), file)) {
        leave_behind(file);
        return;
    }
    if (!session)
        session = std::make_unique<ArchiveSession>(settings, stop);
    try {
        session->recheck();
        session->archive(file, stop);
    } catch (const Error &error) {
        end_session_after(error);
        throw;
    }
    const std::string command = also_archive_command();
    if (!command.empty())
        run_archive_command(expand_archive_command(command, path, file), archive_command_timeout_s(), stop);
    confirm(stop);
    Patience::last_success_ms = boot_time_ms();
    status_archived(file, *session);
}

// The archiver tries three times in a row and again soon: the same trouble is said once a minute.
bool is_news(const char *file, const ErrorReport &report) {
    static char last_file[MAX_XFN_CHARS + 1];
    static char last_message[sizeof report.message];
    static int64_t said_ms = 0;
    const int64_t now = boot_time_ms();
    if (said_ms != 0 && now - said_ms < kRepeatMs && strcmp(last_file, file) == 0 &&
        strcmp(last_message, report.message) == 0)
        return false;
    strlcpy(last_file, file, sizeof last_file);
    strlcpy(last_message, report.message, sizeof last_message);
    said_ms = now;
    return true;
}

// The last things of a writer, when nothing more is written.
void end_writing() {
    // The keeper's end alone says nothing: it may have been terminated, and the archiver as well, on a server that goes
    // on. That one would not get its lease back.
    if (server_facts().in_recovery || !server_goes_down() || !shutdown_is_complete())
        return;
    const Settings settings = session ? session->settings() : current_settings();
    std::optional<Claim> claim;
    if (session)
        claim = session->claim();
    // First what runs ahead: nothing is stored after the release.
    session.reset();
    ErrorReport report;
    if (!cpp_attempt([&] { stream_end_of_wal(settings, claim); }, report))
        warn(report, "could not stream the end of the WAL");
    // Nobody shall have to wait for a term before another one may write.
    if (claim)
        release_lease(*claim, settings, kReleaseMs);
}

} // namespace

bool archive_configured() {
    if (repository_setting()[0] != '\0')
        return true;
#if PG_VERSION_NUM >= 170000
    arch_module_check_errdetail("\"pgvigil.repository\" is empty: WAL is kept until it names a repository.");
#else
    // Before 17 the archiver has no words of its own for a module's reason.
    ereport(WARNING, (errmsg("pgvigil archives nothing: \"pgvigil.repository\" is empty"),
                      errdetail("WAL is kept until it names a repository.")));
#endif
    return false;
}

bool archive_file(const char *file, const char *path) {
    ErrorReport report;
    bool interrupted = false;
    const bool archived = cpp_attempt(
        [&] {
            Patience patience;
            try {
                archive(file, path, patience);
            } catch (const Error &error) {
                interrupted = error.code() == ErrorCode::kCancelled;
                throw;
            }
        },
        report);
    pass_on_wake_up();
    if (archived)
        return true;
    ErrorReport ignored;
    if (!cpp_attempt([&] { status_failed(file, report, interrupted); }, ignored))
        warn(ignored, "could not note a failure");
    if (!interrupted && is_news(file, report)) {
        char context[MAXPGPATH];
        snprintf(context, sizeof context, "could not archive WAL file \"%s\"", file);
        warn(report, context);
    }
    return false;
}

void archive_shutdown() {
    ErrorReport unreleased;
    if (!cpp_attempt(end_writing, unreleased))
        warn(unreleased, "could not release the writer's role");
    // Joins the threads. Segments that were on their way are asked for again by the next archiver.
    session.reset();
    ErrorReport report;
    if (!cpp_attempt([] { status_session_ended(); }, report))
        warn(report, "could not note the archiver's end");
}

} // namespace pgvigil
