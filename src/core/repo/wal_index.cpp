#include "repo/wal_index.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "crypto/digest.h"
#include "repo/envelope.h"
#include "repo/wal_index_records.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr uint64_t kHighestSegment = UINT64_MAX >> 20; // of the smallest segments
constexpr size_t kFields = 12;

Error damaged(std::string_view key, const std::string &why) {
    return Error(ErrorCode::kCorrupt, "\"" + std::string(key) + "\" is damaged").detail(why);
}

// Transaction ids are compared modulo 2^32, as PostgreSQL does (TransactionIdPrecedes).
bool precedes(uint32_t a, uint32_t b) noexcept {
    return static_cast<int32_t>(a - b) < 0;
}

void add_transactions(WalBlock &block, const std::optional<int64_t> &first_us, const std::optional<int64_t> &last_us,
                      const std::optional<uint32_t> &first_xid, const std::optional<uint32_t> &last_xid) {
    if (first_us && (!block.first_time_us || *first_us < *block.first_time_us))
        block.first_time_us = first_us;
    if (last_us && (!block.last_time_us || *last_us > *block.last_time_us))
        block.last_time_us = last_us;
    if (first_xid && (!block.first_xid || precedes(*first_xid, *block.first_xid)))
        block.first_xid = first_xid;
    if (last_xid && (!block.last_xid || precedes(*block.last_xid, *last_xid)))
        block.last_xid = last_xid;
}

void add_crossing(WalBlock &block, const WalScanSummary &earlier, const WalScanSummary &later) {
    const auto crossing = spanning_record(earlier, later);
    if (!crossing)
        return;
    if (const auto &end = crossing->transaction)
        add_transactions(block, end->time_us, end->time_us, end->xid, end->xid);
    if (crossing->restore_point)
        block.restore_points |= restore_point_bit(crossing->restore_point->name);
}

// One field of a name: exactly `digits` upper-case hexadecimal digits, then '-' or the end.
std::optional<uint64_t> take_field(std::string_view &text, size_t digits) {
    uint64_t value = 0;
    if (text.size() < digits)
        return std::nullopt;
    const std::string_view field = text.substr(0, digits);
    if (field.find_first_not_of("0123456789ABCDEF") != std::string_view::npos)
        return std::nullopt;
    std::from_chars(field.data(), field.data() + digits, value, 16);
    text.remove_prefix(digits);
    if (!text.empty()) {
        if (text.front() != '-' || text.size() == 1)
            return std::nullopt;
        text.remove_prefix(1);
    }
    return value;
}

constexpr std::array<size_t, kFields> kDigits{16, 4, 3, 10, 3, 3, 4, 16, 16, 8, 8, 16};

bool is_possible(const WalBlock &block) {
    return is_valid_segment_size(block.segment_size) && block.generation > 0 && block.timeline > 0 &&
           block.start % block.span == 0 && block.start <= kHighestSegment && block.first <= block.last &&
           block.last <= block.end() && block.count > 0 && block.count <= block.last - block.first + 1;
}

} // namespace

std::string wal_block_key(const ClusterLayout &layout, const WalBlock &block) {
    const bool times = block.first_time_us.has_value();
    const bool xids = block.first_xid.has_value();
    return layout.walindex_prefix(block.span, block.timeline) +
           fmt::format("{:016X}-{:04X}-{:03X}-{:010X}-{:03X}-{:03X}-{:04X}-{:016X}-{:016X}-{:08X}-{:08X}-{:016X}",
                       block.start, block.generation, block.segment_size / kMiB, block.epoch, block.first - block.start,
                       block.last - block.start, block.count, times ? static_cast<uint64_t>(*block.first_time_us) : 0,
                       times ? static_cast<uint64_t>(*block.last_time_us) : 0, xids ? *block.first_xid : 0,
                       xids ? *block.last_xid : 0, block.restore_points);
}

std::optional<WalBlock> parse_wal_block_key(const ClusterLayout &layout, std::string_view key) {
    WalBlock block;
    for (const uint64_t span : kWalIndexSpans) {
        const std::string prefix = layout.walindex_prefix() + std::to_string(span) + "/";
        if (!key.starts_with(prefix))
            continue;
        block.span = span;
        key.remove_prefix(prefix.size());
        break;
    }
    if (block.span == 0 || key.size() < 9 || key[8] != '/')
        return std::nullopt;
    std::string_view timeline = key.substr(0, 8);
    const auto number = take_field(timeline, 8);
    key.remove_prefix(9);
    std::array<uint64_t, kFields> fields{};
    for (size_t i = 0; i < kFields; ++i) {
        const auto field = take_field(key, kDigits[i]);
        if (!field || key.empty() != (i == kFields - 1))
            return std::nullopt;
        fields[i] = *field;
    }
    if (!number)
        return std::nullopt;
    block.timeline = static_cast<TimelineId>(*number);
    block.start = fields[0];
    block.generation = static_cast<uint32_t>(fields[1]);
    block.segment_size = fields[2] * kMiB;
    block.epoch = fields[3];
    block.first = block.start + fields[4];
    block.last = block.start + fields[5];
    block.count = fields[6];
    if (fields[7] != 0 || fields[8] != 0) {
        block.first_time_us = static_cast<int64_t>(fields[7]);
        block.last_time_us = static_cast<int64_t>(fields[8]);
    }
    if (fields[9] != 0 || fields[10] != 0) {
        block.first_xid = static_cast<uint32_t>(fields[9]);
        block.last_xid = static_cast<uint32_t>(fields[10]);
    }
    block.restore_points = fields[11];
    if (!is_possible(block))
        return std::nullopt;
    return block;
}

