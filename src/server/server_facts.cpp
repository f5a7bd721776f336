#include "server/pg.h"

#include "server/server_facts.h"

#include "server/boundary.h"
#include "server/shared_state.h"

#include <algorithm>
#include <array>
#include <unistd.h>

namespace pgvigil {

namespace {

// Without shared memory each process finds out for itself.
bool found_current = false;
Lsn found_stale_end;
TimelineId found_stale_timeline = 0;

bool is_known_current() {
    bool known = found_current;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { known = known || shared.writer.known_current; });
    return known;
}

Lsn stale_end_on(TimelineId timeline) {
    Lsn end = found_stale_timeline == timeline ? found_stale_end : Lsn{};
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
        if (shared.writer.stale_timeline == timeline)
            end = Lsn{shared.writer.stale_end};
    });
    return end;
}

} // namespace

void note_known_current() {
    found_current = true;
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept { shared.writer.known_current = true; });
}

void note_stale(const ServerFacts &facts) {
    const Lsn before = stale_end_on(facts.timeline);
    const Lsn end = before.is_valid() ? std::min(before, facts.wal_end) : facts.wal_end;
    found_stale_end = end;
    found_stale_timeline = facts.timeline;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        shared.writer.stale_end = end.value;
        shared.writer.stale_timeline = facts.timeline;
    });
}

ServerFacts server_facts() {
    ServerFacts facts;
    facts.data_directory = DataDir;
    facts.wal_directory = facts.data_directory + "/pg_wal";
    facts.wal_segment_size = static_cast<uint64_t>(wal_segment_size);
    facts.wal_page_magic = XLOG_PAGE_MAGIC;
    facts.server_version = PG_VERSION_NUM;
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) == 0)
        facts.host = host.data();

    uint64_t system_identifier = 0;
    bool in_recovery = false;
    bool streaming = false;
    XLogRecPtr end = InvalidXLogRecPtr;
    TimeLineID timeline = 0;
    pg_section([&]() noexcept {
        system_identifier = GetSystemIdentifier();
        in_recovery = RecoveryInProgress();
        if (!in_recovery) {
            end = GetFlushRecPtr(&timeline);
            return;
        }
        streaming = WalRcvStreaming();
        end = GetXLogReplayRecPtr(&timeline);
        TimeLineID received_timeline = 0;
        const XLogRecPtr received = GetWalRcvFlushRecPtr(nullptr, &received_timeline);
        if (received > end) {
            end = received;
            timeline = received_timeline;
        }
    });
    facts.system_identifier = system_identifier;
    facts.in_recovery = in_recovery;
    facts.known_current = is_known_current();
    facts.streaming = streaming;
    facts.wal_end = Lsn{end};
    facts.timeline = timeline;
    facts.stale_end = stale_end_on(timeline);
    return facts;
}

bool shutdown_is_complete() {
    bool complete = false;
    pg_section([&]() noexcept {
        bool crc_is_right = false;
        ControlFileData *const control = get_controlfile(DataDir, &crc_is_right);
        complete = crc_is_right && control->state == DB_SHUTDOWNED;
        pfree(control);
    });
    return complete;
}

bool archives_with_pgvigil() {
    return XLogArchiveMode != ARCHIVE_MODE_OFF && strcmp(XLogArchiveLibrary, "pgvigil") == 0;
}

} // namespace pgvigil
