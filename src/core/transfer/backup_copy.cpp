#include "transfer/backup_copy.h"

#include "base/error.h"
#include "base/signal_mask.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <thread>

namespace pgvigil {

namespace {

// A larger file is cut into parts that several threads read at the same time.
constexpr uint64_t kPartBytes = 16 * kMiB;
// Smaller files go to a thread together.
constexpr uint64_t kBatchBytes = 4 * kMiB;
constexpr size_t kBatchFiles = 128;
constexpr size_t kMaxUnits = 64;
constexpr std::chrono::milliseconds kCancelPoll{50};
// How long a thread without work keeps small extents back, in the hope of more to bundle them with.
constexpr std::chrono::milliseconds kBundleWait{20};

} // namespace

// What each thread that reads owns.
struct BackupCopy::Worker {
    Worker(const BackupSource &source, const Target &target) : reader(source), packer(target.objects) {
        if (target.hash_key)
            hasher.emplace(target.hash_key->key);
    }
    BackupReader reader;
    BackupPacker packer;
    std::optional<BlockHasher> hasher;
    std::vector<BlockHash> hashes; // of what was read last
    // Of the part that is being copied.
    BackupPacker::Pieces pieces;
    std::shared_ptr<FilePart> part;
};

BackupCopy::BackupCopy(const BackupSource &source, const BackupOptions &options, const Target &target,
                       BackupProgress &progress, LogSink &log)
    : source_(source), options_(options), target_(target), table_(target.table), progress_(progress),
      scan_(source, log), throttle_(options.max_rate) {
    if (target.parents != nullptr)
        delta_.emplace(source, *target.parents, target.hash_key ? target.hash_key->repository : Uuid{}, stop_);
}

template <class Body> void BackupCopy::guarded(Body &&body) noexcept {
    try {
        body();
    } catch (...) {
        fail(std::current_exception());
    }
    {
        const std::lock_guard lock(mutex_);
        --running_;
    }
    changed_.notify_all();
}

void BackupCopy::fail(std::exception_ptr failure) noexcept {
    {
        const std::lock_guard lock(mutex_);
        if (failure_ == nullptr)
            failure_ = std::move(failure);
    }
    stop_.cancel();
    changed_.notify_all();
}

void BackupCopy::run(const CancelToken &cancel) {
    root_ = open_at(AT_FDCWD, source_.data_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!root_)
        throw system_error(fmt::format("could not open directory \"{}\"", source_.data_directory), errno);
    std::vector<std::thread> threads;
    const unsigned workers = std::max(1U, options_.threads);
    {
        const SignalsBlocked blocked;
        running_ = workers + 1;
        try {
            threads.emplace_back([this] { guarded([this] { scan_all(); }); });
            for (unsigned i = 0; i < workers; ++i)
                threads.emplace_back([this] { guarded([this] { work(); }); });
        } catch (const std::system_error &error) {
            fail(std::make_exception_ptr(
                Error(ErrorCode::kOutOfMemory, fmt::format("could not start a thread: {}", error.what())).retryable()));
            const std::lock_guard lock(mutex_);
            running_ -= workers + 1 - threads.size();
        }
    }
    wait_for_end(cancel);
    for (std::thread &thread : threads)
        thread.join();
    if (failure_ != nullptr)
        std::rethrow_exception(failure_);
    cancel.check();
}

void BackupCopy::wait_for_end(const CancelToken &cancel) {
    std::unique_lock lock(mutex_);
    while (running_ > 0) {
        changed_.wait_for(lock, kCancelPoll);
        if (cancel.is_cancelled() && failure_ == nullptr) {
            failure_ = std::make_exception_ptr(Error(ErrorCode::kCancelled, "the backup was cancelled"));
            stop_.cancel();
            changed_.notify_all();
        }
    }
}

void BackupCopy::scan_all() {
    scan_.run([this](ScannedFile &&scanned) { take_scanned(std::move(scanned)); }, stop_);
    flush_batch();
    progress_.tablespaces_done = scan_.tablespaces_seen();
    {
        const std::lock_guard lock(mutex_);
        scanned_ = true;
    }
    changed_.notify_all();
}

void BackupCopy::take_scanned(ScannedFile &&scanned) {
    if (!table_.has_room()) {
        // The files of an unfinished batch are in the table already: it would wait for them for ever.
        flush_batch();
        table_.wait_for_room(stop_);
    }
    auto file = std::make_shared<BackupFile>();
    file->entry.path = std::move(scanned.path);
    file->entry.kind = scanned.kind;
    file->entry.mode = scanned.mode;
    file->entry.size = scanned.size;
    file->entry.mtime_ms = scanned.mtime_ms;
    if (scanned.kind == FileKind::kDirectory) {
        table_.begin(file, 0);
        return;
    }
    file->input.path = file->entry.path;
    file->input.size = scanned.size;
    if (source_.page_checksums)
        file->input.first_block =
            first_checksummed_block(file->entry.path, source_.server_major_version, source_.relation_segment_blocks);
    if (delta_)
        delta_->plan(*file);
    const std::vector<ReadRange> ranges = file->changed.value_or(std::vector<ReadRange>{{0, scanned.size}});
    uint64_t bytes = 0;
    for (const ReadRange &range : ranges)
        bytes += range.length;
    if (file->changed && bytes == 0) {
        // Inherited as it is: not even opened.
        table_.begin(file, 0);
        ++progress_.files_done;
        return;
    }
    if (bytes <= kBatchBytes) {
        table_.begin(file, 1);
        batch_bytes_ += bytes;
        batch_.files.push_back(std::move(file));
        if (batch_bytes_ >= kBatchBytes || batch_.files.size() >= kBatchFiles)
            flush_batch();
        return;
    }
    // Before the parts, so that what lies together in the directory lies together in the packs.
    flush_batch();
    enqueue_parts(file, ranges);
}

void BackupCopy::enqueue_parts(const BackupFilePtr &file, const std::vector<ReadRange> &ranges) {
    std::vector<std::vector<ReadRange>> parts(1);
    uint64_t bytes = 0;
    for (ReadRange range : ranges)
        while (range.length > 0) {
            if (bytes == kPartBytes) {
                parts.emplace_back();
                bytes = 0;
            }
            const uint64_t length = std::min(range.length, kPartBytes - bytes);
            parts.back().push_back({range.offset, length});
            bytes += length;
            range.offset += length;
            range.length -= length;
        }
    table_.begin(file, static_cast<unsigned>(parts.size()));
    for (std::vector<ReadRange> &part : parts)
        enqueue({{file}, std::move(part)});
}

void BackupCopy::flush_batch() {
    batch_bytes_ = 0;
    if (!batch_.files.empty())
        enqueue(std::exchange(batch_, Unit()));
}

void BackupCopy::enqueue(Unit unit) {
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return units_.size() < kMaxUnits || stop_.is_cancelled(); });
        stop_.check();
        units_.push_back(std::move(unit));
    }
    changed_.notify_all();
}

