// PostgreSQL's data pages: header and checksum. Source: storage/bufpage.h, storage/checksum_impl.h.
#pragma once

#include "base/bytes.h"
#include "base/lsn.h"

#include <cstdint>

namespace pgvigil {

// pd_upper = 0: never initialised, carries no checksum.
[[nodiscard]] bool page_is_new(ByteView page) noexcept;
[[nodiscard]] Lsn page_lsn(ByteView page) noexcept;
[[nodiscard]] uint16_t stored_page_checksum(ByteView page) noexcept;
// The checksum `page` (a whole page of the server's block size) should carry as block `block` of its relation.
[[nodiscard]] uint16_t page_checksum(ByteView page, uint32_t block) noexcept;

// What a base backup checks (PostgreSQL's verify_page_checksum): new pages and pages changed at or after `start` pass.
[[nodiscard]] bool page_passes(ByteView page, uint32_t block, Lsn start) noexcept;

} // namespace pgvigil
