#include "server/pg.h"

#include "server/catalog_store.h"

#include "server/boundary.h"
#include "server/repositories.h"
#include "server/shared_state.h"
#include "server/waiting.h"

#include "base/time.h"
#include "transfer/restore_facts.h"

#include <algorithm>
#include <cerrno>

namespace pgvigil {

namespace {

// Late arrivals in old places are looked for so often.
constexpr int64_t kCompleteMs = 3600000;

int64_t unix_us(TimestampTz time) noexcept {
    return unix_us_from_postgres(time);
}

const KnownCatalog *find_known(const std::vector<KnownCatalog> &known, const std::string &url) {
    for (const KnownCatalog &entry : known)
        if (entry.url == url)
            return &entry;
    return nullptr;
}

// What may be taken over from an earlier reading of the same repository.
const Catalog *usable(const KnownCatalog *known, const CatalogReading &reading, const ServerFacts &facts) {
    if (known == nullptr || known->repository_id != reading.id ||
        known->catalog.system_identifier != facts.system_identifier || unix_time_ms() < known->read_ms ||
        unix_time_ms() - known->complete_ms > kCompleteMs)
        return nullptr;
    return &known->catalog;
}

void read_one(OpenedStore &opened, const ServerFacts &facts, const KnownCatalog *before, CatalogReading &reading,
              const CancelToken &cancel) {
    reading.conditional = opened.store->features().conditional_create;
    const Repository repository(opened.store, *opened.document, opened.url, facts.system_identifier);
    KnownCatalog known;
    known.url = opened.url;
    known.display_name = opened.store->display_name();
    known.repository_id = reading.id;
    known.read_ms = unix_time_ms();
    const Catalog *earlier = usable(before, reading, facts);
    known.complete_ms = earlier == nullptr ? known.read_ms : before->complete_ms;
    known.catalog = load_catalog(repository, cancel, earlier);
    RepositoryWalFacts wal(repository, known.catalog, cancel);
    reading.windows = recovery_windows(known.catalog, &wal);
    for (const RecoveryWindow &window : reading.windows)
        if (window.to_us)
            known.marks.push_back(
                {window.timeline, segment_before(window.to_lsn, known.catalog.segment_size), *window.to_us});
    reading.known = std::move(known);
}

std::vector<CatalogReading> read_all(const Settings &settings, const ServerFacts &facts,
                                     const std::vector<KnownCatalog> &before, const CancelToken &cancel) {
    std::vector<CatalogReading> readings;
    for (OpenedStore &opened : open_stores(settings, facts, cancel)) {
        CatalogReading &reading = readings.emplace_back();
        reading.url = opened.url;
        reading.problem = opened.problem;
        if (!opened.document && !opened.problem)
            reading.problem = Error(ErrorCode::kForeign, "repository \"" + opened.url + "\" is missing");
        if (!opened.document)
            continue;
        reading.id = to_string(opened.document->id);
        try {
            read_one(opened, facts, find_known(before, opened.url), reading, cancel);
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            reading.problem = error;
        }
    }
    return readings;
}

// A repository that could not be read keeps what was known of it.
std::string text_of(const std::vector<CatalogReading> &readings, const std::vector<KnownCatalog> &before) {
    std::vector<KnownCatalog> catalogs;
    for (const CatalogReading &reading : readings) {
        if (reading.known)
            catalogs.push_back(*reading.known);
        else if (const KnownCatalog *known = find_known(before, reading.url))
            catalogs.push_back(*known);
    }
    return encode_catalogs(catalogs);
}

// Replaces the file unless a reading that began later has.
void publish(const ServerFacts &facts, const std::string &text, uint64_t ticket, uint64_t sequence) {
    NewCatalogFile file(facts.data_directory, text);
    NewCatalogFile *const written = &file;
    int error_number = 0;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        SharedCatalog &catalog = shared.catalog;
        if (catalog.published > ticket)
            return;
        if (!written->replace()) {
            error_number = errno;
            return;
        }
        catalog.published = ticket;
        catalog.published_at = GetCurrentTimestamp();
        catalog.shown_from = std::max(catalog.shown_from, sequence);
    });
    if (error_number != 0)
        throw system_error("could not replace file \"" + std::string(kCatalogFileName) + "\"", error_number);
}

void add_archived(KnownCatalog &known, const ArchivedRun &run, uint64_t segment_size) {
    Catalog &catalog = known.catalog;
    catalog.segment_size = segment_size;
    auto at = std::find_if(catalog.timelines.begin(), catalog.timelines.end(),
                           [&](const TimelineWal &wal) { return wal.timeline >= run.timeline; });
    if (at == catalog.timelines.end() || at->timeline != run.timeline) {
        TimelineWal wal;
        wal.timeline = run.timeline;
        at = catalog.timelines.insert(at, std::move(wal));
    }
    add_run(at->runs, {run.first, run.last});
    if (at->runs.back().last == run.last)
        at->newest_object_ms = std::max(at->newest_object_ms, unix_us(run.stored_at) / 1000);
    if (run.last_time_us != 0)
        known.marks.push_back({run.timeline, run.last, run.last_time_us});
}

