#include "repo/wal_comparison.h"

#include "base/wal_name.h"
#include "repo/accepted_wal.h"
#include "repo/tail.h"
#include "repo/tail_piece.h"
#include "repo/wal_object.h"

#include <algorithm>

namespace pgvigil {

namespace {

bool ends_transaction(const WalScanSummary &scan) noexcept {
    return scan.first_time_us.has_value();
}

class Comparison {
  public:
    Comparison(const Repository &repository, const std::vector<EpochDocument> &epochs, const ClaimInput &input,
               LocalWal &local, const CancelToken &cancel)
        : repository_(repository), epochs_(epochs), input_(input), local_(local), cancel_(cancel) {}

    [[nodiscard]] std::optional<WalEvidence> history() {
        open(0);
        if (!has_stored_ && tail_.segments.empty())
            return std::nullopt;
        WalEvidence evidence;
        for (uint64_t segment = local_.end() + 1; segment-- > local_.first() && !evidence.certain;) {
            const std::optional<bool> stored = compare_stored(segment, evidence);
            evidence.certain = stored ? *stored : compare_pieces(segment, evidence);
        }
        evidence.has_wal_before = has_stored_before(local_.first()) ||
                                  (!tail_.segments.empty() && tail_.segments.begin()->first < local_.first());
        return evidence;
    }

    [[nodiscard]] std::optional<uint64_t> contradiction(uint64_t from) {
        const uint64_t first = std::max(from, local_.first());
        open(first);
        WalEvidence evidence;
        for (uint64_t segment = local_.end() + 1; segment-- > first && !evidence.certain && !evidence.differs;) {
            const std::optional<bool> stored = compare_stored(segment, evidence);
            evidence.certain = stored ? *stored : compare_records(segment, evidence);
        }
        return evidence.differs;
    }

  private:
    void open(uint64_t first) {
        has_stored_ = has_stored_before(UINT64_MAX);
        tail_ = list_tail(repository_, input_.timeline, input_.segment_size, first, cancel_);
        if (tail_.segment_size != input_.segment_size)
            tail_ = {};
    }

    // These return whether it is certain that everything before is the same as well.
    // nullopt: the segment is not stored complete.
    std::optional<bool> compare_stored(uint64_t segment, WalEvidence &evidence) {
        const auto stored = accepted(segment);
        if (!stored)
            return std::nullopt;
        if (segment == local_.end() || stored->header.digest_id == 0)
            return false; // nothing to compare
        const std::optional<Sha256Digest> &own = local_.digest(segment);
        if (!own)
            return false;
        if (stored->header.plain_length != input_.segment_size || *own != stored->header.digest) {
            evidence.found_different(segment);
            return false;
        }
        evidence.found_same(segment_start(segment + 1, input_.segment_size));
        return ends_transaction(decode_wal_facts(stored->header.extension, stored->key).scan);
    }

    // A streamed segment, by whole pieces.
    bool compare_pieces(uint64_t segment, WalEvidence &evidence) {
        const auto cover = cover_of(segment);
        if (!cover)
            return false;
        bool same = cover->known_end <= local_.length(segment); // more than this server has proves nothing
        bool certain = false;
        for (const TailPiece &piece : cover->pieces) {
            if (piece.to > local_.length(segment))
                break;
            const std::string key = key_of(piece);
            const auto parsed = read_header(repository_.store(), key, cancel_);
            const auto own = local_.digest(segment, piece.from, piece.to);
            if (!parsed || parsed->header.digest_id == 0 || !own) {
                same = false; // merged or removed meanwhile
            } else if (parsed->header.plain_length != piece.to - piece.from || parsed->header.digest != *own) {
                evidence.found_different(segment);
                return false;
            } else {
                certain = ends_transaction(decode_tail_facts(parsed->header.extension, key).scan);
            }
        }
        if (!same)
            return false;
        // Of a part the beginning is the same: the segment is archived anew.
        evidence.found_same(
            segment_start(cover->end == input_.segment_size ? segment + 1 : segment, input_.segment_size));
        return certain;
    }