void BackupCopy::work() {
    Worker worker(source_, target_);
    BackupPacker &packer = worker.packer;
    for (;;) {
        Unit unit;
        {
            std::unique_lock lock(mutex_);
            const auto ready = [&] { return !units_.empty() || scanned_ || stop_.is_cancelled(); };
            if (packer.bundling() && !changed_.wait_for(lock, kBundleWait, ready)) {
                // The scan may be waiting for room in the table, which the files in the bundle take.
                lock.unlock();
                packer.close_bundle(stop_);
                continue;
            }
            changed_.wait(lock, ready);
            stop_.check();
            if (units_.empty())
                break;
            unit = std::move(units_.front());
            units_.pop_front();
        }
        changed_.notify_all();
        copy_unit(unit, worker);
    }
    packer.flush(stop_);
}

void BackupCopy::copy_unit(const Unit &unit, Worker &worker) {
    for (const BackupFilePtr &file : unit.files) {
        stop_.check();
        const bool is_part = !unit.part.empty();
        if (!open(*file, is_part || file->changed))
            finish_piece(file);
        else if (is_part)
            copy_ranges(file, unit.part, false, worker);
        else
            copy_ranges(file, file->changed.value_or(std::vector<ReadRange>{{0, file->input.size}}), true, worker);
    }
}

void BackupCopy::finish_piece(const BackupFilePtr &file) {
    if (table_.done(file))
        ++progress_.files_done;
}

