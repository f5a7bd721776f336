// Reader of PostgreSQL's WAL summary files (17 and later). Source: common/blkreftable.h, common/blkreftable.c,
// backup/walsummary.c.
//
// A file is written in the server's own byte order and layout, all numbers 32 bits unless said otherwise:
//   magic 0x652b137b; entries: tablespace, database, relfilenumber, fork (0 main, 1 FSM, 2 VM, 3 init), limit block,
//   count of chunks; then per chunk its usage (16 bits each), then the chunks. A chunk covers 65,536 blocks: with a
//   usage below 4,096 so many offsets of 16 bits, with 4,096 a bitmap. An entry of zeroes ends the list; the CRC-32C of
//   everything before it ends the file.
//
// Errors: kCorrupt naming the file for anything the server would not write; nothing that was read of such a file may be
// used. Threading: free functions.
#pragma once

#include "base/bytes.h"
#include "base/lsn.h"
#include "pgdata/block_changes.h"

#include <functional>
#include <optional>
#include <string_view>

namespace pgvigil {

// Fills `out` with the next bytes of a file, fewer only at its end; returns how many.
using SummarySource = std::function<size_t(std::span<std::byte> out)>;

// Adds what a whole summary says to `changes`, in pieces of at most 64 KiB. `name` is for messages.
void read_wal_summary(const SummarySource &source, std::string_view name, BlockChanges &changes);
void read_wal_summary(ByteView file, std::string_view name, BlockChanges &changes);

// What the name of a file in pg_wal/summaries says: TTTTTTTTSSSSSSSSSSSSSSSSEEEEEEEEEEEEEEEE.summary
struct WalSummaryName {
    TimelineId timeline = 0;
    Lsn start;
    Lsn end;
};
[[nodiscard]] std::optional<WalSummaryName> parse_wal_summary_name(std::string_view name) noexcept;

} // namespace pgvigil
