#include "repo/writer_agreement.h"

#include "base/wal_name.h"
#include "crypto/digest.h"
#include "repo/accepted_wal.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>

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
            at->second = read_digest(segment);
        return at->second;
    }

  private:
    [[nodiscard]] std::string path(uint64_t segment) const {
        return input_.data_directory + "/pg_wal/" + segment_name(input_.timeline, segment, input_.segment_size);
    }
    [[nodiscard]] bool is_there(uint64_t segment) const {
        std::error_code failed;
        return std::filesystem::file_size(path(segment), failed) == input_.segment_size && !failed;
    }
    [[nodiscard]] std::optional<Sha256Digest> read_digest(uint64_t segment) const {
        std::ifstream file(path(segment), std::ios::binary);
        Bytes buffer(kMiB);
        Sha256 sha;
        uint64_t total = 0;
        while (file) {
            file.read(reinterpret_cast<char *>(buffer.data()), static_cast<std::streamsize>(buffer.size()));
            const auto count = static_cast<size_t>(file.gcount());
            sha.update(ByteView(buffer).first(count));
            total += count;
        }
        if (total != input_.segment_size)
            return std::nullopt;
        return sha.finish();
    }

    const ClaimInput &input_;
    const uint64_t end_;
    uint64_t first_ = 0;
    std::map<uint64_t, std::optional<Sha256Digest>> digests_;
};

// nullopt when the repository has no WAL of the timeline.
std::optional<Agreement> agreement_with(const OpenedRepository &opened, const ClaimInput &input, LocalSegments &local,
                                        const CancelToken &cancel) {
    if (!opened.document)
        return std::nullopt;
    const auto repository = opened.handle(input.system_identifier);
    const uint64_t size = input.segment_size;
    if (!has_wal_before(*repository, input.timeline, UINT64_MAX, size, cancel))
        return std::nullopt;
    for (uint64_t segment = local.end(); segment-- > local.first();) {
        const auto stored = accepted_segment(*repository, opened.epochs, input.timeline, segment, size, cancel);
        if (!stored || stored->header.plain_length != size || stored->header.digest_id == 0)
            continue;
        const std::optional<Sha256Digest> &own = local.digest(segment);
        if (own && *own == stored->header.digest)
            return Agreement{segment_start(segment + 1, size), false};
    }
    return Agreement{segment_start(local.first(), size),
                     has_wal_before(*repository, input.timeline, local.first(), size, cancel)};
}

} // namespace

std::optional<Agreement> find_agreement(const ClaimInput &input, const OpenedRepositories &repositories,
                                        const CancelToken &cancel) {
    std::optional<Agreement> all;
    LocalSegments local(input);
    for (const OpenedRepository &opened : repositories.opened) {
        const auto here = agreement_with(opened, input, local, cancel);
        if (!here)
            continue;
        if (!all) {
            all = here;
            continue;
        }
        // The same epoch holds in all of them: what one lacks the others get once more.
        all->start = std::min(all->start, here->start);
        all->breaks = all->breaks || here->breaks;
    }
    return all;
}

} // namespace pgvigil