uint64_t restore_point_bit(std::string_view name) noexcept {
    return uint64_t{1} << (crc32c(as_view(name)) % 64);
}

void trim_spanning_bytes(std::vector<IndexedSegment> &segments) {
    for (size_t i = 1; i < segments.size(); ++i) {
        IndexedSegment &earlier = segments[i - 1];
        IndexedSegment &later = segments[i];
        if (!earlier.scan || !later.scan || earlier.segment + 1 != later.segment)
            continue;
        const auto crossing = spanning_record(*earlier.scan, *later.scan);
        if (crossing && (crossing->transaction || crossing->restore_point))
            continue;
        earlier.scan->spanning_out.clear();
        later.scan->spanning_in.clear();
        later.scan->spanning_in_end = Lsn{};
    }
}

void summarise(WalBlock &block, const std::vector<IndexedSegment> &segments, const WalScanSummary *before) {
    block.first = segments.front().segment;
    block.last = segments.back().segment;
    block.count = segments.size();
    for (size_t i = 0; i < segments.size(); ++i) {
        if (!segments[i].scan)
            continue;
        const WalScanSummary &scan = *segments[i].scan;
        add_transactions(block, scan.first_time_us, scan.last_time_us, scan.first_xid, scan.last_xid);
        for (const RestorePoint &point : scan.restore_points)
            block.restore_points |= restore_point_bit(point.name);
        if (i == 0 && before != nullptr)
            add_crossing(block, *before, scan);
        else if (i > 0 && segments[i - 1].segment + 1 == segments[i].segment && segments[i - 1].scan)
            add_crossing(block, *segments[i - 1].scan, scan);
    }
}

Bytes encode_wal_block(const WalBlock &block, const std::vector<IndexedSegment> &segments) {
    const Bytes plain = encode_indexed_segments(block, segments);
    ObjectHeader header;
    header.kind = ObjectKind::kWalIndex;
    header.epoch = block.epoch;
    header.attempt = random_uuid();
    header.plain_length = plain.size();
    header.digest = sha256(plain);
    Bytes object;
    append_header(object, header);
    FrameEncoder encoder{Compression{}};
    uint32_t number = 0;
    for (ByteView rest = plain; number == 0 || !rest.empty();) {
        const ByteView piece = rest.first(std::min(rest.size(), kMaxExtentBytes));
        rest = rest.subspan(piece.size());
        encoder.append(object, FrameType::kData, piece, number++, rest.empty());
    }
    return object;
}

std::vector<IndexedSegment> decode_wal_block(const WalBlock &block, ByteView object, std::string_view key) {
    const ParsedHeader parsed = parse_header(object, key);
    if (parsed.header.kind != ObjectKind::kWalIndex || parsed.header.plain_length > kMaxWalIndexBytes)
        throw damaged(key, "It is no index of WAL.");
    Bytes plain;
    FrameDecoder decoder;
    ByteView rest = object.subspan(std::min(parsed.length, object.size()));
    bool last = false;
    for (uint32_t number = 0; !last; ++number) {
        const FrameHeader frame = FrameDecoder::parse_header(rest, key);
        if (frame.type != FrameType::kData || frame.number != number ||
            plain.size() + frame.plain_length > parsed.header.plain_length)
            throw damaged(key, "Its frames do not add up to the length in its header.");
        const size_t before = plain.size();
        plain.resize(before + frame.plain_length);
        decoder.decode(rest, std::span(plain).subspan(before), key);
        rest = rest.subspan(kFrameHeaderBytes + frame.stored_length);
        last = frame.last;
    }
    if (plain.size() != parsed.header.plain_length || !rest.empty() || sha256(plain) != parsed.header.digest)
        throw damaged(key, "Its contents do not match the length and digest in its header.");
    std::vector<IndexedSegment> segments = decode_indexed_segments(block, plain, key);
    if (segments.size() != block.count || segments.front().segment != block.first ||
        segments.back().segment != block.last)
        throw damaged(key, "It holds other segments than its name says.");
    return segments;
}

SegmentRuns runs_of(const std::vector<IndexedSegment> &segments) {
    SegmentRuns runs;
    for (const IndexedSegment &segment : segments) {
        if (!runs.empty() && runs.back().last + 1 == segment.segment)
            runs.back().last = segment.segment;
        else
            runs.push_back({segment.segment, segment.segment});
    }
    return runs;
}

} // namespace pgvigil
