#include "transfer/verify.h"

#include "base/error.h"
#include "base/parallel.h"
#include "base/wal_name.h"
#include "codec/frame.h"
#include "crypto/digest.h"
#include "repo/catalog.h"
#include "repo/file_table.h"
#include "repo/tombstones.h"
#include "storage/throttled_store.h"
#include "transfer/wal_read.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <map>
#include <mutex>
#include <optional>
#include <set>

namespace pgvigil {

namespace {

constexpr size_t kMaxProblems = 1000;
constexpr uint64_t kMaxCommitBytes = 64 * kMiB;

// What keeps from looking at anything; everything else says something about the object.
bool ends_verification(const Error &error) noexcept {
    switch (error.code()) {
    case ErrorCode::kCorrupt:
    case ErrorCode::kNotFound:
    case ErrorCode::kUnsupported:
    case ErrorCode::kForeign:
    case ErrorCode::kConflict:
        return false;
    default:
        return true;
    }
}

std::string words(const Error &error) {
    return error.detail().empty() ? error.message() : error.message() + ": " + error.detail();
}

// Stands for a frame in 8 bytes: where it is, how long, and what it holds.
uint64_t fingerprint(uint32_t pack, const PackPlace &place, uint32_t plain_length, const ContentHash &hash) noexcept {
    uint64_t value = 0;
    std::memcpy(&value, hash.data(), sizeof value);
    for (const uint64_t part : {uint64_t{pack} << 32 | place.offset, uint64_t{place.length} << 32 | plain_length}) {
        value ^= part;
        value *= 0x9e3779b97f4a7c15U;
        value ^= value >> 29;
    }
    return value;
}

// Drops what it is given, and counts.
class CountingSink final : public WalSink {
  public:
    void begin(uint64_t) override { bytes_ = 0; }
    void write(ByteView plain) override { bytes_ += plain.size(); }
    [[nodiscard]] uint64_t bytes() const noexcept { return bytes_; }

  private:
    uint64_t bytes_ = 0;
};

class BackupVerifier {
  public:
    BackupVerifier(const std::shared_ptr<Repository> &repository, const std::string &backup,
                   const VerifyOptions &options, VerifyProgress &progress, LogSink &log, const CancelToken &cancel)
        : repository_(repository), layout_(repository->layout()), threads_(std::max(options.threads, 1U)),
          limiter_(options.max_rate), progress_(progress), log_(log), cancel_(cancel) {
        verdict_.repository = repository->url();
        verdict_.backup_id = backup;
    }

    VerifyVerdict run() {
        const std::string key = layout_.commit(verdict_.backup_id);
        guarded(key, [&] {
            commit_ = load_commit(*repository_, verdict_.backup_id, cancel_);
            if (!commit_)
                throw Error(ErrorCode::kNotFound, "the commit document is missing");
            ++verdict_.objects;
        });
        if (!commit_)
            return verdict_;
        check_parents();
        check_packs();
        check_table();
        check_hashes();
        check_wal();
        return verdict_;
    }

    VerifyVerdict run_beside_expiry() {
        VerifyVerdict verdict = run();
        if (verdict.problems.empty() || !has_tombstone(*repository_, verdict.backup_id, cancel_))
            return verdict;
        // One that others are built on stays, and matters, although it is to go.
        const std::vector<CommitDocument> offered = load_catalog(*repository_, cancel_).backups;
        verdict.expired = std::none_of(offered.begin(), offered.end(),
                                       [&](const CommitDocument &commit) { return commit.id == verdict.backup_id; });
        if (verdict.expired) {
            verdict.problems.clear();
            verdict.more_problems = 0;
        }
        return verdict;
    }

  private:
    void add(const std::string &object, const std::string &problem) {
        const std::lock_guard lock(mutex_);
        if (verdict_.problems.size() < kMaxProblems)
            verdict_.problems.push_back({object, problem});
        else
            ++verdict_.more_problems;
    }

    template <class Body> void guarded(const std::string &object, Body &&body) {
        try {
            body();
        } catch (const Error &error) {
            if (ends_verification(error))
                throw;
            add(object, words(error));
        }
    }

    void count(uint64_t bytes) {
        progress_.bytes += bytes;
        const std::lock_guard lock(mutex_);
        ++verdict_.objects;
        verdict_.bytes += bytes;
    }

