// Puts a WAL file in its place: nobody sees it before it is complete, and a process that is killed on the way leaves
// nothing behind where the file system knows unnamed files.
// Threading: one thread. Errors: kIo, kDiskFull, kAccessDenied naming the file.
#pragma once

#include "storage/posix/posix_files.h"
#include "transfer/wal_get_path.h"
#include "transfer/wal_read.h"

#include <string>

namespace pgvigil {

// Not an error: the plan of the restore excludes the file.
struct OffPath {};

class WalFileSink final : public WalSink {
  public:
    // Bytes of `name` that are not on `path` are written as zeroes. `temporary`: the name to use while the file grows;
    // "" for an unnamed file where that is possible.
    WalFileSink(std::string destination, std::string_view name, const WalPath &path, std::string temporary = "");
    ~WalFileSink() override;
    WalFileSink(const WalFileSink &) = delete;
    WalFileSink &operator=(const WalFileSink &) = delete;

    // Creates the file ahead of begin(), so that others see a named temporary one.
    void open();
    // Throws OffPath when no byte of the file is on the path.
    void begin(uint64_t length) override;
    void write(ByteView plain) override;
    // Gives the file its name, replacing one that is there. With `sync` its bytes are durable before that.
    void finish(bool sync);

  private:
    void open_unnamed();
    void open_named();

    const std::string destination_;
    const std::string_view name_;
    const WalPath &path_;
    std::string temporary_; // "" while the file has no name
    FileHandle file_;
    uint64_t kept_ = 0;    // bytes of the file that are on the path
    uint64_t written_ = 0; // bytes of the file that went by
};

} // namespace pgvigil
