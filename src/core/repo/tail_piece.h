// A piece of the streamed tail as an object: bytes [from, to) of a segment in frames, as a WAL file has them, with what
// is known of the records in everything from the segment's start to the piece's end (rules E3).
// Threading: pure functions. Errors: kCorrupt naming the key.
#pragma once

#include "base/bytes.h"
#include "pgdata/wal_scan.h"
#include "repo/envelope.h"
#include "repo/tail.h"

#include <string>
#include <string_view>

namespace pgvigil {

struct TailFacts {
    uint64_t segment_size = 0; // bytes
    WalScanSummary scan;       // of [0, to)
};

[[nodiscard]] std::string encode_tail_facts(const TailFacts &facts);
[[nodiscard]] TailFacts decode_tail_facts(std::string_view extension, std::string_view key);

// `plain` is at most kWalPartBytes long. The object takes over `memory`.
[[nodiscard]] Bytes encode_tail_piece(ByteView plain, uint64_t epoch, std::string extension, FrameEncoder &encoder,
                                      Bytes memory = {});

// Appends the plain bytes of `object` to `out`; checks that it is the piece its name says, its frames and its digest.
void decode_tail_piece(ByteView object, const TailPiece &piece, Bytes &out, FrameDecoder &decoder,
                       std::string_view key);

} // namespace pgvigil
