// Reads files of a data directory extent by extent and checks their pages.
//
// Guarantees: a file is read up to the size it was given, whatever becomes of it meanwhile: what is missing reads as
// zeroes, what is added is not seen (rules A6). A page whose checksum does not match is read once more; when it still
// does not match and is older than the backup's start it is noted as damaged, and taken as it is.
// Threading: a reader belongs to one thread (it owns a buffer); the file it reads may be shared.
#pragma once

#include "base/bytes.h"
#include "base/cancel.h"
#include "repo/documents.h"
#include "storage/posix/posix_files.h"
#include "transfer/backup_writer.h"

#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace pgvigil {

// One file while it is copied; several threads may read parts of it.
struct BackupInput {
    std::string path;                    // relative to the data directory
    uint64_t size = 0;                   // bytes to read
    FileHandle handle;                   // open, or not at all when the file is gone
    std::optional<uint32_t> first_block; // of the relation, when pages are to be checked
    std::mutex mutex;                    // for what follows
    PageDamage damage;                   // without its path
};

class BackupReader {
  public:
    // `source` must outlive the reader.
    explicit BackupReader(const BackupSource &source);

    // The bytes [offset, offset + length) of `input`, at most kMaxExtentBytes; valid until the next call. `read_bytes`
    // is set to what was really there.
    ByteView read(BackupInput &input, uint64_t offset, size_t length, size_t &read_bytes);

  private:
    size_t fill(const BackupInput &input, uint64_t offset, std::span<std::byte> out) const;
    void check_pages(BackupInput &input, uint64_t offset, std::span<std::byte> bytes);

    const BackupSource &source_;
    Bytes buffer_;
    Bytes page_;
};

// Whether there is nothing but zeroes; such extents are not stored where nothing can shine through (rules A1).
[[nodiscard]] bool all_zeroes(ByteView bytes) noexcept;

} // namespace pgvigil
