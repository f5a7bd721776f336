#include "transfer/backup_writer.h"

#include "base/error.h"
#include "base/time.h"
#include "plan/block_plan.h"
#include "repo/block_hashes.h"
#include "repo/envelope.h"
#include "repo/file_table.h"
#include "repo/tombstones.h"
#include "transfer/backup_commit.h"
#include "transfer/backup_copy.h"
#include "transfer/backup_pack.h"
#include "transfer/backup_parents.h"
#include "transfer/backup_renewal.h"
#include "transfer/backup_table.h"
#include "transfer/backup_upload.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace pgvigil {

namespace {

constexpr uint64_t kUploadBytes = 96 * kMiB; // waiting or on their way
constexpr size_t kFilesUnderWay = 32768;
constexpr size_t kMinUploadThreads = 4;
constexpr int kMaxIdAttempts = 100;
constexpr std::string_view kWalDirectory = "pg_wal/";
constexpr uint32_t kDefaultBlockSize = 8192; // bytes

} // namespace

struct BackupWriter::State {
    State(std::vector<std::shared_ptr<Repository>> repositories, BackupOptions wanted, BackupProgress &shown,
          LogSink &sink)
        : options(wanted), progress(shown), log(sink),
          uploader(std::move(repositories), std::max<size_t>(wanted.threads, kMinUploadThreads), kUploadBytes,
                   shown.bytes_stored, sink) {}

    bool is_spent(const std::string &id, const CancelToken &cancel);
    bool create_attempt(const AttemptDocument &document, const CancelToken &cancel);
    void take_hash_key();
    void take_over(const CancelToken &cancel);
    // What only saves work must not end a backup that could do without.
    template <class Body> void or_without(const char *what, Body &&body);
    void open_table();
    void estimate(const BackupSource &source, const CancelToken &cancel);
    void finish_table(const CancelToken &cancel);

    const BackupOptions options;
    BackupProgress &progress;
    LogSink &log;
    BackupUploader uploader;
    AttemptDocument attempt;
    bool full = true;
    const Uuid writer_id = random_uuid();

    std::optional<BackupParents> parents;
    std::optional<BlockHashKey> hash_key;
    AdoptedPacks adopted;
    uint32_t block_size = kDefaultBlockSize; // of the source, once it is known
    std::optional<BackupObjects> objects;
    std::optional<AttemptRenewal> renewal;
    std::optional<FileTableWriter> table_writer;
    std::optional<BlockHashWriter> hash_writer;
    std::optional<BackupTable> table;
    std::optional<BackupPacker> extra_packer;
    std::set<std::string> own_wal; // names of WAL files that were added
    // Of whoever makes the table write at the moment.
    const CancelToken *table_cancel = nullptr;
};

BackupWriter::BackupWriter(std::vector<std::shared_ptr<Repository>> repositories, BackupOptions options,
                           BackupProgress &progress, LogSink &log) {
    if (repositories.empty())
        throw Error(ErrorCode::kInvalidArgument, "no repository to back up to");
    state_ = std::make_unique<State>(std::move(repositories), options, progress, log);
}

BackupWriter::~BackupWriter() = default;

// Whether the id belonged to a backup that expired, or a backup of the other kind began in the same second: by their
// names nobody could tell which is newer.
bool BackupWriter::State::is_spent(const std::string &id, const CancelToken &cancel) {
    std::string twin = id;
    twin.back() = id.back() == 'F' ? 'I' : 'F';
    for (const std::shared_ptr<Repository> &repository : uploader.live()) {
        try {
            if (has_tombstone(*repository, id, cancel) ||
                repository->store().head(repository->layout().attempt(twin), cancel))
                return true;
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            uploader.give_up(*repository, error);
        }
    }
    return false;
}

// False when the id is taken in one of the repositories.
bool BackupWriter::State::create_attempt(const AttemptDocument &document, const CancelToken &cancel) {
    const Bytes body = encode_document(encode(document), options.epoch, writer_id);
    for (const std::shared_ptr<Repository> &repository : uploader.live()) {
        try {
            PutRequest request;
            const std::string key = repository->layout().attempt(document.id);
            request.key = key;
            request.body = body;
            if (repository->store().put_new(request, cancel) == PutOutcome::kAlreadyExists)
                return false;
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            uploader.give_up(*repository, error);
        }
    }
    return true;
}

// The parents' key if a repository that is still there has it: only then their hashes can be compared with.
void BackupWriter::State::take_hash_key() {
    if (!options.block_hashes)
        return;
    const BackupUploader::Repositories live = uploader.live();
    const Repository *chosen = live.front().get();
    for (const std::shared_ptr<Repository> &repository : live)
        if (parents && repository->id() == parents->nearest().hash_repository)
            chosen = repository.get();
    hash_key = BlockHashKey{from_hex(chosen->document().hash_key), chosen->id()};
}

