// What the core has to know about the running server, taken on the main thread as a value that threads may read.
#pragma once

#include "base/lsn.h"

#include <cstdint>
#include <string>
#include <vector>

namespace pgvigil {

struct ServerFacts {
    uint64_t system_identifier = 0;
    uint64_t wal_segment_size = 0; // bytes
    uint16_t wal_page_magic = 0;
    uint32_t server_version = 0; // PG_VERSION_NUM
    std::string data_directory;
    std::string wal_directory;
    std::string host;
    bool in_recovery = false;
    bool streaming = false; // a WAL receiver gets WAL from a primary right now
    TimelineId timeline = 0;
    // Since the server was started it has been the writer: it is no copy put back to an earlier state.
    bool known_current = false;
    // Where its WAL ended when it was found to be a stale copy, since the server was started; invalid where it was not.
    Lsn stale_end;
    // The end of this server's WAL: flushed on a primary, replayed or received on a standby.
    Lsn wal_end;
};

[[nodiscard]] ServerFacts server_facts();

// To be called once this server has been granted the writer's role.
void note_known_current();

// To be called once a server with these facts was found to be a stale copy: what it writes from then on makes it no
// less of one.
void note_stale(const ServerFacts &facts);

// Whether the shutdown checkpoint is done: no WAL is written any more.
[[nodiscard]] bool shutdown_is_complete();

// Whether this server archives with pgvigil: archive_mode and archive_library say so.
[[nodiscard]] bool archives_with_pgvigil();

} // namespace pgvigil
