// The end of the WAL at the end of the server: after the shutdown checkpoint, when nothing more is written, the
// archiver streams what is not in the repositories yet. The streamer is gone by then: the postmaster ends its workers
// first. So nothing that was written is missing after a smart or fast shutdown, as long as the store answers.
// Threading: the archiver's main thread; bounded in time.
#pragma once

#include "server/settings.h"

#include "repo/writer_claim.h"

#include <optional>

namespace pgvigil {

// Does nothing unless the shutdown checkpoint is done, streaming is on and this server is the writer. `claim` is the
// archiver's, if it has one; otherwise it is made and stored there. Throws what stands in the way.
void stream_end_of_wal(const Settings &settings, std::optional<Claim> &claim);

} // namespace pgvigil
