// What the tests of the tail's writer share: a growing segment in a pg_wal directory, and the bytes a reader would
// find.
#pragma once

#include "repo/epochs.h"
#include "repo/stored_segments.h"
#include "repo/tail.h"
#include "repo/tail_piece.h"
#include "transfer/tail_shipper.h"
#include "transfer/tail_writer.h"
#include "wal_archiver_support.h"

namespace pgvigil::test {

// What counts of a segment's tail, by repo/tail.h and the objects themselves; empty when there is none.
inline Bytes tail_bytes(const Repository &repository, TimelineId timeline, uint64_t segment_size, uint64_t segment) {
    const CancelToken never;
    const std::vector<EpochDocument> epochs = list_epochs(repository, 0, never);
    const TimelineTail tail = list_tail(repository, timeline, segment_size, 0, never);
    const TailContext context{epochs, [&](uint64_t other) {
                                  return is_segment_stored(repository, epochs, timeline, segment_size, other, never);
                              }};
    Bytes bytes;
    const auto cover = tail_cover(tail, context, segment);
    if (!cover)
        return bytes;
    EXPECT_FALSE(cover->hole);
    FrameDecoder decoder;
    for (const TailPiece &piece : cover->pieces) {
        const std::string key = tail_piece_key(repository.layout(), timeline, segment_size, piece);
        Bytes plain;
        decode_tail_piece(repository.store().get(key, 64 * kMiB, never).value(), piece, plain, decoder, key);
        bytes.resize(piece.from);
        bytes.insert(bytes.end(), plain.begin(), plain.end());
    }
    return bytes;
}

class TailWriterTest : public ArchiverTest {
  protected:
    [[nodiscard]] TailWriterOptions tail_options(uint64_t first_segment = 1) const {
        TailWriterOptions options;
        options.system_identifier = kSystemIdentifier;
        options.segment_size = segment_size;
        options.wal_directory = directory.path();
        options.epoch = 1;
        options.host = "a";
        options.timeline = 1;
        options.first_segment = first_segment;
        options.wal_end = segment_start(first_segment, segment_size);
        options.interval = std::chrono::milliseconds(1);
        options.archiver_grace = std::chrono::milliseconds(100);
        return options;
    }
    [[nodiscard]] std::string name_of(uint64_t segment) const { return segment_name(1, segment, segment_size); }
    [[nodiscard]] Lsn at(uint64_t segment, uint64_t offset) const { return Lsn{segment * segment_size + offset}; }
    static bool wait_durable(TailWriter &writer, Lsn wanted, std::chrono::seconds longest = std::chrono::seconds(30)) {
        const auto deadline = std::chrono::steady_clock::now() + longest;
        while (writer.durable() < wanted && std::chrono::steady_clock::now() < deadline) {
            pollfd event{writer.event_fd(), POLLIN, 0};
            poll(&event, 1, 20);
            writer.clear_event();
        }
        return writer.durable() >= wanted;
    }
    // Steps until nothing moves; returns what the last one said.
    static TailStep drive(TailShipper &shipper, const TailGoal &goal) {
        const CancelToken never;
        for (;;) {
            const TailStep step = shipper.step(goal, never);
            if (step != TailStep::kAdvanced || shipper.position() >= goal.flushed)
                return step;
        }
    }
};

} // namespace pgvigil::test
