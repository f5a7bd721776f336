// What the processes of one server know of its lease: in shared memory, or in the process's own where pgvigil is not in
// shared_preload_libraries. See server/lease.h. Threading: main threads.
#pragma once

#include "base/error.h"

#include <cstdint>

namespace pgvigil {

// Below the shared lock. All zero at first. Times are CLOCK_BOOTTIME in ms.
struct SharedLease {
    uint64_t epoch;         // the highest that a lease was kept in
    int64_t holds_until_ms; // acknowledging is allowed before this
    int64_t looked_ms;      // when whoever keeps the lease looked after it last
    bool released;          // `epoch` was given back: the server ends
    uint64_t lost_epoch;    // the highest of this server's that another server has passed
    char lost_message[256];
    char lost_detail[512];
    char lost_hint[256];
    char trouble[512]; // why the stores could not be asked last; empty when they could
};

// A copy.
[[nodiscard]] SharedLease lease_state();

// What is published of an epoch below the highest is ignored. A lease that was lost or released stays so.
void publish_lease(uint64_t epoch, int64_t holds_until_ms);
void publish_lease_lost(uint64_t epoch, const Error &error);
void publish_lease_trouble(uint64_t epoch, const Error &error);
void publish_lease_released(uint64_t epoch);

} // namespace pgvigil
