// What the few records say that pgvigil looks into: ends of transactions, restore points, segment switches. Source:
// access/rmgrlist.h, access/xact.h, access/xlog_internal.h, catalog/pg_control.h.
// Threading: pure functions.
#pragma once

#include "base/bytes.h"
#include "pgdata/wal_scan.h"
#include "pgdata/wal_walk.h"

#include <optional>

namespace pgvigil {

inline constexpr size_t kWalRecordHeaderBytes = 24;

// Whether the record that starts with `header` (at least 24 bytes) is one that is looked into.
[[nodiscard]] bool is_interesting(ByteView header) noexcept;
[[nodiscard]] bool is_switch(const WalRecord &record) noexcept;

// nullopt when `record`, with all its content, is not the end of a transaction. `magic` tells the version.
[[nodiscard]] std::optional<TransactionEnd> transaction_end(const WalRecord &record, uint16_t magic) noexcept;
[[nodiscard]] std::optional<RestorePoint> restore_point(const WalRecord &record);

} // namespace pgvigil
