// Streams the WAL's unfinished tail into every repository (rules B7, B8): what the server has flushed behind the last
// object becomes the next piece, once an interval, or as soon as the one before is stored.
//
// Guarantees: durable() is a position up to which `required` repositories hold every byte from options.first_segment
// on, as complete segments or as pieces of tails that count; it never goes back. Each repository has a thread, a run
// (repo/tail.h) and a position of its own: one that hangs holds up no other. In one repository at most one piece that
// durable() rests on is on its way, and a segment's pieces are written only when the segment before is finished, so a
// crash leaves no hole. Bytes are read from pg_wal by the core's threads: what was read counts only when the file still
// has its name after the read (a recycled file was renamed before it is written again) and every page states its own
// address. Merging and removing what is not needed any more runs in a thread of its own and holds up nothing.
// Threading: one owner calls the members; it waits on event_fd(), which turns readable when durable() rose or
// trouble began or ended. Errors: none are thrown by the members; see trouble().
#pragma once

#include "base/background_task.h"
#include "base/error.h"
#include "base/log.h"
#include "base/lsn.h"
#include "codec/compression.h"
#include "repo/repository.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct TailWriterOptions {
    uint64_t system_identifier = 0;
    uint64_t segment_size = 0; // bytes
    std::string wal_directory;
    Compression compression;
    uint64_t epoch = 0; // this writer's
    Uuid instance{};
    std::string host;
    TimelineId timeline = 0;
    // The first segment that has to be there; those before it are none of this writer's business.
    uint64_t first_segment = 0;
    Lsn wal_end;                              // flushed when the writer was made: the run's beginning (TailRun::from)
    std::chrono::milliseconds interval{1000}; // between two pieces; 0: as soon as there is something
    // How long a complete segment is left to the archiver before what its tail lacks is shipped here.
    std::chrono::milliseconds archiver_grace{1000};
    unsigned required = 0; // repositories; 0 = all
    bool cleanup = false;  // remove a segment's pieces at once when it is stored complete
};

// Since the writer was made.
struct TailCounters {
    uint64_t pieces = 0; // of all repositories, merged ones included
    uint64_t stored_bytes = 0;
    uint64_t plain_bytes = 0;
    uint64_t requests = 0;   // puts, lists, looks
    int64_t last_put_us = 0; // how long the last piece took from its reading to its confirmation
};

struct TailTrouble {
    std::string repository;
    Error error;
    int64_t since_ms = 0; // boot time
    bool fatal = false;   // nothing more is shipped there: the owner has to begin anew (the role may be lost)
};

class TailWriter {
  public:
    TailWriter(TailWriterOptions options, std::vector<std::shared_ptr<Repository>> repositories, LogSink &log);
    ~TailWriter(); // cancels what is on its way and waits for the threads

    // The server has flushed up to here. Never goes back.
    void advance(Lsn flushed);
    // The archiver has stored the segment, in every repository or in enough of them.
    void segment_archived(uint64_t segment, bool everywhere);
    // From now on nothing waits for an interval or for the archiver: the server goes down.
    void hurry();

    // Invalid until it is known.
    [[nodiscard]] Lsn durable() const;
    // When the last transaction before durable() ended, of those that were streamed; µs since 1970, 0: none is known.
    [[nodiscard]] int64_t last_transaction_us() const;
    [[nodiscard]] std::vector<TailTrouble> trouble() const;
    [[nodiscard]] TailCounters counters() const;

    [[nodiscard]] int event_fd() const noexcept;
    void clear_event() noexcept;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace pgvigil
