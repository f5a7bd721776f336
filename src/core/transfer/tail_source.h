// Bytes of segments in pg_wal that the server may still be writing, recycling or renaming (rules B8).
// Guarantees: what read() returned is the segment's: the file still had its name after the read (a server renames a
// file before it writes another segment into it), every page states its own address and no later timeline, and the
// segment's first page is of this cluster. Only bytes that are flushed may be asked for.
// Threading: a source belongs to one thread. Errors: kNotFound for a segment that is gone, kCorrupt for pages that are
// another's, kForeign for another cluster's, kIo.
#pragma once

#include "base/bytes.h"
#include "base/cancel.h"
#include "base/lsn.h"

#include <cstdint>
#include <string>

namespace pgvigil {

class TailSource {
  public:
    TailSource(std::string wal_directory, uint64_t system_identifier, uint64_t segment_size, TimelineId timeline)
        : directory_(std::move(wal_directory)), system_identifier_(system_identifier), segment_size_(segment_size),
          timeline_(timeline) {}

    // Bytes [from, to) of the segment; valid until the next call.
    [[nodiscard]] ByteView read(uint64_t segment, uint64_t from, uint64_t to, const CancelToken &cancel);
    // Bytes of a WAL page, as the segment that was read last states it.
    [[nodiscard]] uint32_t block_size() const noexcept { return block_size_; }

  private:
    void check_pages(uint64_t segment, uint64_t from, ByteView bytes, const std::string &path) const;

    const std::string directory_;
    const uint64_t system_identifier_;
    const uint64_t segment_size_;
    const TimelineId timeline_;
    uint32_t block_size_ = 8192; // of WAL pages
    Bytes buffer_;
};

} // namespace pgvigil
