#include "repo/wal_index_records.h"

#include "base/error.h"
#include "base/wal_name.h"

#include <limits>

namespace pgvigil {

namespace {

// What a record holds, in the order in which it follows the flags.
enum Flag : unsigned {
    kHasFacts = 1,
    kHasTimes = 2,
    kHasXids = 4,
    kHasEndOfRecords = 8,
    kEndsInSwitch = 16,
    kHasSpanningOut = 32,
    kHasSpanningIn = 64,
    kHasSpanningInEnd = 128,
    kHasRestorePoints = 256,
    kAllFlags = 511,
};

constexpr uint64_t kMaxRestorePoints = 100;

constexpr uint64_t zigzag(int64_t value) noexcept {
    return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}

constexpr int64_t unzigzag(uint64_t value) noexcept {
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

// Differences wrap around: any two numbers may stand in a record, foreign ones too.
constexpr int64_t minus(int64_t a, int64_t b) noexcept {
    return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}

constexpr int64_t plus(int64_t a, int64_t b) noexcept {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

unsigned flags_of(const WalScanSummary &scan) {
    unsigned flags = kHasFacts;
    flags |= scan.first_time_us && scan.last_time_us ? kHasTimes : 0U;
    flags |= scan.first_xid && scan.last_xid ? kHasXids : 0U;
    flags |= scan.end_of_records.is_valid() ? kHasEndOfRecords : 0U;
    flags |= scan.ends_in_switch ? kEndsInSwitch : 0U;
    flags |= scan.spanning_out.empty() ? 0U : kHasSpanningOut;
    flags |= scan.spanning_in.empty() ? 0U : kHasSpanningIn;
    flags |= scan.spanning_in_end.is_valid() ? kHasSpanningInEnd : 0U;
    flags |= scan.restore_points.empty() ? 0U : kHasRestorePoints;
    return flags;
}

// Positions are relative to the segment's start, times to the last time before.
class Records {
  public:
    explicit Records(const WalBlock &block) : block_(block) {}

    void write(ByteWriter &out, const IndexedSegment &segment) {
        out.varint(segment.segment - next_);
        next_ = segment.segment + 1;
        out.varint(segment.epoch);
        out.varint(segment.scan ? flags_of(*segment.scan) : 0);
        if (segment.scan)
            write(out, *segment.scan, segment_start(segment.segment, block_.segment_size));
    }

    IndexedSegment read(ByteReader &in, std::string_view key) {
        IndexedSegment segment;
        const uint64_t distance = in.varint();
        if (distance > block_.span || next_ + distance > block_.end())
            throw damaged(key);
        segment.segment = next_ + distance;
        next_ = segment.segment + 1;
        segment.epoch = in.varint();
        const uint64_t flags = in.varint();
        if (flags > kAllFlags || (flags != 0 && (flags & kHasFacts) == 0))
            throw damaged(key);
        if (flags != 0)
            segment.scan =
                read_scan(in, static_cast<unsigned>(flags), segment_start(segment.segment, block_.segment_size), key);
        return segment;
    }

  private:
    static Error damaged(std::string_view key) {
        return Error(ErrorCode::kCorrupt, "\"" + std::string(key) + "\" is damaged")
            .detail("A record does not make sense.");
    }

    void write(ByteWriter &out, const WalScanSummary &scan, Lsn start) {
        const unsigned flags = flags_of(scan);
        const auto position = [&](Lsn lsn) {
            out.varint(zigzag(minus(static_cast<int64_t>(lsn.value), static_cast<int64_t>(start.value))));
        };
        out.varint(scan.magic);
        out.varint(scan.commits);
        if ((flags & kHasTimes) != 0) {
            out.varint(zigzag(minus(*scan.first_time_us, time_us_)));
            out.varint(zigzag(minus(*scan.last_time_us, *scan.first_time_us)));
            time_us_ = *scan.last_time_us;
        }
        if ((flags & kHasXids) != 0) {
            out.varint(*scan.first_xid);
            out.varint(*scan.last_xid);
        }
        if ((flags & kHasEndOfRecords) != 0)
            position(scan.end_of_records);
        if ((flags & kHasSpanningOut) != 0)
            out.string(as_text(scan.spanning_out));
        if ((flags & kHasSpanningIn) != 0)
            out.string(as_text(scan.spanning_in));
        if ((flags & kHasSpanningInEnd) != 0)
            position(scan.spanning_in_end);
        if ((flags & kHasRestorePoints) == 0)
            return;
        out.varint(scan.restore_points.size());
        for (const RestorePoint &point : scan.restore_points) {
            out.string(point.name);
            out.varint(zigzag(minus(point.time_us, time_us_)));
            position(point.lsn);
        }
    }

    template <class T> static T small(ByteReader &in, std::string_view key) {
        const uint64_t value = in.varint();
        if (value > std::numeric_limits<T>::max())
            throw damaged(key);
        return static_cast<T>(value);
    }

    static Bytes spanning(ByteReader &in, std::string_view key) {
        const std::string_view bytes = in.string();
        if (bytes.size() > kMaxSpanningBytes)
            throw damaged(key);
        return to_bytes(bytes);
    }

    WalScanSummary read_scan(ByteReader &in, unsigned flags, Lsn start, std::string_view key) {
        const auto position = [&] { return Lsn{start.value + static_cast<uint64_t>(unzigzag(in.varint()))}; };
        WalScanSummary scan;
        scan.magic = small<uint16_t>(in, key);
        scan.commits = small<uint32_t>(in, key);
        if ((flags & kHasTimes) != 0) {
            scan.first_time_us = plus(time_us_, unzigzag(in.varint()));
            scan.last_time_us = plus(*scan.first_time_us, unzigzag(in.varint()));
            time_us_ = *scan.last_time_us;
        }
        if ((flags & kHasXids) != 0) {
            scan.first_xid = small<uint32_t>(in, key);
            scan.last_xid = small<uint32_t>(in, key);
        }
        if ((flags & kHasEndOfRecords) != 0)
            scan.end_of_records = position();
        scan.ends_in_switch = (flags & kEndsInSwitch) != 0;
        if ((flags & kHasSpanningOut) != 0)
            scan.spanning_out = spanning(in, key);
        if ((flags & kHasSpanningIn) != 0)
            scan.spanning_in = spanning(in, key);
        if ((flags & kHasSpanningInEnd) != 0)
            scan.spanning_in_end = position();
        if ((flags & kHasRestorePoints) == 0)
            return scan;
        const uint64_t count = in.varint();
        if (count > kMaxRestorePoints)
            throw damaged(key);
        for (uint64_t i = 0; i < count; ++i) {
            RestorePoint point;
            point.name = std::string(in.string());
            point.time_us = plus(time_us_, unzigzag(in.varint()));
            point.lsn = position();
            scan.restore_points.push_back(std::move(point));
        }
        return scan;
    }

    const WalBlock &block_;
    uint64_t next_ = block_.start;
    int64_t time_us_ = 0;
};

} // namespace

Bytes encode_indexed_segments(const WalBlock &block, const std::vector<IndexedSegment> &segments) {
    ByteWriter out;
    out.varint(segments.size());
    Records records(block);
    for (const IndexedSegment &segment : segments)
        records.write(out, segment);
    return out.take();
}

std::vector<IndexedSegment> decode_indexed_segments(const WalBlock &block, ByteView plain, std::string_view key) {
    ByteReader in(plain);
    const uint64_t count = in.varint();
    if (count == 0 || count > block.span)
        throw Error(ErrorCode::kCorrupt, "\"" + std::string(key) + "\" is damaged")
            .detail("It holds an impossible number of segments.");
    std::vector<IndexedSegment> segments;
    segments.reserve(count);
    Records records(block);
    for (uint64_t i = 0; i < count; ++i)
        segments.push_back(records.read(in, key));
    if (!in.at_end())
        throw Error(ErrorCode::kCorrupt, "\"" + std::string(key) + "\" is damaged")
            .detail("There are bytes behind its last record.");
    return segments;
}

} // namespace pgvigil
