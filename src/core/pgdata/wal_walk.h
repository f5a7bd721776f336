// The walk over WAL records that scan_wal() and transaction_ends() share. It follows record lengths and checks page
// headers and back links, and stops where they stop making sense; any bytes may be given. Source:
// access/xlogrecord.h, access/xlogreader.c (XLogDecodeNextRecord).
// Threading: one object belongs to one thread.
#pragma once

#include "base/bytes.h"
#include "base/lsn.h"

#include <cstdint>
#include <optional>

namespace pgvigil {

// One complete record. `content` is valid until the next call of next(); it is empty for records of no interest.
struct WalRecord {
    Lsn start;
    Lsn end; // aligned, where the next record may start; the segment's end after XLOG_SWITCH
    uint32_t xid = 0;
    uint8_t info = 0;
    uint8_t resource_manager = 0;
    ByteView content; // with its header
};

class WalWalk {
  public:
    // `bytes` start at `start`, a page's address.
    WalWalk(ByteView bytes, Lsn start, uint32_t page_size);

    // The next record that ends within the bytes; nullopt at the end.
    [[nodiscard]] std::optional<WalRecord> next();

    [[nodiscard]] uint16_t magic() const noexcept { return magic_; }
    // First bytes of a record that ends behind the bytes; known after next() returned nullopt.
    [[nodiscard]] const Bytes &spanning_out() const noexcept { return spanning_out_; }
    // First bytes of what the first page continues, and where that ends (invalid: behind the bytes).
    [[nodiscard]] const Bytes &spanning_in() const noexcept { return spanning_in_; }
    [[nodiscard]] Lsn spanning_in_end() const noexcept { return spanning_in_end_; }

  private:
    enum class Step { kDone, kEnd, kBroken, kOverwritten };

    [[nodiscard]] Lsn lsn(size_t offset) const noexcept { return {start_.value + offset}; }
    [[nodiscard]] bool page_is_valid(size_t page) const noexcept;
    [[nodiscard]] uint16_t page_flags(size_t page) const noexcept;
    [[nodiscard]] size_t page_header_bytes(size_t page) const noexcept;
    void begin();
    bool enter_page();
    Step cross(size_t remaining, size_t keep, Bytes &kept);
    std::optional<WalRecord> read_crossing(uint32_t length);
    WalRecord finish_record(Lsn record_start, ByteView header, ByteView content);
    void skip_switch(WalRecord &record);

    ByteView bytes_;
    Lsn start_;
    size_t page_size_;
    size_t at_ = 0;
    bool ended_ = false;
    uint16_t magic_ = 0;
    uint32_t segment_size_ = 0;
    Lsn previous_; // start of the record before; invalid when not known
    Bytes scratch_;
    Bytes spanning_out_;
    Bytes spanning_in_;
    Lsn spanning_in_end_;
};

} // namespace pgvigil
