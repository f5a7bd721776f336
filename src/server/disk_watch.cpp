#include "server/pg.h"

#include "server/disk_watch.h"

#include "server/boundary.h"
#include "server/shared_state.h"
#include "server/wal_queue.h"

#include "base/time.h"

#include <cmath>
#include <sys/statvfs.h>

namespace pgvigil {

namespace {

constexpr double kSmoothMs = 60000;
constexpr int64_t kWarnEveryMs = 600000;
constexpr int64_t kWarnBelowSeconds = 3600;
constexpr double kWarnBelowShare = 0.05;

TimestampTz timestamp_of(int64_t unix_s) noexcept {
    return unix_s == 0 ? 0 : time_t_to_timestamptz(unix_s);
}

} // namespace

void DiskWatch::update_rate(Lsn wal_end) {
    const int64_t now = boot_time_ms();
    if (last_ms_ != 0 && now > last_ms_ && wal_end >= last_end_) {
        const auto elapsed = static_cast<double>(now - last_ms_);
        const double current = static_cast<double>(wal_end.value - last_end_.value) * 1000 / elapsed;
        const double weight = 1 - std::exp(-elapsed / kSmoothMs);
        rate_ += weight * (current - rate_);
    }
    last_end_ = wal_end;
    last_ms_ = now;
}

void DiskWatch::look(const ServerFacts &facts) {
    update_rate(facts.wal_end);
    const WalQueue queue = measure_queue(facts.wal_directory, facts.wal_segment_size);
    struct statvfs status{};
    if (::statvfs(facts.wal_directory.c_str(), &status) != 0)
        throw system_error("could not examine the file system of \"" + facts.wal_directory + "\"", errno);
    const uint64_t free_bytes = uint64_t{status.f_bavail} * status.f_frsize;
    const uint64_t total_bytes = uint64_t{status.f_blocks} * status.f_frsize;
    // WAL is only kept while the archive stands still: then the disk fills at the rate at which WAL is written.
    bool failing = false;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { failing = shared.archiver.failing_since != 0; });
    const bool filling = rate_ > 1 && (failing || queue.files > 64);
    const int64_t seconds_left = filling ? static_cast<int64_t>(static_cast<double>(free_bytes) / rate_) : -1;
    const double rate = rate_;
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        SharedKeeper &keeper = shared.keeper;
        keeper.queue_files = queue.files;
        keeper.queue_bytes = queue.bytes;
        keeper.oldest_waiting = timestamp_of(queue.oldest_unix_s);
        keeper.disk_free_bytes = free_bytes;
        keeper.disk_total_bytes = total_bytes;
        keeper.wal_bytes_per_second = rate;
        keeper.disk_seconds_left = seconds_left;
    });
    const bool short_of_space = static_cast<double>(free_bytes) < kWarnBelowShare * static_cast<double>(total_bytes);
    if ((seconds_left >= 0 && seconds_left < kWarnBelowSeconds) || (short_of_space && queue.files > 1))
        warn_if_filling(free_bytes, seconds_left, queue.bytes);
}

void DiskWatch::warn_if_filling(uint64_t free_bytes, int64_t seconds_left, uint64_t queue_bytes) {
    const int64_t now = boot_time_ms();
    if (warned_ms_ != 0 && now - warned_ms_ < kWarnEveryMs)
        return;
    warned_ms_ = now;
    const std::string detail = std::to_string(queue_bytes / kMiB) + " MB of WAL wait for the archive, " +
                               std::to_string(free_bytes / kMiB) + " MB are free" +
                               (seconds_left < 0 ? std::string()
                                                 : ", enough for about " + std::to_string(seconds_left / 60) +
                                                       " minutes at the current rate") +
                               ".";
    const char *text = detail.c_str();
    pg_section([=]() noexcept {
        ereport(WARNING,
                (errcode(ERRCODE_DISK_FULL), errmsg("the disk of pg_wal is filling up"), errdetail_internal("%s", text),
                 errhint("PostgreSQL stops when it is full. pgv_archiver shows why WAL is not archived; "
                         "pgvigil.archive_queue_max sets a limit at which WAL is let go.")));
    });
}

} // namespace pgvigil
