// What the tests of the streamed tail share: pieces and runs in a repository, as a streaming process leaves them.
#pragma once

#include "base/error.h"
#include "repo/envelope.h"
#include "repo/tail.h"
#include "repo/tail_piece.h"
#include "storage/memory/memory_store.h"

#include <algorithm>
#include <gtest/gtest.h>

namespace pgvigil::test {

inline TailPiece piece_of(TailRunId run, uint64_t segment, uint32_t from, uint32_t to) {
    TailPiece piece;
    piece.run = run;
    piece.segment = segment;
    piece.from = from;
    piece.to = to;
    return piece;
}

inline TailRun run_of(TailRunId id, TimelineId timeline, uint64_t first_segment, uint64_t segment_size) {
    TailRun run;
    run.id = id;
    run.instance = random_uuid();
    run.host = "host";
    run.timeline = timeline;
    run.from = segment_start(first_segment, segment_size);
    run.segment_size = segment_size;
    run.created_ms = 1800000000000;
    return run;
}

inline EpochDocument epoch_of(uint64_t number, TimelineId timeline, Lsn lsn) {
    EpochDocument epoch;
    epoch.number = number;
    epoch.instance = random_uuid();
    epoch.host = "host";
    epoch.timeline = timeline;
    epoch.lsn = lsn;
    epoch.reason = "test";
    epoch.created_ms = 1800000000000;
    return epoch;
}

// Creates the run's document under its own number.
inline void put_run(ObjectStore &store, const ClusterLayout &layout, const TailRun &run) {
    const Bytes body = encode_document(encode(run), run.id.epoch, random_uuid());
    const std::string key = tail_run_key(layout, run.timeline, run.id);
    EXPECT_EQ(store.put_new({.key = key, .body = body}, CancelToken()), PutOutcome::kStored) << key;
}

// Creates a piece of `segment_bytes`, which begins with the segment's first byte. Returns its key.
inline std::string put_piece(ObjectStore &store, const ClusterLayout &layout, TimelineId timeline,
                             uint64_t segment_size, const TailPiece &piece, ByteView segment_bytes) {
    FrameEncoder encoder(Compression{});
    TailFacts facts;
    facts.segment_size = segment_size;
    facts.scan = scan_wal(segment_bytes.first(piece.to), segment_start(piece.segment, segment_size));
    const Bytes body = encode_tail_piece(segment_bytes.subspan(piece.from, piece.to - piece.from), piece.run.epoch,
                                         encode_tail_facts(facts), encoder);
    std::string key = tail_piece_key(layout, timeline, segment_size, piece);
    EXPECT_EQ(store.put_new({.key = key, .body = body}, CancelToken()), PutOutcome::kStored) << key;
    return key;
}

} // namespace pgvigil::test
