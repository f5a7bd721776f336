// Files of pg_wal as the archiver reads them: opened, of the right kind and size, and with a page header that belongs
// to this cluster (rules B2). Threading: a WalSource may be used by many threads at once; a WalSourceFile belongs to
// one. Errors: kNotFound for a file that is gone, kCorrupt for one that is not what its name says, kForeign for another
// cluster's, kInvalidArgument for a name PostgreSQL does not give; every message names the file.
#pragma once

#include "base/bytes.h"
#include "base/cancel.h"
#include "base/lsn.h"
#include "base/wal_name.h"
#include "storage/posix/posix_files.h"

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

inline constexpr uint64_t kMaxHistoryBytes = kMiB; // history and backup-history files

struct WalSourceFile {
    std::string name;
    std::string path;
    WalFileName parsed{};
    uint64_t size = 0; // bytes; of a segment or partial file always the segment size
    FileHandle handle;

    [[nodiscard]] bool has_pages() const noexcept {
        return parsed.kind == WalFileKind::kSegment || parsed.kind == WalFileKind::kPartial;
    }
};

class WalSource {
  public:
    WalSource(std::string directory, uint64_t system_identifier, uint64_t segment_size,
              std::optional<uint16_t> page_magic);

    [[nodiscard]] WalSourceFile open(const std::string &name) const;
    // Fills `out` from `offset` on; a file that ends before is kCorrupt.
    void read(const WalSourceFile &file, uint64_t offset, std::span<std::byte> out, const CancelToken &cancel) const;
    // `first_bytes` are those at the start of a segment or partial file.
    void check_header(const WalSourceFile &file, ByteView first_bytes);

  private:
    [[nodiscard]] std::vector<TimelineId> timelines_of(TimelineId timeline);

    const std::string directory_;
    const uint64_t system_identifier_;
    const uint64_t segment_size_;
    const std::optional<uint16_t> page_magic_;
    std::mutex mutex_;
    // Only what a history file said: one that is not there yet may still come.
    std::map<TimelineId, std::vector<TimelineId>> known_timelines_;
};

} // namespace pgvigil
