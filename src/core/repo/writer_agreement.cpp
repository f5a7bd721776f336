#include "repo/writer_agreement.h"

#include "base/wal_name.h"
#include "crypto/digest.h"
#include "repo/accepted_wal.h"
#include "repo/tail.h"
#include "repo/tail_piece.h"
#include "repo/wal_object.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <vector>

namespace pgvigil {

namespace {

// The complete segments of the server's timeline in pg_wal, newest first and without a hole, with their digests.
class LocalSegments {
  public:
    explicit LocalSegments(const ClaimInput &input)
        : input_(input), end_(segment_of(input.wal_end, input.segment_size)) {
        first_ = end_;
        while (first_ > 0 && is_there(first_ - 1))
            --first_;
    }

    [[nodiscard]] uint64_t first() const noexcept { return first_; }
    [[nodiscard]] uint64_t end() const noexcept { return end_; } // the one the WAL ends in

    // nullopt when the file has gone: PostgreSQL removes what it has archived.
    const std::optional<Sha256Digest> &digest(uint64_t segment) {
        const auto [at, is_new] = digests_.try_emplace(segment);
        if (is_new)
            at->second = is_there(segment) ? read_digest(segment, 0, input_.segment_size) : std::nullopt;
        return at->second;
    }
    // Of bytes [from, to) of a segment, the one the WAL ends in included.
    [[nodiscard]] std::optional<Sha256Digest> digest(uint64_t segment, uint64_t from, uint64_t to) const {
        return read_digest(segment, from, to);
    }
    // How many bytes of the segment are WAL.
    [[nodiscard]] uint64_t length(uint64_t segment) const noexcept {
        return segment < end_ ? input_.segment_size
                              : input_.wal_end.value - segment_start(end_, input_.segment_size).value;
    }

  private:
    [[nodiscard]] std::string path(uint64_t segment) const {
        return input_.data_directory + "/pg_wal/" + segment_name(input_.timeline, segment, input_.segment_size);
    }
    [[nodiscard]] bool is_there(uint64_t segment) const {
        std::error_code failed;
        return std::filesystem::file_size(path(segment), failed) == input_.segment_size && !failed;
    }
    [[nodiscard]] std::optional<Sha256Digest> read_digest(uint64_t segment, uint64_t from, uint64_t to) const {
        std::ifstream file(path(segment), std::ios::binary);
        file.seekg(static_cast<std::streamoff>(from));
        Bytes buffer(kMiB);
        Sha256 sha;
        while (from < to && file) {
            const uint64_t wanted = std::min<uint64_t>(buffer.size(), to - from);
            file.read(reinterpret_cast<char *>(buffer.data()), static_cast<std::streamsize>(wanted));
            const auto count = static_cast<size_t>(file.gcount());
            sha.update(ByteView(buffer).first(count));
            from += count;
        }
        if (from < to)
            return std::nullopt;
        return sha.finish();
    }

    const ClaimInput &input_;
    const uint64_t end_;
    uint64_t first_ = 0;
    std::map<uint64_t, std::optional<Sha256Digest>> digests_;
};

// What a repository says of the server's history; segments are looked at from the newest one down.
struct Evidence {
    std::optional<Lsn> proven;       // up to there both are the same
    bool certain = false;            // whatever lies before pg_wal
    std::optional<uint64_t> differs; // the first segment behind that is another there; nullopt: none is known
    bool has_wal_before = false;     // before everything that is in pg_wal

    void found_same(Lsn end) { proven = proven.value_or(end); }
    void found_different(uint64_t segment) {
        differs = segment;
        proven.reset();
    }
};

// Compares one repository with pg_wal.
class Comparison {
  public:
    Comparison(const OpenedRepository &opened, const ClaimInput &input, LocalSegments &local, const CancelToken &cancel)
        : epochs_(opened.epochs), input_(input), local_(local), cancel_(cancel),
          repository_(opened.handle(input.system_identifier)) {}

    // nullopt when the repository has neither WAL nor a tail of the timeline.
    [[nodiscard]] std::optional<Evidence> run() {
        has_stored_ = has_stored_before(UINT64_MAX);
        tail_ = list_tail(*repository_, input_.timeline, input_.segment_size, 0, cancel_);
        if (tail_.segment_size != input_.segment_size)
            tail_ = {};
        if (!has_stored_ && tail_.segments.empty())
            return std::nullopt;
        Evidence evidence;
        for (uint64_t segment = local_.end() + 1; segment-- > local_.first() && !evidence.certain;)
            evidence.certain = compare(segment, evidence);
        evidence.has_wal_before = has_stored_before(local_.first()) ||
                                  (!tail_.segments.empty() && tail_.segments.begin()->first < local_.first());
        return evidence;
    }

