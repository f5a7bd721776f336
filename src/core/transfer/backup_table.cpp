#include "transfer/backup_table.h"

#include "base/error.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr std::string_view kHeldBackAfter = "pg_wal";
constexpr std::chrono::milliseconds kCancelPoll{50};

} // namespace

BackupTable::BackupTable(FileTableWriter &writer, BlockHashWriter *hashes, size_t limit,
                         std::atomic<uint64_t> &bad_pages, LogSink &log)
    : writer_(writer), hashes_(hashes), limit_(limit), bad_pages_(bad_pages), log_(log) {}

bool BackupTable::has_room() {
    const std::lock_guard lock(mutex_);
    return files_.size() < limit_;
}

void BackupTable::wait_for_room(const CancelToken &cancel) {
    std::unique_lock lock(mutex_);
    while (files_.size() >= limit_) {
        cancel.check();
        room_.wait_for(lock, kCancelPoll);
    }
}

void BackupTable::begin(const BackupFilePtr &file, unsigned pieces) {
    const std::lock_guard lock(mutex_);
    file->open_pieces = pieces;
    files_.push_back(file);
    if (pieces == 0)
        settle_front();
}

bool BackupTable::done(const BackupFilePtr &file) {
    const std::lock_guard lock(mutex_);
    if (--file->open_pieces > 0)
        return false;
    // Nothing reads it any more: a million of them may wait for one that is slow.
    file->input.handle = FileHandle();
    settle_front();
    return true;
}

void BackupTable::settle_front() {
    while (!files_.empty() && files_.front()->open_pieces == 0) {
        BackupFile &file = *files_.front();
        if (!file.vanished) {
            if (file.input.damage.bad_pages > 0)
                report_damage(file);
            take(row_of(std::move(file)));
        }
        files_.pop_front();
        if (files_.size() == limit_ / 2)
            room_.notify_all();
    }
}

void BackupTable::report_damage(BackupFile &file) {
    PageDamage &damage = file.input.damage;
    damage.path = file.entry.path;
    bad_pages_ += damage.bad_pages;
    log_.emit(LogLevel::kWarning, fmt::format("page checksums do not match in \"{}\"", damage.path),
              fmt::format("{} pages are damaged, the first of them: {}.", damage.bad_pages,
                          fmt::join(damage.first_blocks, ", ")));
    damage_.push_back(std::move(damage));
}

BackupTable::Row BackupTable::row_of(BackupFile &&file) {
    std::sort(file.parts.begin(), file.parts.end(), [](const FilePart &a, const FilePart &b) {
        return !b.extents.empty() && (a.extents.empty() || a.extents.front().offset < b.extents.front().offset);
    });
    Row row;
    row.entry = std::move(file.entry);
    for (FilePart &part : file.parts) {
        row.entry.extents.insert(row.entry.extents.end(), part.extents.begin(), part.extents.end());
        row.hashes.insert(row.hashes.end(), part.hashes.begin(), part.hashes.end());
        part = FilePart();
    }
    return row;
}

void BackupTable::count(const FileEntry &entry) {
    if (entry.kind != FileKind::kRegular)
        return;
    ++totals_.files;
    totals_.logical_bytes += entry.size;
    totals_.extents += entry.extents.size();
    for (const ExtentRef &extent : entry.extents)
        totals_.new_bytes += extent.plain_length;
}

void BackupTable::take(Row &&row) {
    count(row.entry);
    if (compare_paths(row.entry.path, kHeldBackAfter) > 0)
        held_back_.push_back(std::move(row));
    else
        write(row);
}

void BackupTable::put(const Row &row) {
    writer_.add(row.entry);
    if (hashes_ != nullptr)
        hashes_->add(row.hashes);
}

void BackupTable::write(const Row &row) {
    while (!extra_.empty() && compare_paths(extra_.begin()->first, row.entry.path) < 0) {
        put(extra_.begin()->second);
        extra_.erase(extra_.begin());
    }
    // What was given explicitly stands for what the scan found under the same name.
    if (const auto same = extra_.find(row.entry.path); same != extra_.end()) {
        put(same->second);
        extra_.erase(same);
    } else {
        put(row);
    }
    last_written_ = row.entry.path;
}

void BackupTable::add_extra(FileEntry entry, std::vector<BlockHash> hashes) {
    const std::lock_guard lock(mutex_);
    if (!last_written_.empty() && compare_paths(entry.path, last_written_) <= 0)
        throw Error(ErrorCode::kInternal, fmt::format("\"{}\" comes too late: the file table is past it", entry.path));
    count(entry);
    std::string path = entry.path;
    extra_.insert_or_assign(std::move(path), Row{std::move(entry), std::move(hashes)});
}

void BackupTable::finish() {
    const std::lock_guard lock(mutex_);
    if (!files_.empty())
        throw Error(ErrorCode::kInternal, fmt::format("\"{}\" was not finished", files_.front()->entry.path));
    for (const Row &row : held_back_)
        write(row);
    held_back_.clear();
    for (const auto &[path, row] : extra_)
        put(row);
    extra_.clear();
}

} // namespace pgvigil
