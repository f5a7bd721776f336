#include "transfer/restore_fetcher.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "base/signal_mask.h"

#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>
#include <utility>

namespace pgvigil {

namespace {

constexpr size_t kMaxQueuedRanges = 4096;
constexpr uint64_t kEarlyWriteBytes = kMiB;
constexpr std::chrono::milliseconds kCancelPoll{100};

void write_at(const FileHandle &file, ByteView bytes, uint64_t offset, const std::string &path) {
    while (!bytes.empty()) {
        const ssize_t written = pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            throw posix_error("write", path, errno);
        bytes = bytes.subspan(static_cast<size_t>(written));
        offset += static_cast<uint64_t>(written);
    }
}

bool same_frame(const ExtentRead &a, const ExtentRead &b) {
    return a.place.offset == b.place.offset && a.place.length == b.place.length && a.frame_length == b.frame_length &&
           a.hash == b.hash;
}

} // namespace

struct RestoreFetcher::Worker {
    FrameDecoder decoder;
    Bytes plain = Bytes(kMaxExtentBytes);
};

RestoreFetcher::RestoreFetcher(RestoreSources &sources, const PackList &packs, RestoreTree &tree, unsigned threads,
                               Events events, const CancelToken &cancel)
    : sources_(sources), packs_(packs), tree_(tree), events_(std::move(events)), cancel_(cancel) {
    const SignalsBlocked blocked;
    for (unsigned i = 0; i < threads; ++i)
        threads_.emplace_back([this] { run(); });
}

RestoreFetcher::~RestoreFetcher() {
    stop_.cancel();
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
        queue_.clear();
    }
    changed_.notify_all();
    for (std::thread &thread : threads_)
        thread.join();
}

void RestoreFetcher::wait(std::unique_lock<std::mutex> &lock, const std::function<bool()> &ready) {
    while (!failure_ && !changed_.wait_for(lock, kCancelPoll, ready)) {
        if (!cancel_.is_cancelled())
            continue;
        stop_.cancel();
        cancel_.check();
    }
    if (failure_)
        std::rethrow_exception(failure_);
}

void RestoreFetcher::add(std::vector<RangeRead> &&ranges) {
    std::unique_lock lock(mutex_);
    for (RangeRead &range : ranges) {
        wait(lock, [this] { return queue_.size() < kMaxQueuedRanges || failure_; });
        queue_.push_back(std::move(range));
        changed_.notify_all();
    }
}

void RestoreFetcher::add_complete(RestoredFile &file) {
    (void)tree_.open_file(file.path);
    complete(file);
}

void RestoreFetcher::finish() {
    std::unique_lock lock(mutex_);
    wait(lock, [this] { return (queue_.empty() && running_ == 0) || failure_; });
}

void RestoreFetcher::run() {
    Worker worker;
    for (;;) {
        RangeRead range;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return ending_ || !queue_.empty(); });
            if (ending_)
                return;
            range = std::move(queue_.front());
            queue_.pop_front();
            ++running_;
        }
        try {
            read_range(range, worker);
        } catch (...) {
            const std::lock_guard lock(mutex_);
            if (!failure_)
                failure_ = std::current_exception();
            queue_.clear();
            stop_.cancel();
        }
        const std::lock_guard lock(mutex_);
        --running_;
        changed_.notify_all();
    }
}

void RestoreFetcher::read_range(const RangeRead &range, Worker &worker) {
    const std::string &key = packs_[range.pack].key;
    sources_.try_each([&](ObjectStore &store) {
        cancel_.check();
        const auto bytes = store.get_range(key, range.range, stop_);
        if (!bytes)
            throw Error(ErrorCode::kCorrupt,
                        fmt::format("\"{}\", which the backup needs, is not in \"{}\"", key, store.display_name()));
        if (bytes->size() != range.range.length)
            throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" in \"{}\" is truncated", key, store.display_name()))
                .detail(fmt::format("It ends within the {} bytes at {}.", range.range.length, range.range.offset));
        write_extents(range, *bytes, key, worker);
    });
    uint64_t plain_bytes = 0;
    for (const ExtentRead &extent : range.extents) {
        RestoredFile &file = *extent.file;
        plain_bytes += file.pieces[extent.piece].length;
        if (file.missing.fetch_sub(1) == 1)
            complete(file);
    }
    events_.on_bytes(plain_bytes, range.range.length);
}

// The plain bytes of the extent's frame; decoded once for all extents in it.
ByteView RestoreFetcher::decode_frame(const ExtentRead &extent, ByteView frame, const std::string &key,
                                      Worker &worker) {
    const FrameHeader header = FrameDecoder::parse_header(frame, key);
    if (header.type != FrameType::kData || header.plain_length != extent.frame_length || header.hash != extent.hash ||
        kFrameHeaderBytes + header.stored_length != extent.place.length) {
        const FilePiece &piece = extent.file->pieces[extent.piece];
        throw Error(ErrorCode::kCorrupt, fmt::format("pack \"{}\" does not hold what the backup's table says", key))
            .detail(fmt::format("The frame at {} does not hold the {} bytes at {} of \"{}\".", extent.place.offset,
                                piece.length, piece.offset, extent.file->path));
    }
    const std::span<std::byte> plain(worker.plain.data(), header.plain_length);
    worker.decoder.decode(frame, plain, key);
    return plain;
}

void RestoreFetcher::write_extents(const RangeRead &range, ByteView bytes, const std::string &key, Worker &worker) {
    const RestoredFile *open_for = nullptr;
    FileHandle handle;
    const ExtentRead *decoded = nullptr;
    ByteView frame_plain;
    for (const ExtentRead &extent : range.extents) {
        cancel_.check();
        if (decoded == nullptr || !same_frame(*decoded, extent)) {
            const ByteView frame = bytes.subspan(extent.place.offset - range.range.offset, extent.place.length);
            frame_plain = decode_frame(extent, frame, key, worker);
            decoded = &extent;
        }
        FilePiece &piece = extent.file->pieces[extent.piece];
        const ByteView plain = frame_plain.subspan(extent.frame_offset, piece.length);
        piece.crc32c = crc32c(plain);
        if (open_for != extent.file.get()) {
            handle = tree_.open_file(extent.file->path);
            open_for = extent.file.get();
        }
        write_at(handle, plain, piece.offset, extent.file->path);
    }
}

void RestoreFetcher::complete(RestoredFile &file) {
    const uint64_t covered = file.pieces.empty() ? 0 : file.pieces.back().offset + file.pieces.back().length;
    if (covered < file.size || file.size >= kEarlyWriteBytes) {
        const FileHandle handle = tree_.open_file(file.path);
        if (covered < file.size && ftruncate(handle.get(), static_cast<off_t>(file.size)) != 0)
            throw posix_error("write", file.path, errno);
        // The final sync then finds most of the bytes on their way.
        (void)sync_file_range(handle.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
    }
    const std::lock_guard lock(file_mutex_);
    events_.on_file(file);
}

} // namespace pgvigil