  private:
    // Returns whether it is certain that everything before is the same as well. The same bytes alone are no proof of
    // that: what follows a switch of segments at the same place may be the same on two servers whose histories differ.
    // The end of a transaction is one: it tells its time, in microseconds.
    bool compare(uint64_t segment, Evidence &evidence) {
        const uint64_t size = input_.segment_size;
        if (const auto stored = accepted(segment)) {
            if (segment == local_.end() || stored->header.digest_id == 0)
                return false; // nothing to compare
            const std::optional<Sha256Digest> &own = local_.digest(segment);
            if (!own)
                return false;
            if (stored->header.plain_length != size || *own != stored->header.digest) {
                evidence.found_different(segment);
                return false;
            }
            evidence.found_same(segment_start(segment + 1, size));
            return ends_transaction(decode_wal_facts(stored->header.extension, stored->key).scan);
        }
        if (!tail_.segments.contains(segment))
            return false;
        const TailContext context{epochs_, [this](uint64_t other) { return is_stored(other); }};
        const auto cover = tail_cover(tail_, context, segment);
        if (!cover || cover->pieces.empty())
            return false;
        bool same = cover->known_end <= local_.length(segment); // more than this server has proves nothing
        bool certain = false;
        for (const TailPiece &piece : cover->pieces) {
            if (piece.to > local_.length(segment))
                break;
            const std::string key = tail_piece_key(repository_->layout(), input_.timeline, size, piece);
            const auto parsed = read_header(repository_->store(), key, cancel_);
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
        evidence.found_same(segment_start(cover->end == size ? segment + 1 : segment, size));
        return certain;
    }
    [[nodiscard]] static bool ends_transaction(const WalScanSummary &scan) noexcept {
        return scan.first_time_us.has_value();
    }

    [[nodiscard]] std::optional<AcceptedSegment> accepted(uint64_t segment) const {
        return accepted_segment(*repository_, epochs_, input_.timeline, segment, input_.segment_size, cancel_);
    }
    [[nodiscard]] bool has_stored_before(uint64_t segment) const {
        return has_wal_before(*repository_, input_.timeline, segment, input_.segment_size, cancel_);
    }
    // Or has expired.
    [[nodiscard]] bool is_stored(uint64_t segment) const {
        return accepted(segment) || (has_stored_ && !has_stored_before(segment + 1));
    }

    const std::vector<EpochDocument> &epochs_;
    const ClaimInput &input_;
    LocalSegments &local_;
    const CancelToken &cancel_;
    const std::shared_ptr<Repository> repository_;
    TimelineTail tail_;
    bool has_stored_ = false;
};

} // namespace

namespace {

// Whether the histories may differ before everything that is in pg_wal: an epoch began there that this server has not
// held, nor the one it is a copy of.
bool may_differ_before(const OpenedRepositories &repositories, const ClaimInput &input, uint64_t held_epoch,
                       Lsn first) {
    return std::any_of(repositories.opened.begin(), repositories.opened.end(), [&](const OpenedRepository &opened) {
        return std::any_of(opened.epochs.begin(), opened.epochs.end(), [&](const EpochDocument &epoch) {
            return epoch.number > held_epoch && epoch.timeline == input.timeline && epoch.lsn < first;
        });
    });
}

} // namespace

std::optional<Agreement> find_agreement(const ClaimInput &input, const OpenedRepositories &repositories,
                                        uint64_t held_epoch, const CancelToken &cancel) {
    LocalSegments local(input);
    std::vector<Evidence> all;
    for (const OpenedRepository &opened : repositories.opened)
        if (opened.document)
            if (const auto evidence = Comparison(opened, input, local, cancel).run())
                all.push_back(*evidence);
    if (all.empty())
        return std::nullopt;
    const Lsn first = segment_start(local.first(), input.segment_size);
    if (may_differ_before(repositories, input, held_epoch, first))
        for (Evidence &evidence : all)
            if (!evidence.certain)
                evidence.proven.reset();
    // One that only lags says nothing against what another proves.
    std::optional<Lsn> proven;
    for (const Evidence &evidence : all)
        if (evidence.proven)
            proven = std::max(proven.value_or(*evidence.proven), *evidence.proven);
    if (!proven)
        return Agreement{first,
                         std::any_of(all.begin(), all.end(), [](const Evidence &one) { return one.has_wal_before; })};
    // The same epoch holds in all of them: what one holds differently every one gets once more.
    Lsn start = *proven;
    for (const Evidence &evidence : all)
        if (evidence.differs)
            start = std::min(start, segment_start(*evidence.differs, input.segment_size));
    return Agreement{start, false};
}

} // namespace pgvigil
