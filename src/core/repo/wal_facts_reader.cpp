#include "repo/wal_facts_reader.h"

#include "base/error.h"
#include "base/parallel.h"
#include "base/wal_name.h"
#include "repo/envelope.h"
#include "repo/tail_piece.h"
#include "repo/wal_listing.h"
#include "repo/wal_object.h"

#include <algorithm>
#include <list>
#include <map>
#include <utility>

namespace pgvigil {

namespace {

constexpr size_t kReaders = 8;
// Index objects kept: a search goes through them in order. One of 4,096 segments takes about a megabyte.
constexpr size_t kBlocksKept = 20;

using SegmentPlace = std::pair<TimelineId, uint64_t>;

} // namespace

struct WalFactsReader::State {
    struct ReadBlock {
        WalBlock block;
        std::vector<IndexedSegment> segments; // empty where the object is gone or cannot be read
    };

    const Repository &repository;
    const Catalog *catalog; // or null
    uint64_t segment_size;
    const CancelToken &cancel;
    std::map<SegmentPlace, std::optional<IndexedSegment>> known; // from headers; unset: absent
    std::list<ReadBlock> blocks;                                 // the one used last is the first

    [[nodiscard]] const WalBlock *find_block(TimelineId timeline, uint64_t segment) const {
        const TimelineWal *wal = catalog == nullptr ? nullptr : catalog->timeline(timeline);
        if (wal == nullptr)
            return nullptr;
        const auto found = std::lower_bound(wal->blocks.begin(), wal->blocks.end(), segment,
                                            [](const WalBlock &block, uint64_t value) { return block.last < value; });
        return found == wal->blocks.end() || found->first > segment ? nullptr : &*found;
    }

    // What was streamed of a segment that is not stored complete; nullptr when nothing was.
    [[nodiscard]] const TailCover *streamed(TimelineId timeline, uint64_t segment) const {
        const TimelineWal *wal = catalog == nullptr ? nullptr : catalog->timeline(timeline);
        if (wal == nullptr || find_run(wal->runs, segment) != nullptr)
            return nullptr;
        const auto found = wal->streamed.find(segment);
        return found == wal->streamed.end() || found->second.hole ? nullptr : &found->second;
    }

    // The segment in an index object; nullptr when none tells of it.
    [[nodiscard]] const IndexedSegment *in_block(TimelineId timeline, uint64_t segment) {
        const WalBlock *block = find_block(timeline, segment);
        if (block == nullptr)
            return nullptr;
        const std::vector<IndexedSegment> &segments = read_block(*block);
        const auto found =
            std::lower_bound(segments.begin(), segments.end(), segment,
                             [](const IndexedSegment &item, uint64_t value) { return item.segment < value; });
        return found == segments.end() || found->segment != segment ? nullptr : &*found;
    }

    [[nodiscard]] const std::vector<IndexedSegment> &read_block(const WalBlock &block) {
        const auto found =
            std::find_if(blocks.begin(), blocks.end(), [&](const ReadBlock &read) { return read.block == block; });
        if (found != blocks.end()) {
            blocks.splice(blocks.begin(), blocks, found);
            return blocks.front().segments;
        }
        ReadBlock read{block, {}};
        try {
            if (auto segments = read_wal_block(repository, block, cancel))
                read.segments = std::move(*segments);
        } catch (const Error &error) {
            // The segments' own headers say the same.
            if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported)
                throw;
        }
        blocks.push_front(std::move(read));
        if (blocks.size() > kBlocksKept)
            blocks.pop_back();
        return blocks.front().segments;
    }

    [[nodiscard]] uint64_t epoch_of_name(TimelineId timeline, uint64_t segment) {
        if (const IndexedSegment *indexed = in_block(timeline, segment))
            return indexed->epoch;
        const TimelineWal *wal = catalog == nullptr ? nullptr : catalog->timeline(timeline);
        if (wal == nullptr)
            return 0;
        const auto found = wal->epoch_names.find(segment);
        return found == wal->epoch_names.end() ? 0 : found->second;
    }

    [[nodiscard]] std::string key(TimelineId timeline, uint64_t segment, uint64_t epoch) const {
        const std::string name = segment_name(timeline, segment, segment_size);
        return epoch == 0 ? repository.layout().wal_file(name) : repository.layout().wal_file_of_epoch(name, epoch);
    }

    [[nodiscard]] std::optional<IndexedSegment> read(TimelineId timeline, uint64_t segment, uint64_t epoch) const {
        IndexedSegment indexed{segment, epoch, std::nullopt};
        // The last piece speaks of everything before it. Once it is gone the segment is complete.
        if (const TailCover *cover = streamed(timeline, segment)) {
            const std::string piece = tail_piece_key(repository.layout(), timeline, segment_size, cover->pieces.back());
            if (const auto parsed = read_header(repository.store(), piece, cancel)) {
                indexed.scan = decode_tail_facts(parsed->header.extension, piece).scan;
                return indexed;
            }
        }
        const std::string name = key(timeline, segment, epoch);
        const auto parsed = read_header(repository.store(), name, cancel);
        if (!parsed)
            return std::nullopt;
        if (!parsed->header.extension.empty())
            indexed.scan = decode_wal_facts(parsed->header.extension, name).scan;
        return indexed;
    }

