// Files of pg_wal made into objects: read, checked, hashed, scanned, compressed. A segment over kWalPartBytes becomes
// several objects, one in memory at a time (rules B4).
// Threading: an encoder belongs to one thread at a time; it reuses its buffers and compression context.
#pragma once

#include "base/bytes.h"
#include "base/thread_pool.h"
#include "codec/frame.h"
#include "crypto/digest.h"
#include "repo/layout.h"
#include "repo/wal_object.h"
#include "transfer/wal_archiver_source.h"
#include "transfer/wal_upload.h"

#include <array>
#include <functional>
#include <string>

namespace pgvigil {

// What every object of an archiver has in common.
struct WalEncoding {
    Compression compression;
    ClusterLayout layout;
    uint64_t segment_size = 0; // bytes
    uint64_t epoch = 0;
    // Hash the finished object once, where several stores would each do it.
    bool hash_body = false;
};

class WalEncoder {
  public:
    WalEncoder(const WalEncoding &encoding, WalSource &source);

    // Bytes of memory that encoding `file` takes at the most, without what the encoder keeps between files.
    [[nodiscard]] uint64_t body_bound(const WalSourceFile &file) const noexcept;

    // The complete object of a file of at most kWalPartBytes, its body in `body`'s memory. With a `helper`, one of its
    // threads hashes while this one compresses: sooner done, where a processor is idle.
    [[nodiscard]] WalObject encode(const WalSourceFile &file, Bytes body, const CancelToken &cancel,
                                   ThreadPool *helper = nullptr);

    // Two segments of at most kWalPartBytes, read and hashed together, which is faster than one after the other
    // (crypto/sha256_pair.h); encode_read() then makes the object of one of them (0 or 1).
    void read_two(const WalSourceFile &first, const WalSourceFile &second, const CancelToken &cancel);
    [[nodiscard]] WalObject encode_read(int which, const WalSourceFile &file, Bytes body);

    // The parts of a larger segment in order, each given to `part` before the next is read; then the object that
    // commits them. `take_body` gives the memory of each body.
    [[nodiscard]] WalObject encode_large(const WalSourceFile &file, const std::function<Bytes()> &take_body,
                                         const std::function<void(WalObject part)> &part, const CancelToken &cancel);

    // Digest and length of a file of any size, nothing else: an object without a body.
    [[nodiscard]] WalObject describe(const WalSourceFile &file, const CancelToken &cancel);

  private:
    ByteView read_piece(const WalSourceFile &file, uint64_t offset, uint64_t length, const CancelToken &cancel);
    WalObject object_of(const WalSourceFile &file, const Sha256Digest &digest) const;
    WalObject encode_plain(const WalSourceFile &file, ByteView plain, const Sha256Digest &digest, Bytes body);
    WalObject encode_with_helper(const WalSourceFile &file, Bytes body, const CancelToken &cancel, ThreadPool &helper);
    [[nodiscard]] WalObjectInput input_of(const WalSourceFile &file, ByteView plain) const;
    void finish_body(WalObject &object) const;

    const WalEncoding &encoding_;
    WalSource &source_;
    FrameEncoder frames_;
    Sha256 whole_digest_;
    Bytes plain_;
    std::array<Bytes, 2> two_plains_;
    std::array<Sha256Digest, 2> two_digests_{};
};

} // namespace pgvigil
