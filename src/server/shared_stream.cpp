#include "server/pg.h"

#include "server/shared_stream.h"

namespace pgvigil {

const char *stream_mode_name(StreamMode mode) noexcept {
    switch (mode) {
    case StreamMode::kOff:
        return "off";
    case StreamMode::kWaiting:
        return "waiting";
    case StreamMode::kAsynchronous:
        return "asynchronous";
    case StreamMode::kConnecting:
        return "connecting";
    case StreamMode::kSynchronous:
        return "synchronous";
    case StreamMode::kDowngraded:
        return "downgraded";
    }
    return "off";
}

bool continues_acknowledged(const SharedStream &stream, const AcknowledgedSegment &segment) noexcept {
    if (stream.acknowledged_count == 0)
        return false;
    const AcknowledgedSegment &last = stream.acknowledged[(stream.acknowledged_count - 1) % kAcknowledgedSegments];
    return last.repositories == segment.repositories && last.epoch == segment.epoch;
}

void note_acknowledged(SharedStream &stream, const AcknowledgedSegment &segment) noexcept {
    stream.acknowledged[stream.acknowledged_count % kAcknowledgedSegments] = segment;
    ++stream.acknowledged_count;
    if (stream.latch != nullptr)
        SetLatch(stream.latch);
}

} // namespace pgvigil
