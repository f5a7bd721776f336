// The read-ahead process's work: keeps the segments after the one that was asked for last ready in a directory, so
// that replay never waits for the store.
//
// It only ever adds complete, checked segments under their names (transfer/wal_get_ahead.h says how they are taken) and
// removes what replay has passed. Failures make it pause; a client that misses a segment asks the repository itself.
// Ends by itself when nothing was taken for `idle`, when the directory is gone, or when another reader holds the lock;
// what it made is removed.
// Threading: run_read_ahead() blocks its caller and uses `threads` threads of its own.
// Memory: about 14 MiB for each thread.
#pragma once

#include "base/cancel.h"
#include "transfer/wal_get_path.h"
#include "transfer/wal_read.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace pgvigil {

struct ReadAheadOptions {
    std::string directory; // of ahead_directory()
    std::string first;     // the segment to begin with
    uint64_t segment_size = 0;
    WalPath path;
    unsigned threads = 3;
    uint64_t bytes_ahead = 256 * kMiB; // kept ready, at most; at least one segment
    std::chrono::milliseconds idle{30000};
    // Polled about once a second; false ends the work.
    std::function<bool()> server_lives = [] { return true; };
};

void run_read_ahead(const ReadAheadOptions &options, WalReader &reader, const CancelToken &cancel);

} // namespace pgvigil