    // A whole object, checked against what the commit says of it.
    Bytes fetch(const std::string &key, const StoredObject &expected) {
        limiter_.acquire(expected.size, cancel_);
        auto bytes = repository_->store().get(key, expected.size + 1, cancel_);
        if (!bytes)
            throw Error(ErrorCode::kNotFound, "the object is missing");
        count(bytes->size());
        if (bytes->size() != expected.size)
            throw Error(ErrorCode::kCorrupt,
                        fmt::format("it has {} bytes, the commit document says {}", bytes->size(), expected.size));
        if (sha256(*bytes) != expected.sha256)
            throw Error(ErrorCode::kCorrupt, "its SHA-256 is not the one in the commit document");
        return std::move(*bytes);
    }

    void check_parents() {
        for (const std::string &parent : commit_->parents) {
            const std::string key = layout_.commit(parent);
            guarded(key, [&] {
                const auto bytes = repository_->store().get(key, kMaxCommitBytes, cancel_);
                if (!bytes)
                    throw Error(ErrorCode::kNotFound, "the commit document of a parent is missing");
                const auto expected = commit_->parent_commit_digests.find(parent);
                if (expected == commit_->parent_commit_digests.end() || expected->second != to_hex(sha256(*bytes)))
                    throw Error(ErrorCode::kCorrupt, "it is not the parent that the backup was built on");
            });
        }
    }

    void check_pack(const StoredObject &pack) {
        const std::string key = pack_key(layout_, commit_->id, pack);
        bool good = false;
        guarded(key, [&] {
            const Bytes bytes = fetch(key, pack);
            FrameDecoder decoder;
            Bytes plain(kMaxExtentBytes);
            std::vector<uint64_t> found;
            std::optional<uint32_t> last;
            for (const PackedExtent &extent : read_pack_footer(bytes, key)) {
                cancel_.check();
                // Extents of a bundle share their frame.
                if (last == extent.place.offset)
                    continue;
                last = extent.place.offset;
                check_frame(bytes, extent, decoder, plain, key);
                found.push_back(fingerprint(pack.number, extent.place, extent.frame_length, extent.hash));
            }
            const std::lock_guard lock(mutex_);
            frames_.insert(frames_.end(), found.begin(), found.end());
            good = true;
        });
        const std::lock_guard lock(mutex_);
        if (!good)
            damaged_packs_.insert(pack.number);
    }

    static void check_frame(ByteView pack, const PackedExtent &extent, FrameDecoder &decoder, Bytes &plain,
                            const std::string &key) {
        if (extent.place.length > pack.size() || extent.place.offset > pack.size() - extent.place.length)
            throw Error(ErrorCode::kCorrupt,
                        fmt::format("the extent at {} lies outside of the pack", extent.place.offset));
        const ByteView frame = pack.subspan(extent.place.offset, extent.place.length);
        const FrameHeader header = FrameDecoder::parse_header(frame, key);
        if (header.type != FrameType::kData || header.plain_length != extent.frame_length ||
            header.plain_length > plain.size() || header.hash != extent.hash)
            throw Error(ErrorCode::kCorrupt,
                        fmt::format("the frame at {} is not the one that the footer lists", extent.place.offset));
        decoder.decode(frame, std::span<std::byte>(plain.data(), header.plain_length), key);
    }

    void check_packs() {
        parallel_for(commit_->packs.size(), threads_, [&](size_t i) {
            cancel_.check();
            check_pack(commit_->packs[i]);
        });
        std::sort(frames_.begin(), frames_.end());
    }

    void check_table() {
        const size_t before = verdict_.problems.size();
        for (const StoredObject &part : commit_->table) {
            const std::string key = layout_.files_prefix(commit_->id) + part.name;
            guarded(key, [&] { (void)fetch(key, part); });
        }
        // What a damaged table says means nothing.
        if (verdict_.problems.size() != before)
            return;
        FileTableReader reader([&](const std::string &name, std::optional<ByteRange> range) {
            const std::string key = layout_.files_prefix(commit_->id) + name;
            auto bytes = range ? repository_->store().get_range(key, *range, cancel_)
                               : repository_->store().get(key, kMaxTablePartBytes, cancel_);
            if (!bytes)
                throw Error(ErrorCode::kNotFound, fmt::format("\"{}\" is missing", key));
            return std::move(*bytes);
        });
        std::map<uint32_t, bool> packs; // number → a problem of it was told
        for (const StoredObject &pack : commit_->packs)
            packs[pack.number] = damaged_packs_.contains(pack.number);
        guarded(layout_.table_index(commit_->id), [&] {
            reader.for_each([&](FileEntry &&entry) {
                cancel_.check();
                if (entry.path.starts_with("pg_wal/"))
                    own_wal_.insert(entry.path.substr(7));
                for (const ExtentRef &extent : entry.extents)
                    check_reference(entry.path, extent, packs);
            });
        });
    }

