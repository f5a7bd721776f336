#include "transfer/tail_read.h"

#include "base/error.h"
#include "repo/stored_segments.h"
#include "repo/tail_piece.h"
#include "repo/wal_object.h"
#include "transfer/wal_read_object.h"

#include <algorithm>
#include <fmt/core.h>
#include <map>

namespace pgvigil {

namespace {

constexpr size_t kFirstKeys = 8;
constexpr size_t kZeroesAtOnce = kMiB;

// Readers find the complete segment, or it lies before everything that is kept.
class StoredLook {
  public:
    StoredLook(const Repository &repository, const std::vector<EpochDocument> &epochs, TimelineId timeline,
               uint64_t segment_size, const CancelToken &cancel)
        : repository_(repository), epochs_(epochs), timeline_(timeline), segment_size_(segment_size), cancel_(cancel) {}

    [[nodiscard]] bool operator()(uint64_t segment) {
        return is_segment_stored(repository_, epochs_, timeline_, segment_size_, segment, cancel_) ||
               segment < first_stored();
    }

  private:
    // 0 where nothing is stored.
    [[nodiscard]] uint64_t first_stored() {
        if (first_)
            return *first_;
        first_ = 0;
        const std::string prefix = repository_.layout().wal_prefix(timeline_);
        ListRequest request;
        request.prefix = prefix;
        request.limit = kFirstKeys;
        for_each_page(repository_.store(), request, cancel_, [&](const ListPage &page) {
            for (const ObjectInfo &object : page.objects) {
                const std::string_view base = std::string_view(object.key).substr(object.key.rfind('/') + 1);
                const auto parsed = parse_wal_file_name(base.substr(0, 24));
                if (*first_ == 0 && parsed && parsed->kind == WalFileKind::kSegment)
                    first_ = segment_number(*parsed, segment_size_);
            }
        });
        return *first_;
    }

    const Repository &repository_;
    const std::vector<EpochDocument> &epochs_;
    const TimelineId timeline_;
    const uint64_t segment_size_;
    const CancelToken &cancel_;
    std::optional<uint64_t> first_;
};

TailContext context_of(const Repository &repository, const std::vector<EpochDocument> &epochs, const TimelineTail &tail,
                       const CancelToken &cancel) {
    return {epochs, StoredLook(repository, epochs, tail.timeline, tail.segment_size, cancel)};
}

void write_zeroes(WalSink &sink, uint64_t count) {
    const Bytes zeroes(std::min<uint64_t>(count, kZeroesAtOnce));
    for (uint64_t left = count; left > 0;) {
        const size_t now = static_cast<size_t>(std::min<uint64_t>(left, zeroes.size()));
        sink.write(ByteView(zeroes).first(now));
        left -= now;
    }
}

} // namespace

TailFinding look_for_tail(const Repository &repository, const std::vector<EpochDocument> &epochs, std::string_view name,
                          const CancelToken &cancel) {
    const WalFileName file = parse_wal_file_name(name).value();
    const TimelineTail tail = list_tail_from(repository, file.timeline, name, cancel);
    TailFinding finding;
    finding.streamed = !tail.runs.empty();
    finding.segment_size = tail.segment_size;
    if (tail.segment_size == 0)
        return finding;
    const uint64_t segment = segment_number(file, tail.segment_size);
    finding.cover = tail_cover(tail, context_of(repository, epochs, tail, cancel), segment);
    return finding;
}

bool is_streamed_behind(const Repository &repository, const std::vector<EpochDocument> &epochs, std::string_view name,
                        const CancelToken &cancel) {
    const WalFileName file = parse_wal_file_name(name).value();
    const bool history = file.kind == WalFileKind::kHistory;
    const TimelineTail tail =
        list_tail_from(repository, file.timeline, history ? std::string_view() : name.substr(0, 24), cancel);
    if (tail.segment_size == 0)
        return false;
    // No WAL lies in segment 0.
    const uint64_t segment = history ? 0 : segment_number(file, tail.segment_size);
    return has_later_tail(tail, context_of(repository, epochs, tail, cancel), segment);
}

bool copy_tail(const Repository &repository, const TailFinding &finding, std::string_view name,
               uint64_t system_identifier, WalSink &sink, const CancelToken &cancel) {
    const WalFileName file = parse_wal_file_name(name).value();
    sink.begin(finding.segment_size);
    FrameDecoder decoder;
    uint64_t done = 0;
    for (const TailPiece &piece : finding.cover.value().pieces) {
        const std::string key = tail_piece_key(repository.layout(), file.timeline, finding.segment_size, piece);
        const auto object = repository.store().get(key, 2 * kWalPartBytes, cancel);
        if (!object)
            return false;
        Bytes plain;
        decode_tail_piece(*object, piece, plain, decoder, key);
        if (done == 0)
            check_first_page(plain, file, finding.segment_size, system_identifier, key);
        // Pieces may overlap; each begins at or before the end of the one before.
        sink.write(ByteView(plain).subspan(done - piece.from));
        done = piece.to;
    }
    write_zeroes(sink, finding.segment_size - done);
    return true;
}

} // namespace pgvigil
