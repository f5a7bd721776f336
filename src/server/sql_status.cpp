// The views that ask nobody: what pgvigil's processes have left in shared memory. They answer at once, whatever state
// the store is in.
#include "server/pg.h"

#include "server/lease.h"
#include "server/lease_state.h"
#include "server/pg_time.h"
#include "server/progress.h"
#include "server/request_estimate.h"
#include "server/server_facts.h"
#include "server/shared_state.h"
#include "server/sql_rows.h"

namespace pgvigil {

namespace {

// What the status view says of shared memory, copied below the lock.
struct Snapshot {
    SharedArchiver archiver;
    SharedWriter writer;
    SharedKeeper keeper;
    SharedStream stream;
    bool backup_running;
    char last_failure[kTextBytes];
    TimestampTz last_failure_time;
};

bool is_streaming(StreamMode mode) noexcept {
    return mode != StreamMode::kOff && mode != StreamMode::kWaiting;
}

// The window as pgv_recovery_windows shows it: with what was streamed into every repository since the catalog was read.
void extend_window(SharedKeeper &keeper, const SharedStream &stream) {
    if (!keeper.has_window || !is_streaming(stream.mode) || stream.durable_timeline != keeper.window_timeline ||
        stream.durable_from > keeper.window_to_lsn || stream.durable_lsn <= keeper.window_to_lsn)
        return;
    keeper.window_to_lsn = stream.durable_lsn;
    const TimestampTz streamed = stream.last_transaction_us != 0 ? timestamp_from_unix_us(stream.last_transaction_us)
                                 : stream.oldest_waiting != 0    ? stream.oldest_waiting
                                                                 : GetCurrentTimestamp();
    keeper.window_to = std::max(keeper.window_to, streamed);
}

void take_snapshot(Snapshot &snapshot) {
    Snapshot *const target = &snapshot;
    const Settings now = current_settings();
    // What rests on other repositories, or on another number of them, says nothing of the present ones; and nothing may
    // have been found to be durable with these yet.
    const uint64_t settings = now.repositories_hash();
    with_lock(LW_SHARED, [=](SharedState &shared) noexcept {
        memcpy(static_cast<void *>(&target->archiver), &shared.archiver, sizeof target->archiver);
        memcpy(static_cast<void *>(&target->writer), &shared.writer, sizeof target->writer);
        memcpy(static_cast<void *>(&target->keeper), &shared.keeper, sizeof target->keeper);
        memcpy(static_cast<void *>(&target->stream), &shared.stream, sizeof target->stream);
        if (target->archiver.durable_settings != settings) {
            target->archiver.durable_lsn = InvalidXLogRecPtr;
            target->archiver.durable_timeline = 0;
        }
        if (target->stream.durable_basis.settings != settings) {
            target->stream.durable_lsn = InvalidXLogRecPtr;
            target->stream.durable_timeline = 0;
        }
        target->backup_running = false;
        target->last_failure[0] = '\0';
        target->last_failure_time = 0;
        for (const BackupSlot &slot : shared.slots) {
            if (slot.state == BackupState::kRunning || slot.state == BackupState::kRequested)
                target->backup_running = true;
            if (slot.state == BackupState::kFailed && slot.ended_at > target->last_failure_time) {
                target->last_failure_time = slot.ended_at;
                set_text(target->last_failure, slot.error.message);
            }
        }
    });
    if (now.requires_all())
        extend_window(snapshot.keeper, snapshot.stream);
}

// The newest thing that went wrong, of whichever process.
struct LastError {
    std::string text;
    TimestampTz time = 0;
};

LastError last_error(const Snapshot &snapshot) {
    LastError last;
    const auto consider = [&last](const char *prefix, const char *text, TimestampTz time) {
        if (time != 0 && time >= last.time && *text != '\0')
            last = {std::string(prefix) + text, time};
    };
    consider("", snapshot.keeper.last_error, snapshot.keeper.last_error_time);
    consider("backup: ", snapshot.last_failure, snapshot.last_failure_time);
    consider("archiver: ", snapshot.archiver.last_error, snapshot.archiver.last_failed_time);
    consider("streamer: ", snapshot.stream.last_error, snapshot.stream.last_error_time);
    return last;
}

// Up to where the required repositories have everything, by complete files or by what was streamed.
struct Durable {
    TimeLineID timeline;
    Lsn lsn;
};

Durable durable_position(const Snapshot &snapshot) {
    const SharedArchiver &archiver = snapshot.archiver;
    const SharedStream &stream = snapshot.stream;
    const bool streamed =
        stream.durable_timeline > archiver.durable_timeline ||
        (stream.durable_timeline == archiver.durable_timeline && stream.durable_lsn > archiver.durable_lsn);
    if (streamed)
        return {stream.durable_timeline, Lsn{stream.durable_lsn}};
    return {archiver.durable_timeline, Lsn{archiver.durable_lsn}};
}

// Seconds since the oldest WAL was flushed that the store lacks.
double lag_seconds(const Snapshot &snapshot) {
    const TimestampTz oldest =
        is_streaming(snapshot.stream.mode) ? snapshot.stream.oldest_waiting : snapshot.keeper.oldest_waiting;
    return oldest == 0 ? 0 : std::max(static_cast<double>(GetCurrentTimestamp() - oldest) / 1000000, 0.0);
}

// What is wrong with streaming, or with synchronous mode; empty when nothing is.
std::string stream_trouble(const SharedStream &stream) {
    if (stream.failing_since != 0)
        return std::string("streaming fails: ") + stream.last_error;
    if (stream.degraded_since != 0)
        return "commits do not wait for the repositories: pgvigil.synchronous_timeout has passed";
    if (stream.link_failing_since != 0)
        return std::string("pgvigil is not connected as a synchronous standby: ") + stream.link_error;
    return {};
}

// The first thing that stands in the way of being recoverable up to now; empty when nothing does.
std::string trouble(const Snapshot &snapshot, const ServerFacts &facts) {
    const WriterRole role = known_role(snapshot.writer);
    if (role == WriterRole::kOff)
        return "pgvigil.repository is empty: nothing is archived";
    if (snapshot.keeper.pid == 0)
        return "the keeper is not running";
    if (role == WriterRole::kUnknown)
        return "the repository has not been looked at yet";
    if (role != WriterRole::kWriter && role != WriterRole::kStandby)
        return std::string("this server does not write to the repository (") + role_name(role) +
               "): " + snapshot.writer.message;
    if (!facts.in_recovery && !archives_with_pgvigil())
        return "WAL is not archived: archive_mode must be on and archive_library must be pgvigil";
    if (snapshot.archiver.failing_since != 0)
        return std::string("archiving fails: ") + snapshot.archiver.last_error;
    if (const std::string streaming = stream_trouble(snapshot.stream); !streaming.empty())
        return streaming;
    if (snapshot.keeper.catalog_time == 0)
        return "the repository's catalog has not been read yet";
    if (snapshot.keeper.behind_a_gap != 0)
        return "WAL is missing before " + to_string(Lsn{snapshot.keeper.behind_a_gap}) +
               ": what follows cannot be restored until a full backup is made";
    if (snapshot.keeper.gaps != 0)
        return std::to_string(snapshot.keeper.gaps) + " WAL files were let go and no full backup was made since";
    if (snapshot.keeper.backups == 0)
        return "there is no backup yet";
    if (!snapshot.keeper.has_window)
        return "no backup can be restored: WAL is missing";
    if (snapshot.keeper.disk_seconds_left >= 0 && snapshot.keeper.disk_seconds_left < 3600)
        return "the disk of pg_wal is filling up";
    return {};
}

Cell window_time(const Snapshot &snapshot, TimestampTz time) {
    return snapshot.keeper.has_window ? timestamp_cell(time) : std::nullopt;
}

// How it stands with this server's right to acknowledge; NULL where it has no role to keep.
Cell lease_cell(const SharedWriter &writer) {
    const SharedLease lease = lease_state();
    if (known_role(writer) == WriterRole::kFenced || (lease.epoch != 0 && lease.lost_epoch >= lease.epoch))
        return Cell("lost");
    if (writer.role != WriterRole::kWriter && !lease.released)
        return std::nullopt;
    if (lease.released)
        return Cell("released");
    return Cell(may_acknowledge(writer.epoch) ? "held" : "expired");
}

Rows status_rows() {
    (void)require_shared_state();
    Snapshot snapshot{};
    take_snapshot(snapshot);
    const ServerFacts facts = server_facts();
    const SharedKeeper &keeper = snapshot.keeper;
    const SharedArchiver &archiver = snapshot.archiver;
    const std::string problem = trouble(snapshot, facts);
    const LastError last = last_error(snapshot);
    const SharedStream &stream = snapshot.stream;
    const auto [durable_timeline, durable] = durable_position(snapshot);
    const Lsn end = facts.wal_end;
    const bool known = durable.is_valid() && !facts.in_recovery;
    return {{
        cell(problem.empty()),
        problem.empty() ? Cell("recoverable") : Cell(problem),
        cell(role_name(known_role(snapshot.writer))),
        snapshot.writer.epoch == 0 ? std::nullopt : cell(snapshot.writer.epoch),
        cell(snapshot.writer.message),
        cell(snapshot.writer.hint),
        cell(snapshot.writer.writer_instance),
        cell(snapshot.writer.writer_host),
        lease_cell(snapshot.writer),
        cell(archives_with_pgvigil()),
        durable_timeline == 0 ? std::nullopt : cell(durable_timeline),
        cell(durable),
        cell(end),
        known ? cell(end > durable ? end.value - durable.value : 0) : std::nullopt,
        seconds_cell(lag_seconds(snapshot)),
        cell(stream_mode_name(stream.mode)),
        timestamp_cell(stream.failing_since),
        timestamp_cell(stream.degraded_since),
        cell(stream.pieces_per_minute),
        cell(stream.bytes_per_minute),
        cell(static_cast<uint64_t>(estimate_requests(facts))),
        cell(keeper.queue_files),
        cell(keeper.queue_bytes),
        timestamp_cell(archiver.failing_since),
        cell(last.text),
        timestamp_cell(last.time),
        window_time(snapshot, keeper.window_from),
        window_time(snapshot, keeper.window_to),
        keeper.has_window ? cell(Lsn{keeper.window_from_lsn}) : std::nullopt,
        keeper.has_window ? cell(Lsn{keeper.window_to_lsn}) : std::nullopt,
        keeper.catalog_time == 0 ? std::nullopt : cell(keeper.backups),
        cell(keeper.last_backup),
        timestamp_cell(keeper.last_backup_stopped),
        keeper.last_backup[0] == '\0' ? std::nullopt : cell(keeper.bad_pages),
        cell(snapshot.backup_running),
        cell(keeper.disk_free_bytes),
        cell(keeper.disk_total_bytes),
        cell(keeper.wal_bytes_per_second),
        keeper.disk_seconds_left < 0 ? std::nullopt : seconds_cell(static_cast<double>(keeper.disk_seconds_left)),
        timestamp_cell(keeper.catalog_time),
    }};
}

Rows archiver_rows() {
    (void)require_shared_state();
    Snapshot snapshot{};
    take_snapshot(snapshot);
    const SharedArchiver &archiver = snapshot.archiver;
    const SharedKeeper &keeper = snapshot.keeper;
    return {{
        archiver.pid == 0 ? std::nullopt : cell(archiver.pid),
        cell(archiver.archived),
        cell(archiver.failed),
        cell(archiver.let_go),
        cell(archiver.last_file),
        timestamp_cell(archiver.last_time),
        cell(archiver.last_failed_file),
        timestamp_cell(archiver.last_failed_time),
        cell(archiver.last_error),
        timestamp_cell(archiver.failing_since),
        cell(archiver.in_flight),
        cell(archiver.owed),
        cell(keeper.queue_files),
        cell(keeper.queue_bytes),
        timestamp_cell(keeper.oldest_waiting),
        cell(archiver.plain_bytes),
        cell(archiver.stored_bytes),
        cell(archiver.retries),
        archiver.durable_timeline == 0 ? std::nullopt : cell(archiver.durable_timeline),
        cell(Lsn{archiver.durable_lsn}),
        timestamp_cell(archiver.reset_time),
    }};
}

Row progress_row(const BackupSlot &slot, const char *id, const char *parent, const char *role) {
    const BackupProgress &progress = slot.progress;
    const uint64_t total = progress.bytes_total.load();
    const uint64_t done = progress.bytes_done.load();
    const double percent =
        total == 0 ? 0 : std::min(100.0, 100 * static_cast<double>(done) / static_cast<double>(total));
    return {
        cell(id),
        *id == '\0' ? std::nullopt : cell(*parent == '\0' ? "full" : "incremental"),
        cell(parent),
        cell(phase_name(progress.phase.load())),
        slot.worker_pid == 0 ? std::nullopt : cell(slot.worker_pid),
        cell(role),
        cell(slot.automatic),
        timestamp_cell(slot.requested_at),
        timestamp_cell(slot.started_at),
        total == 0 ? std::nullopt : cell(percent),
        total == 0 ? std::nullopt : cell(total),
        cell(done),
        cell(progress.bytes_stored.load()),
        cell(progress.bytes_reused.load()),
        cell(progress.blocks_changed.load()),
        cell(progress.files_total.load()),
        cell(progress.files_done.load()),
        cell(progress.tablespaces_total.load()),
        cell(progress.tablespaces_done.load()),
        cell(progress.bad_pages.load()),
    };
}

Rows progress_rows() {
    const SharedState &shared = require_shared_state();
    Rows rows;
    for (const BackupSlot &slot : shared.slots) {
        bool live = false;
        char id[sizeof slot.id] = "";
        char parent[sizeof slot.parent] = "";
        char role[sizeof slot.role] = "";
        with_lock(LW_SHARED, [&](SharedState & /*state*/) noexcept {
            live = slot.state == BackupState::kRequested || slot.state == BackupState::kRunning;
            set_text(id, slot.id);
            set_text(parent, slot.parent);
            set_text(role, slot.role);
        });
        if (live)
            rows.push_back(progress_row(slot, id, parent, role));
    }
    return rows;
}

Rows repository_rows() {
    (void)require_shared_state();
    Rows rows;
    for (unsigned i = 0; i < kMaxRepositories; ++i) {
        SharedRepository entry;
        bool there = false;
        with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
            there = i < shared.repository_count;
            memcpy(static_cast<void *>(&entry), &shared.repositories[i], sizeof entry);
        });
        if (!there)
            break;
        rows.push_back({cell(entry.url), cell(entry.id), cell(entry.failing_since == 0), cell(entry.backups),
                        cell(entry.conditional_create), timestamp_cell(entry.last_ok),
                        timestamp_cell(entry.failing_since), cell(entry.last_error)});
    }
    return rows;
}

} // namespace

} // namespace pgvigil

extern "C" {
PG_FUNCTION_INFO_V1(pgv_read_status);
PG_FUNCTION_INFO_V1(pgv_read_archiver);
PG_FUNCTION_INFO_V1(pgv_read_progress);
PG_FUNCTION_INFO_V1(pgv_read_repositories);

Datum pgv_read_status(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::return_rows(fcinfo, pgvigil::status_rows()); });
}
Datum pgv_read_archiver(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::return_rows(fcinfo, pgvigil::archiver_rows()); });
}
Datum pgv_read_progress(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::return_rows(fcinfo, pgvigil::progress_rows()); });
}
Datum pgv_read_repositories(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::return_rows(fcinfo, pgvigil::repository_rows()); });
}
}
