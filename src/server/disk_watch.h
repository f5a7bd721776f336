// Watches the WAL that waits for the archive and the disk below pg_wal: PostgreSQL stops when that disk is full (rules
// H1). Threading: the keeper's main thread.
#pragma once

#include "server/server_facts.h"

#include <cstdint>

namespace pgvigil {

class DiskWatch {
  public:
    // Measures, publishes to shared memory and warns, at most every ten minutes, when the disk will soon be full.
    void look(const ServerFacts &facts);

  private:
    void update_rate(Lsn wal_end);
    void warn_if_filling(uint64_t free_bytes, int64_t seconds_left, uint64_t queue_bytes);

    Lsn last_end_;
    int64_t last_ms_ = 0;
    double rate_ = 0; // bytes of WAL a second, smoothed over about a minute
    int64_t warned_ms_ = 0;
};

} // namespace pgvigil
