#include "repo/wal_facts_reader.h"

#include "base/error.h"
#include "base/parallel.h"
#include "base/wal_name.h"
#include "repo/envelope.h"
#include "repo/wal_object.h"

#include <algorithm>
#include <map>
#include <utility>

namespace pgvigil {

namespace {

constexpr size_t kReaders = 8;

} // namespace

struct WalFactsReader::State {
    const Repository &repository;
    uint64_t segment_size;
    const CancelToken &cancel;
    std::map<std::pair<TimelineId, uint64_t>, std::optional<WalScanSummary>> known;

    [[nodiscard]] std::string key(TimelineId timeline, uint64_t segment) const {
        return repository.layout().wal_file(segment_name(timeline, segment, segment_size));
    }

    [[nodiscard]] std::optional<WalScanSummary> read(TimelineId timeline, uint64_t segment) const {
        const std::string name = key(timeline, segment);
        const auto parsed = read_header(repository.store(), name, cancel);
        if (!parsed || parsed->header.extension.empty())
            return std::nullopt;
        return decode_wal_facts(parsed->header.extension, name).scan;
    }

    // The plain bytes of a segment; empty when it is absent.
    [[nodiscard]] Bytes segment_bytes(TimelineId timeline, uint64_t segment) const {
        const std::string name = key(timeline, segment);
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
    : state_(new State{repository, segment_size, cancel, {}}) {}

WalFactsReader::~WalFactsReader() = default;

void WalFactsReader::expect(TimelineId timeline, uint64_t first, uint64_t last) {
    std::vector<uint64_t> unknown;
    for (uint64_t segment = first; segment <= last; ++segment)
        if (!state_->known.contains({timeline, segment}))
            unknown.push_back(segment);
    std::vector<std::optional<WalScanSummary>> read(unknown.size());
    parallel_for(unknown.size(), kReaders, [&](size_t index) { read[index] = state_->read(timeline, unknown[index]); });
    for (size_t i = 0; i < unknown.size(); ++i)
        state_->known[{timeline, unknown[i]}] = std::move(read[i]);
}

std::optional<WalScanSummary> WalFactsReader::facts(TimelineId timeline, uint64_t segment) {
    const auto found = state_->known.find({timeline, segment});
    if (found != state_->known.end())
        return found->second;
    return state_->known[{timeline, segment}] = state_->read(timeline, segment);
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
