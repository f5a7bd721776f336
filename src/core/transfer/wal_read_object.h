// Streams the plain bytes of one stored WAL object, fetched by ranges and decoded frame by frame: a segment of any size
// passes through a few MiB of memory.
// Threading: one thread; any number of streams at the same time.
// Errors: kCorrupt naming the key for anything that does not decode to what the header says; the store's own errors.
#pragma once

#include "base/wal_name.h"
#include "codec/frame.h"
#include "repo/envelope.h"
#include "storage/object_store.h"

#include <functional>
#include <optional>
#include <string>

namespace pgvigil {

inline constexpr uint64_t kWalReadPieceBytes = 6 * kMiB; // of one range read

class WalObjectStream {
  public:
    WalObjectStream(ObjectStore &store, std::string key, const CancelToken &cancel);

    // Fetches the first piece and parses the header; nullopt when the object is absent.
    std::optional<ObjectHeader> open();
    // Every frame's plain bytes in order; `expected` plain bytes in all, or kCorrupt. Call it once.
    void read(uint64_t expected, const std::function<void(ByteView plain)> &write);

  private:
    // At least `count` unread bytes in the window, or kCorrupt.
    void need(size_t count);
    bool fetch();

    ObjectStore &store_;
    const std::string key_;
    const CancelToken &cancel_;
    FrameDecoder decoder_;
    Bytes window_;
    size_t used_ = 0;          // bytes at the window's start that are done with
    uint64_t next_offset_ = 0; // of the object, behind the window
    bool at_end_ = false;
};

// Throws unless `bytes`, the first of a segment of `length` bytes, are of this cluster and of the segment that `file`
// names.
void check_first_page(ByteView bytes, const WalFileName &file, uint64_t length, uint64_t system_identifier,
                      const std::string &key);

} // namespace pgvigil