    // The plain bytes of what was streamed; empty when a piece is gone.
    [[nodiscard]] Bytes streamed_bytes(TimelineId timeline, const TailCover &cover) const {
        FrameDecoder decoder;
        Bytes plain;
        for (const TailPiece &piece : cover.pieces) {
            const std::string name = tail_piece_key(repository.layout(), timeline, segment_size, piece);
            const auto object = repository.store().get(name, 2 * kWalPartBytes, cancel);
            if (!object)
                return {};
            plain.resize(piece.from);
            decode_tail_piece(*object, piece, plain, decoder, name);
        }
        return plain;
    }

    // The plain bytes of a segment, as far as it is there; empty when it is absent.
    [[nodiscard]] Bytes segment_bytes(TimelineId timeline, uint64_t segment) {
        if (const TailCover *cover = streamed(timeline, segment))
            if (Bytes plain = streamed_bytes(timeline, *cover); !plain.empty())
                return plain;
        const std::string name = key(timeline, segment, epoch_of_name(timeline, segment));
        const auto object = repository.store().get(name, 2 * kWalPartBytes, cancel);
        Bytes plain;
        if (!object)
            return plain;
        FrameDecoder decoder;
        const ParsedHeader parsed = parse_header(*object, name);
        for (const WalPart &part : decode_wal_facts(parsed.header.extension, name).parts) {
            const auto bytes = repository.store().get(part.key, 2 * kWalPartBytes, cancel);
            if (!bytes)
                throw Error(ErrorCode::kCorrupt, "\"" + part.key + "\", a part of \"" + name + "\", is missing");
            decode_wal_frames(*bytes, parse_header(*bytes, part.key), plain, decoder, part.key);
        }
        decode_wal_frames(*object, parsed, plain, decoder, name);
        return plain;
    }
};

WalFactsReader::WalFactsReader(const Repository &repository, uint64_t segment_size, const CancelToken &cancel)
    : state_(new State{repository, nullptr, segment_size, cancel, {}, {}}) {}

WalFactsReader::WalFactsReader(const Repository &repository, const Catalog &catalog, const CancelToken &cancel)
    : state_(new State{repository, &catalog, catalog.segment_size, cancel, {}, {}}) {}

WalFactsReader::~WalFactsReader() = default;

void WalFactsReader::expect(TimelineId timeline, uint64_t first, uint64_t last) {
    std::vector<std::pair<uint64_t, uint64_t>> unknown; // segment, epoch of its name
    for (uint64_t segment = first; segment <= last; ++segment)
        if (!state_->known.contains({timeline, segment}) && state_->find_block(timeline, segment) == nullptr)
            unknown.emplace_back(segment, state_->epoch_of_name(timeline, segment));
    std::vector<std::optional<IndexedSegment>> read(unknown.size());
    parallel_for(unknown.size(), kReaders, [&](size_t index) {
        read[index] = state_->read(timeline, unknown[index].first, unknown[index].second);
    });
    for (size_t i = 0; i < unknown.size(); ++i)
        state_->known[{timeline, unknown[i].first}] = std::move(read[i]);
}

std::optional<IndexedSegment> WalFactsReader::indexed(TimelineId timeline, uint64_t segment) {
    if (const IndexedSegment *found = state_->in_block(timeline, segment))
        return *found;
    const auto found = state_->known.find({timeline, segment});
    if (found != state_->known.end())
        return found->second;
    return state_->known[{timeline, segment}] =
               state_->read(timeline, segment, state_->epoch_of_name(timeline, segment));
}

std::optional<WalScanSummary> WalFactsReader::facts(TimelineId timeline, uint64_t segment) {
    auto found = indexed(timeline, segment);
    return found ? std::move(found->scan) : std::nullopt;
}

std::optional<WalBlock> WalFactsReader::block(TimelineId timeline, uint64_t segment) const {
    const WalBlock *block = state_->find_block(timeline, segment);
    return block == nullptr ? std::nullopt : std::optional(*block);
}

std::vector<TransactionEnd> WalFactsReader::transaction_ends(TimelineId timeline, uint64_t segment) {
    const Lsn start = segment_start(segment, state_->segment_size);
    const Bytes own = state_->segment_bytes(timeline, segment);
    // A record may have begun in the segment before: with both in one view it is whole.
    Bytes both = segment == 0 ? Bytes{} : state_->segment_bytes(timeline, segment - 1);
    if (both.size() != state_->segment_size)
        return pgvigil::transaction_ends(own, start);
    both.insert(both.end(), own.begin(), own.end());
    std::vector<TransactionEnd> ends =
        pgvigil::transaction_ends(both, segment_start(segment - 1, state_->segment_size));
    std::erase_if(ends, [start](const TransactionEnd &end) { return end.end <= start; });
    return ends;
}

} // namespace pgvigil
