#include "server/pg.h"

#include "server/request_estimate.h"

#include "server/shared_state.h"

#include "repo/catalog_file.h"

namespace pgvigil {

namespace {

constexpr double kMonthMinutes = 30.0 * 24 * 60;
// The catalog once a minute (ten listings and two small reads), the writer's role twice (two requests each).
constexpr double kLooksAMinute = 12 + 2 * 2;
// Stored, and its header read once for the index of the WAL.
constexpr double kRequestsASegment = 2;
constexpr double kPackBytes = 32.0 * kMiB;
constexpr double kRequestsABackup = 10; // besides its packs

std::string whole(double number) {
    return std::to_string(static_cast<uint64_t>(number));
}

} // namespace

std::string describe_requests(const ServerFacts &facts) {
    double wal_bytes_per_second = 0;
    with_lock(LW_SHARED,
              [&](SharedState &shared) noexcept { wal_bytes_per_second = shared.keeper.wal_bytes_per_second; });
    const double looks = kLooksAMinute * kMonthMinutes;
    const double segments = wal_bytes_per_second * 60 * kMonthMinutes / static_cast<double>(facts.wal_segment_size);
    const double wal = segments * kRequestsASegment;
    std::string text = "about " + whole(looks + wal) + " requests a month: " + whole(looks) + " to look at it, " +
                       whole(wal) + " for WAL at its present rate";
    const auto known = read_catalog_file(facts.data_directory);
    if (!known || known->empty() || known->front().catalog.backups.empty())
        return text;
    const CommitDocument &last = known->front().catalog.backups.back();
    return text + "; a backup like the last one takes " +
           whole(static_cast<double>(last.totals.stored_bytes) / kPackBytes + kRequestsABackup) + " more";
}

} // namespace pgvigil
