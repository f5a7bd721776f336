// The writer's lease in shared memory (rules C4): whoever acknowledges WAL asks here first. The keeper keeps it,
// without waiting for a store; where there is no keeper, or it is late, the process that acknowledges keeps it itself.
//
// The rule: nothing is acknowledged (to PostgreSQL, to a synchronous commit, to a view) unless the lease holds at the
// moment of the answer, after the bytes are durable. Threading: main threads only. Clock: CLOCK_BOOTTIME.
#pragma once

#include "server/settings.h"

#include "repo/writer_claim.h"

#include <cstdint>
#include <functional>

namespace pgvigil {

// Whether this server may acknowledge, now, what it stored in `epoch`. Asks no store. False when another server has
// taken over, and while the stores could not be asked for too long; ensure_lease() tells which.
[[nodiscard]] bool may_acknowledge(uint64_t epoch);

// Returns when may_acknowledge(claim.epoch) is true; at once in the common case. Waits for the keeper, and asks the
// stores itself where that one is not there or late. Throws kNotWriter when another server has taken over, kCancelled
// once `stop` returned true, and what the stores throw.
void ensure_lease(const Claim &claim, const Settings &settings, const std::function<bool()> &stop);

// Throws kNotWriter once it is known that another server has taken over from `epoch`, or that this server holds a later
// one. Asks no store.
void check_lease(uint64_t epoch);

} // namespace pgvigil