template <class Body> void BackupWriter::State::or_without(const char *what, Body &&body) {
    try {
        body();
    } catch (const Error &error) {
        if (error.code() == ErrorCode::kCancelled)
            throw;
        log.emit(LogLevel::kWarning, fmt::format("could not {}: {}", what, error.message()), error.detail());
    }
}

void BackupWriter::State::take_over(const CancelToken &cancel) {
    if (attempt.continues.empty() || !hash_key)
        return;
    or_without("continue an interrupted backup", [&] { adopted.load(uploader, attempt.continues, log, cancel); });
    if (!adopted.empty())
        log.emit(LogLevel::kInfo, fmt::format("backup {} continues {}", attempt.id, fmt::join(attempt.continues, ", ")),
                 "");
}

void BackupWriter::State::open_table() {
    const std::shared_ptr<Repository> any = uploader.live().front();
    objects.emplace(attempt.id, any->layout(), options.compression, options.epoch, writer_id, uploader);
    table_writer.emplace(options.compression, options.epoch, writer_id, [this](const std::string &name, Bytes object) {
        objects->put_table(name, std::move(object), *table_cancel);
    });
    if (hash_key)
        hash_writer.emplace(options.epoch, writer_id, [this](const std::string &name, Bytes object) {
            objects->put_hashes(name, std::move(object), *table_cancel);
        });
    table.emplace(*table_writer, hash_writer ? &*hash_writer : nullptr, kFilesUnderWay, progress.bad_pages, log);
    extra_packer.emplace(*objects);
    renewal.emplace(
        uploader, attempt.id, options.epoch, writer_id, options.renewal_period, [this] { return objects->own_packs(); },
        log);
}

std::string BackupWriter::begin(AttemptDocument attempt, bool full, const CancelToken &cancel) {
    State &state = *state_;
    if (full != attempt.parents.empty())
        throw Error(ErrorCode::kInvalidArgument, "a full backup has no parents, an incremental one has some");
    if (state.options.continue_attempts && state.options.block_hashes)
        state.or_without("look for interrupted backups", [&] {
            attempt.continues = find_dead_attempts(state.uploader, attempt, state.options.dead_attempts, cancel);
        });
    // Ids ascend along a chain even where the clocks of those who make it differ.
    int64_t id_ms = attempt.started_ms;
    if (!attempt.parents.empty())
        id_ms = std::max(id_ms, backup_id_time_ms(attempt.parents.front()).value_or(0) + 1000);
    for (int i = 0; i < kMaxIdAttempts; ++i) {
        attempt.id = make_backup_id(id_ms + int64_t{i} * 1000, full);
        if (state.is_spent(attempt.id, cancel) || !state.create_attempt(attempt, cancel))
            continue;
        state.attempt = std::move(attempt);
        state.full = full;
        // Only now: who decides to delete looks for attempts after making that known (rules D2).
        if (!full)
            state.parents.emplace(state.uploader, state.attempt.parents, cancel);
        state.take_hash_key();
        state.take_over(cancel);
        state.open_table();
        return state.attempt.id;
    }
    throw Error(ErrorCode::kBusy, "could not find a free backup id")
        .detail(fmt::format("All ids from {} on are taken.", make_backup_id(id_ms, full)));
}

// What pg_stat_progress_basebackup shows as total; the copy itself takes what it finds then.
void BackupWriter::State::estimate(const BackupSource &source, const CancelToken &cancel) {
    progress.phase = BackupPhase::kEstimating;
    uint64_t files = 0;
    uint64_t bytes = 0;
    const bool by_summaries = parents && source.method == ChangeMethod::kSummaries && source.changes != nullptr;
    BackupScan scan(source, null_log());
    scan.run(
        [&](ScannedFile &&file) {
            files += file.kind == FileKind::kRegular ? 1 : 0;
            FileEntry same; // the parent's entry is not known here; it matters little
            same.size = file.size;
            const BlockPlan plan = by_summaries && file.kind == FileKind::kRegular
                                       ? plan_blocks(file.path, file.size, &same, *source.changes, source.block_size,
                                                     source.relation_segment_blocks)
                                       : BlockPlan();
            bytes += plan.whole ? file.size : plan.blocks * source.block_size;
        },
        cancel);
    progress.files_total = files;
    progress.bytes_total = bytes;
    progress.tablespaces_total = scan.tablespaces_seen();
}

