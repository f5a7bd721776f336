// The page header at the start of a WAL segment, and whether a segment is the one its name says (rules B2).
// Source: access/xlog_internal.h (XLogLongPageHeaderData), access/xlogreader.c (XLogReaderValidatePageHeader).
#pragma once

#include "base/bytes.h"
#include "base/lsn.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct WalSegmentHeader {
    uint16_t magic = 0;
    TimelineId timeline = 0;
    Lsn page_address;
    uint32_t remaining_length = 0; // bytes of a record continued from the page before
    uint64_t system_identifier = 0;
    uint32_t segment_size = 0;
    uint32_t block_size = 0;
};

// The XLOG_PAGE_MAGIC of a server's major version (15 to 18); nullopt for a version whose magic was not final yet.
[[nodiscard]] std::optional<uint16_t> wal_page_magic(unsigned major_version) noexcept;
[[nodiscard]] std::optional<unsigned> major_version_of_magic(uint16_t magic) noexcept;

// nullopt when `first_bytes` (at least 40) does not start with a long page header.
[[nodiscard]] std::optional<WalSegmentHeader> parse_segment_header(ByteView first_bytes) noexcept;

struct ExpectedSegment {
    std::string name; // as in pg_wal
    uint64_t system_identifier = 0;
    uint64_t segment_size = 0; // bytes
    std::optional<uint16_t> magic;
    // The timelines a page of this segment may carry: the file's own and its ancestors.
    std::vector<TimelineId> timelines;
};

// Throws kForeign (another system identifier), kCorrupt (anything else) naming what differs.
void check_segment_header(ByteView first_bytes, const ExpectedSegment &expected);

} // namespace pgvigil