// What the streamer has stored since, in every repository.
void add_streamed(KnownCatalog &known, const SharedStream &stream, uint64_t segment_size) {
    Catalog &catalog = known.catalog;
    const auto at = std::find_if(catalog.timelines.begin(), catalog.timelines.end(),
                                 [&](const TimelineWal &wal) { return wal.timeline == stream.durable_timeline; });
    if (at == catalog.timelines.end() || stream.durable_lsn <= stream.durable_from)
        return;
    const Lsn end{stream.durable_lsn};
    const uint64_t last = segment_before(end, segment_size);
    const uint64_t first =
        std::max(segment_of(Lsn{stream.durable_from}, segment_size), at->runs.empty() ? 0 : at->runs.back().last + 1);
    const int64_t now_ms = unix_us(stream.oldest_waiting != 0 ? stream.oldest_waiting : GetCurrentTimestamp()) / 1000;
    for (uint64_t segment = first; segment <= last; ++segment) {
        TailCover &cover = at->streamed[segment];
        const auto reached = static_cast<uint32_t>(
            segment == last ? end.value - segment_start(segment, segment_size).value : segment_size);
        if (cover.end >= reached && !cover.hole)
            continue;
        TailPiece piece;
        piece.segment = segment;
        piece.to = reached;
        piece.modified_ms = now_ms;
        cover = {{}, {piece}, reached, reached, false};
        if (segment == last && stream.last_transaction_us != 0)
            known.marks.push_back({at->timeline, last, stream.last_transaction_us});
    }
}

std::vector<KnownCatalog> without_shared_memory(const Settings &settings, const ServerFacts &facts) {
    std::vector<CatalogReading> readings =
        in_background([&](const CancelToken &cancel) { return read_all(settings, facts, {}, cancel); });
    std::vector<KnownCatalog> catalogs;
    for (CatalogReading &reading : readings)
        if (reading.known)
            catalogs.push_back(std::move(*reading.known));
    if (catalogs.empty() && !readings.empty() && readings.front().problem)
        throw Error(*readings.front().problem);
    return catalogs;
}

std::vector<KnownCatalog> known_catalogs(const Settings &settings, const ServerFacts &facts) {
    std::vector<KnownCatalog> shown;
    const auto all = read_catalog_file(facts.data_directory).value_or(std::vector<KnownCatalog>());
    for (const RepositoryUrl &url : settings.repositories)
        if (const KnownCatalog *known = find_known(all, url.normalised());
            known != nullptr && known->catalog.system_identifier == facts.system_identifier)
            shown.push_back(*known);
    return shown;
}

} // namespace

std::vector<CatalogReading> read_catalogs(const Settings &settings, const ServerFacts &facts,
                                          const std::function<bool()> &stop) {
    uint64_t ticket = 0;
    uint64_t sequence = 0;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        ticket = ++shared.catalog.next_ticket;
        sequence = shared.catalog.sequence;
    });
    const auto before = read_catalog_file(facts.data_directory).value_or(std::vector<KnownCatalog>());
    std::vector<CatalogReading> readings =
        in_background([&](const CancelToken &cancel) { return read_all(settings, facts, before, cancel); }, stop);
    const bool any = std::any_of(readings.begin(), readings.end(), [](const auto &r) { return r.known.has_value(); });
    if (!any || shared_state() == nullptr)
        return readings;
    // Without the file the views are late; what was read counts all the same.
    ErrorReport report;
    if (!cpp_attempt([&] { publish(facts, text_of(readings, before), ticket, sequence); }, report))
        warn(report, "could not keep the catalog");
    return readings;
}

void refresh_catalog_file() noexcept {
    ErrorReport report;
    if (!cpp_attempt([] { (void)read_catalogs(current_settings(), server_facts()); }, report))
        warn(report, "could not bring the catalog up to date");
}

std::vector<KnownCatalog> shown_catalogs(const Settings &settings, const ServerFacts &facts) {
    if (settings.repositories.empty())
        return {};
    if (shared_state() == nullptr)
        return without_shared_memory(settings, facts);
    // Before the file: what is published meanwhile is then shown twice at most.
    SharedCatalog archived;
    SharedCatalog *const target = &archived;
    SharedStream streamed;
    SharedStream *const streamed_target = &streamed;
    with_lock(LW_SHARED, [=](SharedState &shared) noexcept {
        memcpy(target, &shared.catalog, sizeof *target);
        memcpy(streamed_target, &shared.stream, sizeof *streamed_target);
    });
    std::vector<KnownCatalog> shown;
    if (archived.published != 0)
        shown = known_catalogs(settings, facts);
    if (shown.empty()) {
        std::vector<CatalogReading> readings = read_catalogs(settings, facts);
        for (CatalogReading &reading : readings)
            if (reading.known)
                shown.push_back(std::move(*reading.known));
        if (shown.empty())
            shown = known_catalogs(settings, facts);
        if (shown.empty() && !readings.empty() && readings.front().problem)
            throw Error(*readings.front().problem);
    }
    for (KnownCatalog &known : shown)
        for (const ArchivedRun &run : archived.runs)
            if (run.sequence > archived.shown_from &&
                (known.catalog.segment_size == 0 || known.catalog.segment_size == facts.wal_segment_size))
                add_archived(known, run, facts.wal_segment_size);
    // Where not all repositories are required, nobody knows which of them have it.
    // A server that lost its role has nothing to say about what readers find.
    const bool streams = streamed.mode != StreamMode::kOff && streamed.mode != StreamMode::kWaiting;
    if (settings.requires_all() && streams && streamed.durable_basis.settings == settings.repositories_hash())
        for (KnownCatalog &known : shown)
            if (known.catalog.segment_size == facts.wal_segment_size)
                add_streamed(known, streamed, facts.wal_segment_size);
    return shown;
}

std::optional<WalScanSummary> KnownWalFacts::facts(TimelineId timeline, uint64_t segment) {
    for (auto mark = known_.marks.rbegin(); mark != known_.marks.rend(); ++mark)
        if (mark->timeline == timeline && mark->segment == segment) {
            WalScanSummary summary;
            summary.last_time_us = mark->time_us;
            return summary;
        }
    return std::nullopt;
}

} // namespace pgvigil
