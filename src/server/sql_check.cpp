// pgv_check(): does everything that archiving and backups need work, here and now?
#include "server/pg.h"

#include "server/boundary.h"
#include "server/repositories.h"
#include "server/request_estimate.h"
#include "server/schedule_settings.h"
#include "server/server_facts.h"
#include "server/settings.h"
#include "server/shared_state.h"
#include "server/sql_rows.h"
#include "server/store_check.h"
#include "server/stream_settings.h"
#include "server/sync_check.h"
#include "server/waiting.h"
#include "server/wal_wait.h"

#include "base/time.h"
#include "base/wal_name.h"
#include "transfer/webhook.h"

namespace pgvigil {

namespace {

constexpr int64_t kPushTimeoutMs = 60000;

void add(Rows &rows, const std::string &check, bool ok, const std::string &detail) {
    rows.push_back({Cell(check), cell(ok), Cell(detail)});
}

void check_setting(Rows &rows, const char *name, bool ok, const std::string &found, const std::string &expected) {
    add(rows, name, ok, ok ? found : found + "; expected " + expected);
}

void check_settings(Rows &rows, const Settings &settings) {
    const char *const modes[] = {"off", "on", "always"};
    check_setting(rows, "archive_mode", XLogArchiveMode != ARCHIVE_MODE_OFF, modes[XLogArchiveMode], "on");
    const std::string library = XLogArchiveLibrary;
    check_setting(rows, "archive_library", library == "pgvigil", library.empty() ? "empty" : library, "pgvigil");
    check_setting(rows, "shared_preload_libraries", shared_state() != nullptr,
                  shared_state() != nullptr ? "pgvigil is loaded at server start"
                                            : "pgvigil is not loaded at server start",
                  "pgvigil in the list, and a restart");
    check_setting(rows, "wal_level", wal_level >= WAL_LEVEL_REPLICA,
                  wal_level >= WAL_LEVEL_REPLICA ? "sufficient" : "minimal", "replica or logical");
    check_setting(rows, "full_page_writes", fullPageWrites, fullPageWrites ? "on" : "off", "on");
    const size_t count = settings.repositories.size();
    check_setting(rows, "pgvigil.repository", count != 0,
                  count == 0 ? "empty" : std::to_string(count) + (count == 1 ? " repository" : " repositories"),
                  "at least one URL");
    if (settings.required > count)
        add(rows, "pgvigil.required_repositories", false,
            std::to_string(settings.required) + " are required, but only " + std::to_string(count) + " are set");
}

void check_role(Rows &rows) {
    WriterRole role = WriterRole::kUnknown;
    char message[kTextBytes] = "";
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
        role = shared.writer.role;
        set_text(message, shared.writer.message);
    });
    const bool ok = role == WriterRole::kWriter || role == WriterRole::kStandby;
    add(rows, "role", ok, std::string(role_name(role)) + (*message == '\0' ? "" : std::string(": ") + message));
}

// How streaming goes, where it is on.
void check_stream(Rows &rows) {
    if (!streaming_is_on() || shared_state() == nullptr)
        return;
    StreamMode mode = StreamMode::kOff;
    bool fails = false;
    char error[kStreamTextBytes] = "";
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
        mode = shared.stream.mode;
        fails = shared.stream.failing_since != 0;
        if (fails || mode == StreamMode::kWaiting)
            set_text(error, shared.stream.last_error);
    });
    add(rows, "streaming", !fails, std::string(stream_mode_name(mode)) + (*error == '\0' ? "" : ": ") + error);
}

// Finishes the current segment and waits until every repository holds it: the whole way of WAL, archiver included.
void check_push(Rows &rows, const Settings &settings, const ServerFacts &facts) {
    const char *const name = "archive";
    if (facts.in_recovery) {
        add(rows, name, true, "not tried: a standby writes no WAL of its own");
        return;
    }
    if (!archives_with_pgvigil()) {
        add(rows, name, false, "not tried: archive_mode and archive_library do not say that pgvigil archives");
        return;
    }
    XLogRecPtr end = InvalidXLogRecPtr;
    pg_section([&]() noexcept {
        // A switch does nothing in a segment that has no record yet.
        compat::write_empty_record();
        end = RequestXLogSwitch(false);
    });
    const int64_t started = boot_time_ms();
    const uint64_t segment = segment_before(Lsn{end}, facts.wal_segment_size);
    WalNeed need;
    need.ranges = {{facts.timeline, segment_start(segment, facts.wal_segment_size),
                    segment_start(segment + 1, facts.wal_segment_size)}};
    need.segment_size = facts.wal_segment_size;
    need.required = settings.required;
    const std::string file = segment_name(facts.timeline, segment, need.segment_size);
    try {
        in_background([&](const CancelToken &cancel) {
            const auto repositories = open_for_reading(settings, facts, cancel);
            if (repositories.empty())
                throw Error(ErrorCode::kNotFound, "there is no repository yet");
            wait_until_stored(repositories, need, std::chrono::milliseconds(kPushTimeoutMs), cancel);
        });
        add(rows, name, true,
            "WAL file \"" + file + "\" was archived within " + std::to_string(boot_time_ms() - started) + " ms");
    } catch (const Error &error) {
        char last_error[kTextBytes] = "";
        with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
            if (shared.archiver.failing_since != 0)
                set_text(last_error, shared.archiver.last_error);
        });
        add(rows, name, false,
            "WAL file \"" + file + "\": " + error.message() +
                (*last_error == '\0' ? "" : std::string("; the archiver's last error: ") + last_error));
    }
}

// Whether the webhook's file can be used, and how the last notice fared. Nothing is sent: it would alarm somebody.
void check_webhook(Rows &rows, const ServerFacts &facts) {
    if (webhook_url_file()[0] == '\0')
        return;
    const char *const name = "pgvigil.webhook_url_file";
    char last_error[kTextBytes] = "";
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { set_text(last_error, shared.scheduler.webhook_error); });
    try {
        const WebhookTarget target = read_webhook_file(webhook_url_file(), server_directories(facts.data_directory));
        add(rows, name, last_error[0] == '\0',
            "tells \"" + target.host + "\"" +
                (last_error[0] == '\0' ? "" : std::string("; the last time: ") + last_error));
    } catch (const Error &error) {
        add(rows, name, false, error.message() + (error.detail().empty() ? "" : ": " + error.detail()));
    }
}

Rows check_rows() {
    Rows rows;
    const Settings settings = current_settings();
    const ServerFacts facts = server_facts();
    check_settings(rows, settings);
    check_webhook(rows, facts);
    if (settings.repositories.empty())
        return rows;
    check_role(rows);
    check_stream(rows);
    for (const SyncFinding &finding : check_synchronous_mode(current_stream_settings(), facts))
        add(rows, finding.check, finding.ok, finding.detail);
    for (const StoreFinding &finding :
         in_background([&](const CancelToken &cancel) { return check_stores(settings, facts, cancel); }))
        add(rows, finding.check + " " + finding.repository, finding.ok, finding.detail);
    add(rows, "requests", true, describe_requests(facts));
    check_push(rows, settings, facts);
    return rows;
}

} // namespace

} // namespace pgvigil

extern "C" {
PG_FUNCTION_INFO_V1(pgv_check);

Datum pgv_check(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::return_rows(fcinfo, pgvigil::check_rows()); });
}
}
