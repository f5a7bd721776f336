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

BackupCopy::BackupCopy(const BackupSource &source, const BackupOptions &options, BackupObjects &objects,
                       BackupTable &table, BackupProgress &progress, LogSink &log)
    : source_(source), options_(options), objects_(objects), table_(table), progress_(progress), scan_(source, log),
      throttle_(options.max_rate) {}

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
    if (scanned.size <= kBatchBytes) {
        table_.begin(file, 1);
        batch_bytes_ += scanned.size;
        batch_.files.push_back(std::move(file));
        if (batch_bytes_ >= kBatchBytes || batch_.files.size() >= kBatchFiles)
            flush_batch();
        return;
    }
    // Before the parts, so that what lies together in the directory lies together in the packs.
    flush_batch();
    const uint64_t parts = (scanned.size + kPartBytes - 1) / kPartBytes;
    table_.begin(file, static_cast<unsigned>(parts));
    for (uint64_t offset = 0; offset < scanned.size; offset += kPartBytes)
        enqueue({{file}, offset, std::min(kPartBytes, scanned.size - offset)});
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
    BackupReader reader(source_);
    BackupPacker packer(objects_);
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
        copy_unit(unit, reader, packer);
    }
    packer.flush(stop_);
}

void BackupCopy::copy_unit(const Unit &unit, BackupReader &reader, BackupPacker &packer) {
    const bool whole = unit.length == 0;
    for (const BackupFilePtr &file : unit.files) {
        stop_.check();
        if (open(*file, whole))
            copy_range(file, unit.offset, whole ? file->input.size : unit.length, reader, packer);
        else
            finish_piece(file);
    }
}

void BackupCopy::finish_piece(const BackupFilePtr &file) {
    if (table_.done(file))
        ++progress_.files_done;
}

// False when the file is gone: it was dropped, and replay knows.
bool BackupCopy::open(BackupFile &file, bool whole) {
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
        if (whole) {
            file.input.size = static_cast<uint64_t>(status.st_size);
            file.entry.size = file.input.size;
            file.entry.mtime_ms = modified_ms(status);
        }
        posix_fadvise(file.input.handle.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    return !file.vanished;
}

void BackupCopy::copy_range(const BackupFilePtr &file, uint64_t offset, uint64_t length, BackupReader &reader,
                            BackupPacker &packer) {
    const auto pieces = BackupPacker::begin(file->entry.path, [this, file](std::vector<ExtentRef> &&extents) {
        {
            const std::lock_guard lock(file->input.mutex);
            file->entry.extents.insert(file->entry.extents.end(), extents.begin(), extents.end());
        }
        finish_piece(file);
    });
    const bool whole = length == file->input.size;
    const uint64_t end = offset + length;
    while (offset < end) {
        stop_.check();
        const auto piece = static_cast<size_t>(std::min<uint64_t>(kMaxExtentBytes, end - offset));
        throttle_.take(piece, stop_);
        size_t read_bytes = 0;
        const ByteView plain = reader.read(file->input, offset, piece, read_bytes);
        progress_.bytes_done += read_bytes;
        if (!all_zeroes(plain))
            packer.add(pieces, offset, plain, stop_);
        offset += piece;
        if (read_bytes < piece)
            break; // the rest reads as zeroes, which need no extents
    }
    // A bundle may hold a thousand files.
    if (whole)
        file->input.handle = FileHandle();
    BackupPacker::end(pieces);
}

} // namespace pgvigil
