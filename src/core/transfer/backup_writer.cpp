#include "transfer/backup_writer.h"

#include "base/error.h"
#include "base/time.h"
#include "repo/envelope.h"
#include "repo/file_table.h"
#include "transfer/backup_commit.h"
#include "transfer/backup_copy.h"
#include "transfer/backup_pack.h"
#include "transfer/backup_table.h"
#include "transfer/backup_upload.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr uint64_t kUploadBytes = 96 * kMiB; // waiting or on their way
constexpr size_t kFilesUnderWay = 32768;
constexpr size_t kMinUploadThreads = 4;
constexpr int kMaxIdAttempts = 100;

} // namespace

struct BackupWriter::State {
    State(std::vector<std::shared_ptr<Repository>> repositories, BackupOptions wanted, BackupProgress &shown,
          LogSink &sink)
        : options(wanted), progress(shown), log(sink),
          uploader(std::move(repositories), std::max<size_t>(wanted.threads, kMinUploadThreads), kUploadBytes,
                   shown.bytes_stored, sink) {}

    bool create_attempt(const AttemptDocument &document, const CancelToken &cancel);
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

    std::optional<BackupObjects> objects;
    std::optional<FileTableWriter> table_writer;
    std::optional<BackupTable> table;
    std::optional<BackupPacker> extra_packer;
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

void BackupWriter::State::open_table() {
    const std::shared_ptr<Repository> any = uploader.live().front();
    objects.emplace(attempt.id, any->layout(), options.compression, options.epoch, writer_id, uploader);
    table_writer.emplace(options.compression, options.epoch, writer_id, [this](const std::string &name, Bytes object) {
        objects->put_table(name, std::move(object), *table_cancel);
    });
    table.emplace(*table_writer, kFilesUnderWay, progress.bad_pages, log);
    extra_packer.emplace(*objects);
}

std::string BackupWriter::begin(AttemptDocument attempt, bool full, const CancelToken &cancel) {
    for (int i = 0; i < kMaxIdAttempts; ++i) {
        attempt.id = make_backup_id(attempt.started_ms + int64_t{i} * 1000, full);
        if (!state_->create_attempt(attempt, cancel))
            continue;
        state_->attempt = std::move(attempt);
        state_->full = full;
        state_->open_table();
        return state_->attempt.id;
    }
    throw Error(ErrorCode::kBusy, "could not find a free backup id")
        .detail(fmt::format("All ids from {} on are taken.", make_backup_id(attempt.started_ms, full)));
}

// What pg_stat_progress_basebackup shows as total; the copy itself takes what it finds then.
void BackupWriter::State::estimate(const BackupSource &source, const CancelToken &cancel) {
    progress.phase = BackupPhase::kEstimating;
    uint64_t files = 0;
    uint64_t bytes = 0;
    BackupScan scan(source, null_log());
    scan.run(
        [&](ScannedFile &&file) {
            files += file.kind == FileKind::kRegular ? 1 : 0;
            bytes += file.size;
        },
        cancel);
    progress.files_total = files;
    progress.bytes_total = bytes;
    progress.tablespaces_total = scan.tablespaces_seen();
}

void BackupWriter::copy(const BackupSource &source, const CancelToken &cancel) {
    State &state = *state_;
    state.estimate(source, cancel);
    state.progress.phase = BackupPhase::kCopying;
    BackupCopy copy(source, state.options, *state.objects, *state.table, state.progress, state.log);
    state.table_cancel = &copy.stop_token();
    copy.run(cancel);
    state.table_cancel = nullptr;
    state.progress.phase = BackupPhase::kFinishing;
}

void BackupWriter::add_file(const std::string &path, ByteView content, uint32_t mode, int64_t mtime_ms,
                            const CancelToken &cancel) {
    FileEntry entry;
    entry.path = path;
    entry.mode = mode;
    entry.size = content.size();
    entry.mtime_ms = mtime_ms;
    BackupPacker &packer = *state_->extra_packer;
    const auto pieces =
        BackupPacker::begin(path, [&entry](std::vector<ExtentRef> &&extents) { entry.extents = std::move(extents); });
    for (size_t offset = 0; offset < content.size(); offset += kMaxExtentBytes) {
        cancel.check();
        packer.add(pieces, offset, content.subspan(offset, std::min(kMaxExtentBytes, content.size() - offset)), cancel);
    }
    BackupPacker::end(pieces);
    packer.close_bundle(cancel);
    state_->table->add_extra(std::move(entry));
}

void BackupWriter::State::finish_table(const CancelToken &cancel) {
    table_cancel = &cancel;
    extra_packer->flush(cancel);
    table->finish();
    table_writer->finish();
    uploader.drain(cancel);
}

std::vector<std::string> BackupWriter::commit(CommitDocument document, const CancelToken &cancel) {
    State &state = *state_;
    state.progress.phase = BackupPhase::kCommitting;
    state.finish_table(cancel);

    document.id = state.attempt.id;
    document.full = state.full;
    document.parents = state.attempt.parents;
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
    const BackupTableTotals &totals = state.table->totals();
    document.totals.files = totals.files;
    document.totals.logical_bytes = totals.logical_bytes;
    document.totals.new_bytes = totals.new_bytes;
    document.totals.stored_bytes = state.objects->stored_bytes();
    document.totals.extents = totals.extents;

    const Bytes body = encode_document(encode(document), state.options.epoch, state.writer_id);
    std::vector<std::string> committed = commit_everywhere(state.uploader, document, body, cancel);
    state.progress.phase = BackupPhase::kDone;
    return committed;
}

const std::vector<PageDamage> &BackupWriter::damage() const noexcept {
    return state_->table->damage();
}

} // namespace pgvigil
