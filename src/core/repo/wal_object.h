// WAL files as objects: how the bytes of a segment, history, backup-history or partial file are wrapped, what the
// header says about them, and reading them back. A segment over 32 MiB is cut at fixed plain offsets into parts (rules
// B4). Threading: pure functions; a WalObjectWriter belongs to one thread.
#pragma once

#include "base/bytes.h"
#include "base/lsn.h"
#include "base/random.h"
#include "codec/compression.h"
#include "pgdata/wal_scan.h"
#include "repo/envelope.h"

#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

inline constexpr uint64_t kWalPartBytes = 32 * kMiB; // plain

struct WalPart {
    std::string key;
    uint64_t plain_length = 0;
    Sha256Digest digest{}; // of the part's plain bytes
};

// What the extension of a WAL object's header says; all of it optional for readers.
struct WalFacts {
    WalScanSummary scan;        // commit times, xids, restore points (rules E3)
    std::vector<WalPart> parts; // of a large segment, without the committing part itself
};

[[nodiscard]] std::string encode_wal_facts(const WalFacts &facts);
[[nodiscard]] WalFacts decode_wal_facts(std::string_view extension, std::string_view key);

// Builds the object for `plain` in one go. `digest` is that of the file's plain bytes (all parts together in a
// committing part); `whole_plain_length` the length of all parts together.
struct WalObjectInput {
    ObjectKind kind = ObjectKind::kWal;
    ByteView plain;
    uint64_t whole_plain_length = 0;
    Sha256Digest digest{};
    uint64_t epoch = 0;
    Uuid attempt{};
    std::string extension;
};
// The object takes over `memory`, whose contents are dropped: a buffer used again costs no page faults.
[[nodiscard]] Bytes encode_wal_object(const WalObjectInput &input, FrameEncoder &encoder, Bytes memory = {});
// Puts `input.digest`, which was not known yet when `object` was encoded of the same input, into its header.
void set_wal_object_digest(Bytes &object, const WalObjectInput &input);

// Decodes the frames of `object` (one object: a whole file, or one part) and appends the plain bytes to `out`; checks
// every frame's hash. The caller checks the digest over the whole file. Throws kCorrupt naming `key`.
void decode_wal_frames(ByteView object, const ParsedHeader &header, Bytes &out, FrameDecoder &decoder,
                       std::string_view key);

} // namespace pgvigil