    // A streamed segment, up to the end of its last complete record.
    bool compare_records(uint64_t segment, WalEvidence &evidence) {
        const auto cover = cover_of(segment);
        if (!cover)
            return false;
        const std::string last = key_of(cover->pieces.back());
        const auto header = read_header(repository_.store(), last, cancel_);
        if (!header)
            return false; // merged or removed meanwhile
        const WalScanSummary scan = decode_tail_facts(header->header.extension, last).scan;
        const Lsn start = segment_start(segment, input_.segment_size);
        if (!scan.end_of_records.is_valid() || scan.end_of_records <= start)
            return false;
        const uint64_t records = std::min(scan.end_of_records.value - start.value, local_.length(segment));
        for (const TailPiece &piece : cover->pieces) {
            if (piece.from >= records)
                break;
            const uint64_t to = std::min<uint64_t>(piece.to, records);
            const auto there = digest_of(piece, to);
            const auto own = local_.digest(segment, piece.from, to);
            if (!there || !own)
                return false;
            if (*there != *own) {
                evidence.found_different(segment);
                return false;
            }
        }
        return ends_transaction(scan);
    }

    // Of the piece's bytes before `to`, an offset in the segment. nullopt: merged or removed meanwhile.
    [[nodiscard]] std::optional<Sha256Digest> digest_of(const TailPiece &piece, uint64_t to) const {
        const std::string key = key_of(piece);
        if (to == piece.to) {
            const auto parsed = read_header(repository_.store(), key, cancel_);
            if (!parsed || parsed->header.digest_id == 0)
                return std::nullopt;
            return parsed->header.digest;
        }
        const auto object = repository_.store().get(key, 2 * kWalPartBytes, cancel_);
        if (!object)
            return std::nullopt;
        Bytes plain;
        FrameDecoder decoder;
        decode_tail_piece(*object, piece, plain, decoder, key);
        return sha256(ByteView(plain).first(to - piece.from));
    }

    [[nodiscard]] std::optional<TailCover> cover_of(uint64_t segment) const {
        if (!tail_.segments.contains(segment))
            return std::nullopt;
        const TailContext context{epochs_, [this](uint64_t other) { return is_stored(other); }};
        auto cover = tail_cover(tail_, context, segment);
        return cover && !cover->pieces.empty() ? std::move(cover) : std::nullopt;
    }
    [[nodiscard]] std::string key_of(const TailPiece &piece) const {
        return tail_piece_key(repository_.layout(), input_.timeline, input_.segment_size, piece);
    }
    [[nodiscard]] std::optional<AcceptedSegment> accepted(uint64_t segment) const {
        return accepted_segment(repository_, epochs_, input_.timeline, segment, input_.segment_size, cancel_);
    }
    [[nodiscard]] bool has_stored_before(uint64_t segment) const {
        return has_wal_before(repository_, input_.timeline, segment, input_.segment_size, cancel_);
    }
    // Or has expired.
    [[nodiscard]] bool is_stored(uint64_t segment) const {
        return accepted(segment) || (has_stored_ && !has_stored_before(segment + 1));
    }

    const Repository &repository_;
    const std::vector<EpochDocument> &epochs_;
    const ClaimInput &input_;
    LocalWal &local_;
    const CancelToken &cancel_;
    TimelineTail tail_;
    bool has_stored_ = false;
};

} // namespace

std::optional<WalEvidence> compare_history(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                           const ClaimInput &input, LocalWal &local, const CancelToken &cancel) {
    return Comparison(repository, epochs, input, local, cancel).history();
}

std::optional<uint64_t> find_contradiction(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                           const ClaimInput &input, uint64_t from, const CancelToken &cancel) {
    LocalWal local(input);
    return Comparison(repository, epochs, input, local, cancel).contradiction(from);
}

} // namespace pgvigil
