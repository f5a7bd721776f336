// What the streamer and the archiver tell each other, and the views, in shared memory. Fixed in size; texts are cut.
// Threading: main threads only, below the shared lock.
#pragma once

#include "server/pg.h"

#include <cstdint>

namespace pgvigil {

inline constexpr unsigned kAcknowledgedSegments = 64;
inline constexpr size_t kStreamTextBytes = 768;

enum class StreamMode : uint8_t {
    kOff,          // by the settings, or this server is not the writer
    kWaiting,      // on, but nothing can be streamed yet
    kAsynchronous, // once an interval
    kConnecting,   // synchronous by the settings, but not connected: commits that wait for pgvigil go on waiting
    kSynchronous,  // commits wait for the store
    kDowngraded    // commits were let go: the store is behind by more than pgvigil.synchronous_timeout
};
[[nodiscard]] const char *stream_mode_name(StreamMode mode) noexcept;

// What a durable position rests on: one that was found with other repositories, another number of them required, or in
// another epoch says nothing of the present ones. Hashes are good within one run of the server.
struct StreamBasis {
    uint64_t repositories; // repositories_key()
    uint64_t settings;     // Settings::repositories_hash()
    uint64_t epoch;

    friend bool operator==(const StreamBasis &, const StreamBasis &) = default;
};

// A complete segment that PostgreSQL was told is archived.
struct AcknowledgedSegment {
    TimeLineID timeline;
    uint64_t segment;
    uint64_t epoch;        // that the archiver stored it in
    uint64_t repositories; // repositories_key() of the archiver then
    bool everywhere;       // and not only in the required ones of these
};

// All zero at first.
struct SharedStream {
    int pid;
    Latch *latch;
    StreamMode mode;
    // By the archiver: a segment's place is its number of order modulo kAcknowledgedSegments.
    uint64_t acknowledged_count;
    AcknowledgedSegment acknowledged[kAcknowledgedSegments];
    // Every byte before this is in the required repositories, and this server was the writer when that was noted.
    XLogRecPtr durable_lsn;
    TimeLineID durable_timeline;
    XLogRecPtr durable_from; // what durable_lsn says begins here
    StreamBasis durable_basis;
    uint64_t let_go_before;      // WAL files that the archiver had let go when the session began
    int64_t last_transaction_us; // when a transaction ended last before durable_lsn, since 1970; 0: none is known
    TimestampTz oldest_waiting;  // since when the oldest flushed byte waits that is not durable; 0: there is none
    uint64_t pieces;             // since the server started
    uint64_t stored_bytes;
    uint64_t requests;
    double pieces_per_minute; // in the last minute
    double bytes_per_minute;
    double requests_per_minute; // to all repositories together
    int64_t last_put_us;
    TimestampTz failing_since; // 0 while all is well
    char last_error[kStreamTextBytes];
    TimestampTz last_error_time;
    // Synchronous mode.
    TimestampTz degraded_since;     // 0 while commits wait
    TimestampTz link_failing_since; // 0 while connected, or not wanted
    char link_error[kStreamTextBytes];
};

// Whether the segment noted last was stored in the same repositories and the same epoch.
[[nodiscard]] bool continues_acknowledged(const SharedStream &stream, const AcknowledgedSegment &segment) noexcept;
// Notes a segment that PostgreSQL is about to be told is archived, and wakes the streamer.
void note_acknowledged(SharedStream &stream, const AcknowledgedSegment &segment) noexcept;

} // namespace pgvigil
