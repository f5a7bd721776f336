// The keyed hashes of the blocks that a backup stores (rules A4), in the order of its file table's extents, in objects
// of their own: files/<id>/hashes-<6 digits>. Which object and which bytes of it hold hash number n is computed, so
// that any part can be read alone. Threading: a writer belongs to one thread; a reader may be used by many.
#pragma once

#include "base/bytes.h"
#include "base/random.h"
#include "crypto/block_hash.h"
#include "storage/object_store.h"

#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace pgvigil {

inline constexpr size_t kHashesPerFrame = 4096;
inline constexpr size_t kHashFramesPerObject = 127; // an object is just below 8 MiB

class BlockHashWriter {
  public:
    // Receives each finished object in order: its name below files/<id>/ and its bytes.
    using Sink = std::function<void(const std::string &name, Bytes object)>;
    BlockHashWriter(uint64_t epoch, const Uuid &attempt, Sink store);

    void add(std::span<const BlockHash> hashes);
    // Writes what is left. Nothing may be added afterwards.
    void finish();
    [[nodiscard]] uint64_t count() const noexcept { return count_; }

  private:
    void write_object();
    const uint64_t epoch_;
    const Uuid attempt_;
    Sink store_;
    std::vector<BlockHash> open_;
    uint32_t object_ = 0;
    uint64_t count_ = 0;
};

class BlockHashReader {
  public:
    // Returns the bytes of files/<id>/<name> in `range`, cut off at the object's end.
    using Fetch = std::function<Bytes(const std::string &name, ByteRange range)>;
    // `prefix`: of the names in messages.
    BlockHashReader(Fetch fetch, std::string prefix) : fetch_(std::move(fetch)), prefix_(std::move(prefix)) {}

    // The hashes [first, first + count), appended to `out`; throws kCorrupt where there are none. Keeps what it read
    // last, about 1 MiB.
    void read(uint64_t first, size_t count, std::vector<BlockHash> &out);

  private:
    struct Chunk {
        uint64_t number = 0;
        std::vector<BlockHash> hashes;
    };
    [[nodiscard]] std::vector<BlockHash> read_chunk(uint64_t number) const;

    Fetch fetch_;
    std::string prefix_;
    std::mutex mutex_;
    std::list<Chunk> chunks_; // the latest used first
};

} // namespace pgvigil