    void check_reference(const std::string &path, const ExtentRef &extent, std::map<uint32_t, bool> &packs) {
        const auto pack = packs.find(extent.pack);
        if (pack == packs.end()) {
            packs[extent.pack] = true;
            add(layout_.table_index(commit_->id),
                fmt::format("\"{}\" refers to pack {}, which the commit document does not list", path, extent.pack));
            return;
        }
        const bool there = std::binary_search(frames_.begin(), frames_.end(),
                                              fingerprint(extent.pack, extent.place, extent.frame_length, extent.hash));
        // One line for a pack: when it is damaged, everything in it is.
        if (there || pack->second)
            return;
        pack->second = true;
        add(layout_.table_index(commit_->id),
            fmt::format("the extent at {} of \"{}\" is not in pack {} where the table says", extent.offset, path,
                        extent.pack));
    }

    void check_hashes() {
        for (const StoredObject &object : commit_->hashes) {
            const std::string key = layout_.files_prefix(commit_->id) + object.name;
            guarded(key, [&] { (void)fetch(key, object); });
        }
    }

    void check_wal_file(WalReader &reader, const std::string &name) {
        guarded(layout_.wal_file(name), [&] {
            limiter_.acquire(commit_->wal_segment_size, cancel_);
            CountingSink sink;
            if (!reader.read(name, sink, cancel_))
                throw Error(ErrorCode::kNotFound, "the WAL that makes the backup consistent is missing");
            count(sink.bytes());
        });
    }

    void check_wal() {
        const uint64_t size = commit_->wal_segment_size;
        if (!is_valid_segment_size(size)) {
            add(layout_.commit(commit_->id), "it states an impossible size of WAL segments");
            return;
        }
        WalReader reader({repository_}, commit_->system_identifier, log_);
        for (const WalRange &range : commit_->wal_ranges) {
            if (range.start.value == 0 || range.end <= range.start) {
                add(layout_.commit(commit_->id), "it states an impossible range of WAL");
                continue;
            }
            for (uint64_t segment = segment_of(range.start, size); segment <= segment_before(range.end, size);
                 ++segment) {
                const std::string name = segment_name(range.timeline, segment, size);
                // A backup from a standby may have brought it (rules E6).
                if (!own_wal_.contains(name))
                    check_wal_file(reader, name);
            }
            if (const std::string history = range.timeline > 1 ? history_name(range.timeline) : "";
                !history.empty() && !own_wal_.contains(history))
                check_wal_file(reader, history);
        }
    }

    const std::shared_ptr<Repository> repository_;
    const ClusterLayout &layout_;
    const size_t threads_;
    RateLimiter limiter_;
    VerifyProgress &progress_;
    LogSink &log_;
    const CancelToken &cancel_;
    std::optional<CommitDocument> commit_;
    std::mutex mutex_; // of the three that follow, while packs are read
    VerifyVerdict verdict_;
    std::set<uint32_t> damaged_packs_;
    std::vector<uint64_t> frames_; // fingerprints
    std::set<std::string> own_wal_;
};

} // namespace

std::vector<std::string> backups_to_verify(const Repository &repository, const std::string &backup,
                                           const CancelToken &cancel) {
    std::vector<std::string> ids;
    if (!backup.empty()) {
        const auto commit = is_backup_id(backup) ? load_commit(repository, backup, cancel) : std::nullopt;
        if (!commit)
            throw Error(ErrorCode::kNotFound, fmt::format("there is no backup \"{}\"", backup))
                .detail(fmt::format("Repository \"{}\" does not have it.", repository.url()));
        ids = commit->parents;
        ids.insert(ids.begin(), backup);
        return ids;
    }
    const Catalog catalog = load_catalog(repository, cancel);
    for (const CommitDocument &commit : catalog.backups)
        ids.push_back(commit.id);
    // One whose commit document cannot be read is a backup that somebody counts on.
    const std::string prefix = repository.layout().commits_prefix();
    for (const UnreadableDocument &document : catalog.unreadable)
        if (document.key.starts_with(prefix) && document.key.size() >= prefix.size() + 16)
            ids.push_back(document.key.substr(prefix.size(), 16));
    std::sort(ids.begin(), ids.end(), std::greater<>());
    return ids;
}

VerifyVerdict verify_backup(const std::shared_ptr<Repository> &repository, const std::string &backup,
                            const VerifyOptions &options, VerifyProgress &progress, LogSink &log,
                            const CancelToken &cancel) {
    return BackupVerifier(repository, backup, options, progress, log, cancel).run_beside_expiry();
}

} // namespace pgvigil
