#include "server/pg.h"

#include "server/server_facts.h"

#include "server/boundary.h"
#include "server/shared_state.h"

#include <array>
#include <unistd.h>

namespace pgvigil {

namespace {

// Without shared memory each process finds out for itself.
bool found_current = false;

bool is_known_current() {
    bool known = found_current;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { known = known || shared.writer.known_current; });
    return known;
}

} // namespace

void note_known_current() {
    found_current = true;
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept { shared.writer.known_current = true; });
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
