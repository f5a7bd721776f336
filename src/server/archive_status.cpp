#include "server/pg.h"

#include "server/archive_status.h"

#include "server/shared_state.h"

#include "base/wal_name.h"

namespace pgvigil {

namespace {

// What sessions before this one have counted: a session's counters start at zero.
WalArchiverCounters earlier;
WalArchiverCounters latest;

uint64_t total(uint64_t WalArchiverCounters::*counter) noexcept {
    return earlier.*counter + latest.*counter;
}

} // namespace

void status_archived(const std::string &file, const ArchiveSession &session) {
    if (shared_state() == nullptr)
        return;
    latest = session.archiver().counters();
    const auto owed = static_cast<uint32_t>(session.archiver().owed().size());
    const unsigned in_flight = session.in_flight();
    const auto parsed = parse_wal_file_name(file);
    const bool is_segment = parsed && parsed->kind == WalFileKind::kSegment;
    const auto segment_size = static_cast<uint64_t>(wal_segment_size);
    const XLogRecPtr end =
        is_segment ? segment_start(segment_number(*parsed, segment_size) + 1, segment_size).value : InvalidXLogRecPtr;
    const TimeLineID timeline = is_segment ? parsed->timeline : 0;
    const char *name = file.c_str();
    // Only what every repository has may be shown without being asked for.
    const bool everywhere = owed == 0 && session.settings().requires_all();
    const uint64_t segment = is_segment ? segment_number(*parsed, segment_size) : 0;
    const int64_t last_time_us = session.last_transaction_us().value_or(0);
    const AcknowledgedSegment acknowledged{timeline, segment, session.claim().epoch, session.repositories(),
                                           everywhere};
    const uint64_t settings = session.settings().repositories_hash();
    const bool is_history = parsed && parsed->kind == WalFileKind::kHistory;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        if (is_segment && everywhere)
            note_archived(shared.catalog, timeline, segment, last_time_us);
        const bool is_other = is_segment && !continues_acknowledged(shared.stream, acknowledged);
        if (is_segment)
            note_acknowledged(shared.stream, acknowledged);
        if (is_history) {
            shared.keeper.catalog_requested = true;
            if (shared.keeper.latch != nullptr)
                SetLatch(shared.keeper.latch);
        }
        SharedArchiver &archiver = shared.archiver;
        archiver.pid = MyProcPid;
        ++archiver.archived;
        archiver.plain_bytes = total(&WalArchiverCounters::plain_bytes);
        archiver.stored_bytes = total(&WalArchiverCounters::stored_bytes);
        archiver.retries = total(&WalArchiverCounters::retries);
        archiver.in_flight = in_flight;
        archiver.owed = owed;
        set_text(archiver.last_file, name);
        archiver.last_time = GetCurrentTimestamp();
        archiver.failing_since = 0;
        // What earlier repositories have says nothing of the present ones.
        if (is_other) {
            archiver.durable_lsn = InvalidXLogRecPtr;
            archiver.durable_timeline = 0;
        }
        if (end != InvalidXLogRecPtr && (timeline > archiver.durable_timeline ||
                                         (timeline == archiver.durable_timeline && end > archiver.durable_lsn))) {
            archiver.durable_lsn = end;
            archiver.durable_timeline = timeline;
            archiver.durable_settings = settings;
        }
        ConditionVariableBroadcast(&shared.archiver_changed);
    });
}

void status_failed(const char *file, const ErrorReport &report, bool interrupted) {
    if (interrupted)
        return;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        SharedArchiver &archiver = shared.archiver;
        archiver.pid = MyProcPid;
        ++archiver.failed;
        set_text(archiver.last_failed_file, file);
        archiver.last_failed_time = GetCurrentTimestamp();
        set_text(archiver.last_error, report.message);
        if (archiver.failing_since == 0)
            archiver.failing_since = archiver.last_failed_time;
        ConditionVariableBroadcast(&shared.archiver_changed);
    });
}

void status_let_go() {
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept {
        ++shared.archiver.let_go;
        ++shared.keeper.gaps;
        if (shared.keeper.latch != nullptr)
            SetLatch(shared.keeper.latch);
    });
}

void status_session_ended() {
    earlier.files += latest.files;
    earlier.plain_bytes += latest.plain_bytes;
    earlier.stored_bytes += latest.stored_bytes;
    earlier.retries += latest.retries;
    latest = {};
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept { shared.archiver.in_flight = 0; });
}

} // namespace pgvigil
