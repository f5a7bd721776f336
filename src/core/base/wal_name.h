// The names PostgreSQL gives to files in pg_wal, and what each name says.
// Source of the rules: access/xlog_internal.h (XLogFileName, IsXLogFileName, TLHistoryFileName, BackupHistoryFileName).
#pragma once

#include "base/lsn.h"

#include <optional>
#include <string>
#include <string_view>

namespace pgvigil {

enum class WalFileKind {
    kSegment,       // 000000010000000000000001
    kPartial,       // 000000010000000000000001.partial
    kHistory,       // 00000002.history
    kBackupHistory, // 000000010000000000000001.00000028.backup
};

struct WalFileName {
    WalFileKind kind;
    TimelineId timeline;
    // The two halves of the segment's number as they stand in the name; 0 for a history file.
    uint32_t high = 0;
    uint32_t low = 0;
};

// nullopt for anything PostgreSQL would not name like this. Upper-case hexadecimal digits only, as PostgreSQL writes.
[[nodiscard]] std::optional<WalFileName> parse_wal_file_name(std::string_view name) noexcept;

// Segment numbers count from the start of the WAL in units of `segment_size` bytes (a power of two, 1 MiB to 1 GiB).
[[nodiscard]] constexpr uint64_t segment_of(Lsn lsn, uint64_t segment_size) noexcept {
    return lsn.value / segment_size;
}
// The segment that holds the byte before `lsn`: the one needed to have everything up to, not including, `lsn`.
[[nodiscard]] constexpr uint64_t segment_before(Lsn lsn, uint64_t segment_size) noexcept {
    return (lsn.value - 1) / segment_size;
}
[[nodiscard]] constexpr Lsn segment_start(uint64_t segment, uint64_t segment_size) noexcept {
    return Lsn{segment * segment_size};
}
[[nodiscard]] constexpr bool is_valid_segment_size(uint64_t size) noexcept {
    return size >= (uint64_t{1} << 20) && size <= (uint64_t{1} << 30) && (size & (size - 1)) == 0;
}

[[nodiscard]] std::string segment_name(TimelineId timeline, uint64_t segment, uint64_t segment_size);
[[nodiscard]] std::string history_name(TimelineId timeline);
// The number of the segment that `name` (a segment, partial or backup history file) speaks of.
[[nodiscard]] constexpr uint64_t segment_number(const WalFileName &name, uint64_t segment_size) noexcept {
    return name.high * (uint64_t{0x100000000} / segment_size) + name.low;
}

} // namespace pgvigil
