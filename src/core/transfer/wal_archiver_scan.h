// Scanning a segment that is read in pieces, as if it had been scanned whole.
// Threading: belongs to one thread. Errors: none; it stops knowing more where the bytes stop making sense.
#pragma once

#include "base/bytes.h"
#include "pgdata/wal_scan.h"

#include <cstdint>

namespace pgvigil {

class PiecewiseScan {
  public:
    // The next piece, beginning at `start`, a page boundary; pieces come in order and follow each other. The first one
    // starts with a segment's header.
    void add(ByteView piece, Lsn start);
    [[nodiscard]] WalScanSummary finish() { return std::move(whole_); }

  private:
    WalScanSummary whole_;
    WalScanSummary before_; // of the previous piece alone
    uint32_t block_size_ = 0;
};

} // namespace pgvigil
