#include "server/pg.h"

#include "server/server_facts.h"

#include "server/boundary.h"

#include <array>
#include <unistd.h>

namespace pgvigil {

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
    facts.streaming = streaming;
    facts.wal_end = Lsn{end};
    facts.timeline = timeline;
    return facts;
}

bool archives_with_pgvigil() {
    return XLogArchiveMode != ARCHIVE_MODE_OFF && strcmp(XLogArchiveLibrary, "pgvigil") == 0;
}

} // namespace pgvigil
