#include "server/pg.h"

#include "server/request_estimate.h"

#include "server/settings.h"
#include "server/shared_state.h"
#include "server/stream_settings.h"

#include "repo/catalog_file.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr double kMonthMinutes = 30.0 * 24 * 60;
// The catalog once a minute (ten listings and two small reads), the writer's role twice (two requests each).
constexpr double kLooksAMinute = 12 + 2 * 2;
// The writer's lease (server/lease.h): in a term it shows three times that it lives and looks nine times for others.
constexpr double kRequestsATerm = 3 + 9;
// Stored, and its header read once for the index of the WAL.
constexpr double kRequestsASegment = 2;
constexpr double kPackBytes = 32.0 * kMiB;
constexpr double kRequestsABackup = 10; // besides its packs

struct Estimate {
    double looks = 0;
    double wal = 0;
    double stream = 0;
};

Estimate estimate_all(const ServerFacts &facts) {
    const Settings settings = current_settings();
    double wal_bytes_per_second = 0;
    double stream_requests = 0;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
        wal_bytes_per_second = shared.keeper.wal_bytes_per_second;
        stream_requests = shared.stream.requests_per_minute;
    });
    Estimate estimate;
    estimate.looks =
        kMonthMinutes * (kLooksAMinute + kRequestsATerm * 60000 / static_cast<double>(settings.writer_term_ms));
    estimate.wal =
        wal_bytes_per_second * 60 * kMonthMinutes / static_cast<double>(facts.wal_segment_size) * kRequestsASegment;
    estimate.stream =
        stream_requests * kMonthMinutes / static_cast<double>(std::max<size_t>(settings.repositories.size(), 1));
    return estimate;
}

// With synchronous mode it is the store's latency that sets the pace.
double most_pieces() {
    const StreamSettings stream = current_stream_settings();
    if (stream.synchronous || stream.interval.count() == 0)
        return 0;
    return kMonthMinutes * 60000 / static_cast<double>(stream.interval.count());
}

std::string whole(double number) {
    return std::to_string(static_cast<uint64_t>(number));
}

} // namespace

double estimate_requests(const ServerFacts &facts) {
    const Estimate estimate = estimate_all(facts);
    return estimate.looks + estimate.wal + estimate.stream;
}

std::string describe_requests(const ServerFacts &facts) {
    const Estimate estimate = estimate_all(facts);
    std::string text = "about " + whole(estimate.looks + estimate.wal + estimate.stream) +
                       " requests a month: " + whole(estimate.looks) + " to look at it, " + whole(estimate.wal) +
                       " for WAL files at their present rate, " + whole(estimate.stream) +
                       " for streaming at that of the last minute";
    const double most = most_pieces();
    if (most > 0)
        text += " (" + whole(most) + " if WAL is written all the time)";
    const auto known = read_catalog_file(facts.data_directory);
    if (!known || known->empty() || known->front().catalog.backups.empty())
        return text;
    const CommitDocument &last = known->front().catalog.backups.back();
    return text + "; a backup like the last one takes " +
           whole(static_cast<double>(last.totals.stored_bytes) / kPackBytes + kRequestsABackup) + " more";
}

} // namespace pgvigil