void BackupWriter::copy(const BackupSource &source, const CancelToken &cancel) {
    State &state = *state_;
    if (state.parents && state.parents->nearest().block_size != source.block_size)
        throw Error(ErrorCode::kInvalidArgument, "the parents have blocks of another size");
    state.block_size = source.block_size;
    state.estimate(source, cancel);
    state.progress.phase = BackupPhase::kCopying;
    const BackupCopy::Target target{*state.objects, *state.table, state.hash_key,
                                    state.parents ? &*state.parents : nullptr, state.adopted};
    BackupCopy copy(source, state.options, target, state.progress, state.log);
    state.table_cancel = &copy.stop_token();
    copy.run(cancel);
    state.table_cancel = nullptr;
    state.progress.phase = BackupPhase::kFinishing;
    if (!state.adopted.empty())
        state.log.emit(
            LogLevel::kInfo,
            fmt::format("backup {} took over {} of {} bytes", state.attempt.id, state.progress.bytes_reused.load(),
                        state.progress.bytes_done.load()),
            fmt::format("An interrupted backup had stored them: {}.", fmt::join(state.attempt.continues, ", ")));
}

void BackupWriter::add_file(const std::string &path, ByteView content, uint32_t mode, int64_t mtime_ms,
                            const CancelToken &cancel) {
    FileEntry entry;
    entry.path = path;
    entry.mode = mode;
    entry.size = content.size();
    entry.mtime_ms = mtime_ms;
    BackupPacker &packer = *state_->extra_packer;
    std::vector<BlockHash> hashes;
    const auto pieces =
        BackupPacker::begin(path, [&entry](std::vector<ExtentRef> &&extents) { entry.extents = std::move(extents); });
    for (size_t offset = 0; offset < content.size(); offset += kMaxExtentBytes) {
        cancel.check();
        const ByteView plain = content.subspan(offset, std::min(kMaxExtentBytes, content.size() - offset));
        const size_t before = hashes.size();
        if (state_->hash_key)
            BlockHasher(state_->hash_key->key).append(hashes, plain, state_->block_size);
        const std::span<const BlockHash> own = std::span(hashes).subspan(before);
        packer.add(pieces, offset, plain, own.empty() ? BlockHash{} : combined_hash(own), cancel);
    }
    BackupPacker::end(pieces);
    packer.close_bundle(cancel);
    if (path.starts_with(kWalDirectory))
        state_->own_wal.insert(path.substr(kWalDirectory.size()));
    state_->table->add_extra(std::move(entry), std::move(hashes));
}

void BackupWriter::State::finish_table(const CancelToken &cancel) {
    table_cancel = &cancel;
    extra_packer->flush(cancel);
    table->finish();
    table_writer->finish();
    if (hash_writer)
        hash_writer->finish();
    uploader.drain(cancel);
}

std::vector<std::string> BackupWriter::commit(CommitDocument document, const CancelToken &cancel) {
    State &state = *state_;
    state.progress.phase = BackupPhase::kCommitting;
    state.finish_table(cancel);

    document.id = state.attempt.id;
    document.full = state.full;
    document.parents = state.attempt.parents;
    document.epoch = state.options.epoch;
    if (document.host.empty())
        document.host = state.attempt.host;
    if (document.instance == Uuid{})
        document.instance = state.attempt.instance;
    if (document.system_identifier == 0)
        document.system_identifier = state.attempt.system_identifier;
    if (document.started_ms == 0)
        document.started_ms = state.attempt.started_ms;
    if (document.stopped_ms == 0)
        document.stopped_ms = unix_time_ms();
    document.compression = to_string(state.options.compression);
    document.damage = state.table->damage();
    document.packs = state.objects->packs();
    document.table = state.objects->table();
    document.block_hashes = state.hash_key.has_value();
    if (state.hash_key)
        document.hash_repository = state.hash_key->repository;
    document.hashes = state.objects->hashes();
    if (state.parents)
        document.parent_commit_digests = state.parents->digests();
    const BackupTableTotals &totals = state.table->totals();
    document.totals.files = totals.files;
    document.totals.logical_bytes = totals.logical_bytes;
    document.totals.new_bytes = totals.new_bytes;
    document.totals.stored_bytes = state.objects->stored_bytes();
    document.totals.extents = totals.extents;
    document.totals.changed_blocks = state.progress.blocks_changed;
    document.totals.reused_bytes = state.progress.bytes_reused;
    document.totals.objects = document.packs.size() + document.table.size();

    const Bytes body = encode_document(encode(document), state.options.epoch, state.writer_id);
    std::vector<std::string> committed = commit_everywhere(
        state.uploader, document, state.parents ? &*state.parents : nullptr, state.own_wal, body, cancel);
    state.progress.phase = BackupPhase::kDone;
    return committed;
}

const std::vector<PageDamage> &BackupWriter::damage() const noexcept {
    return state_->table->damage();
}

} // namespace pgvigil