// False when the file is gone: it was dropped, and replay knows.
bool BackupCopy::open(BackupFile &file, bool at_scanned_size) {
    const std::lock_guard lock(file.input.mutex);
    if (!file.opened) {
        file.opened = true;
        file.input.handle = open_at(root_.get(), file.entry.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (!file.input.handle) {
            // ELOOP: it became a symbolic link since the scan.
            if (errno != ENOENT && errno != ELOOP)
                throw system_error(fmt::format("could not open \"{}\"", file.entry.path), errno);
            file.vanished = true;
            return false;
        }
        const struct stat status = stat_of(file.input.handle, file.entry.path);
        file.vanished = !S_ISREG(status.st_mode);
        // A small file may have been replaced by another one since the scan, as configuration files are.
        if (!at_scanned_size) {
            file.input.size = static_cast<uint64_t>(status.st_size);
            file.entry.size = file.input.size;
            file.entry.mtime_ms = modified_ms(status);
            if (delta_)
                delta_->inherit(file);
        }
        posix_fadvise(file.input.handle.get(), 0, 0, file.changed ? POSIX_FADV_RANDOM : POSIX_FADV_SEQUENTIAL);
    }
    return !file.vanished;
}

void BackupCopy::copy_ranges(const BackupFilePtr &file, const std::vector<ReadRange> &ranges, bool close,
                             Worker &worker) {
    worker.part = std::make_shared<FilePart>();
    worker.pieces =
        BackupPacker::begin(file->entry.path, [this, file, part = worker.part](std::vector<ExtentRef> &&extents) {
            part->extents = std::move(extents);
            {
                const std::lock_guard lock(file->input.mutex);
                file->parts.push_back(std::move(*part));
            }
            finish_piece(file);
        });
    // Scattered blocks: the kernel may fetch them all while the first are waited for.
    if (file->changed)
        for (const ReadRange &range : ranges)
            posix_fadvise(file->input.handle.get(), static_cast<off_t>(range.offset), static_cast<off_t>(range.length),
                          POSIX_FADV_WILLNEED);
    for (const ReadRange &range : ranges) {
        const uint64_t end = range.offset + range.length;
        bool ended = false;
        for (uint64_t offset = range.offset; offset < end && !ended;) {
            stop_.check();
            const auto piece = static_cast<size_t>(std::min<uint64_t>(kMaxExtentBytes, end - offset));
            throttle_.take(piece, stop_);
            size_t read_bytes = 0;
            const ByteView plain = worker.reader.read(file->input, offset, piece, read_bytes);
            progress_.bytes_done += read_bytes;
            store(file, offset, plain, worker);
            offset += piece;
            // The rest reads as zeroes, which need no extents where nothing can shine through.
            ended = read_bytes < piece && file->entry.inherit_below == 0;
        }
    }
    // A bundle may hold a thousand files.
    if (close)
        file->input.handle = FileHandle();
    BackupPacker::end(worker.pieces);
}

void BackupCopy::store(const BackupFilePtr &file, uint64_t offset, ByteView plain, Worker &worker) {
    const size_t block_size = source_.block_size;
    const bool inherits = offset < uint64_t{file->entry.inherit_below} * block_size;
    worker.hashes.clear();
    if (!inherits && all_zeroes(plain))
        return;
    if (worker.hasher)
        worker.hasher->append(worker.hashes, plain, block_size);
    if (file->known == nullptr || !worker.hasher) {
        store_extent(offset, plain, worker.hashes, worker);
        return;
    }
    const std::span<const BlockHash> hashes(worker.hashes);
    for (const BlockRun &run : delta_->differing(*file, offset, plain, hashes)) {
        const size_t at = run.first * block_size;
        const size_t length = std::min(run.count * block_size, plain.size() - at);
        store_extent(offset + at, plain.subspan(at, length), hashes.subspan(run.first, run.count), worker);
    }
}

void BackupCopy::store_extent(uint64_t offset, ByteView plain, std::span<const BlockHash> hashes, Worker &worker) {
    const size_t block_size = source_.block_size;
    progress_.blocks_changed += (plain.size() + block_size - 1) / block_size;
    worker.part->hashes.insert(worker.part->hashes.end(), hashes.begin(), hashes.end());
    const BlockHash digest = hashes.empty() ? BlockHash{} : combined_hash(hashes);
    if (!hashes.empty() && !target_.adopted.empty())
        if (auto found = target_.adopted.find(digest, static_cast<uint32_t>(plain.size()))) {
            found->extent.offset = offset;
            found->extent.pack = target_.objects.adopt_pack(target_.adopted.pack(found->pack));
            BackupPacker::add_stored(worker.pieces, found->extent);
            progress_.bytes_reused += plain.size();
            return;
        }
    worker.packer.add(worker.pieces, offset, plain, digest, stop_);
}

} // namespace pgvigil
