// Writes PostgreSQL's backup_manifest (version 1 for 15 and 16, version 2 from 17 on) as a stream: memory does not grow
// with the number of files. Source: backup/backup_manifest.c, common/parse_manifest.c.
#pragma once

#include "base/bytes.h"
#include "base/lsn.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace pgvigil {

class ManifestWriter {
  public:
    using Output = std::function<void(ByteView bytes)>;
    ManifestWriter(unsigned server_major_version, uint64_t system_identifier, Output output);
    ~ManifestWriter();

    // `checksum` is CRC32C (4 bytes, as pg_basebackup writes it) of the file's bytes. Paths that are not UTF-8 are
    // hex-encoded.
    void add_file(std::string_view path, uint64_t size, int64_t mtime_ms, ByteView crc32c);
    void add_wal_range(TimelineId timeline, Lsn start, Lsn end);
    // Writes the end with the manifest's own SHA-256.
    void finish();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace pgvigil
