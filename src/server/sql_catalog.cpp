// The views of the catalog. They show what this server knows and ask no store: see server/catalog_store.h.
#include "server/pg.h"

#include "server/boundary.h"
#include "server/catalog_store.h"
#include "server/repositories.h"
#include "server/server_facts.h"
#include "server/settings.h"
#include "server/sql_rows.h"

#include "base/json.h"
#include "base/time.h"
#include "base/wal_name.h"
#include "plan/chains.h"
#include "plan/recovery_windows.h"
#include "plan/wal_spans.h"

namespace pgvigil {

namespace {

std::string json_of(const std::vector<PageDamage> &damage) {
    Json list = Json::array();
    for (const PageDamage &file : damage)
        list.push_back({{"path", file.path}, {"bad_pages", file.bad_pages}, {"first_blocks", file.first_blocks}});
    return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string json_of(const std::map<std::string, std::string> &annotations) {
    std::string text = "{";
    for (const auto &[name, value] : annotations)
        text += (text.size() > 1 ? "," : "") + Json(name).dump(-1, ' ', false, Json::error_handler_t::replace) + ":" +
                value;
    return text + "}";
}

// Bytes a second; null for what took no time.
Cell rate_cell(uint64_t bytes, int64_t milliseconds) {
    if (milliseconds <= 0)
        return std::nullopt;
    return cell(static_cast<double>(bytes) * 1000 / static_cast<double>(milliseconds));
}

// Why the backup stays: what is built on it, and an operator's wish.
std::vector<std::string> needs_of(const Catalog &catalog, const CommitDocument &backup, const KeepDocument *keep) {
    std::vector<std::string> needs = children_of(catalog, backup);
    if (keep != nullptr)
        needs.emplace_back("keep");
    return needs;
}

Row backup_row(const KnownCatalog &known, const CommitDocument &backup) {
    uint64_t bad_pages = 0;
    for (const PageDamage &file : backup.damage)
        bad_pages += file.bad_pages;
    const auto kept = known.catalog.keeps.find(backup.id);
    const KeepDocument *keep =
        kept != known.catalog.keeps.end() && kept->second.holds(unix_time_ms()) ? &kept->second : nullptr;
    const BackupTotals &totals = backup.totals;
    const int64_t took_ms = backup.stopped_ms - backup.started_ms;
    const uint64_t inherited =
        backup.full ? 0 : totals.logical_bytes - std::min(totals.logical_bytes, totals.new_bytes);
    Cell keep_until;
    if (keep != nullptr)
        keep_until = keep->until_ms ? unix_ms_cell(*keep->until_ms) : Cell("infinity");
    return {cell(known.display_name),
            cell(backup.id),
            cell(backup.full ? "full" : "incremental"),
            cell(chain_of(backup)),
            backup.parents.empty() ? std::nullopt : cell(backup.parents.front()),
            unix_ms_cell(backup.started_ms),
            unix_ms_cell(backup.stopped_ms),
            seconds_cell(static_cast<double>(took_ms) / 1000),
            cell(backup.start_timeline),
            cell(backup.start_lsn),
            cell(backup.stop_lsn),
            cell(backup.from_standby),
            cell(is_restorable(known.catalog, backup)),
            cell(totals.files),
            cell(totals.logical_bytes),
            cell(totals.new_bytes),
            cell(inherited),
            cell(totals.stored_bytes),
            backup.full ? std::nullopt : cell(totals.changed_blocks),
            rate_cell(totals.new_bytes, took_ms),
            cell(bad_pages),
            cell(json_of(backup.damage)),
            cell(json_of(backup.annotations_json)),
            text_array_cell(backup.parents),
            text_array_cell(needs_of(known.catalog, backup, keep)),
            keep_until,
            cell(backup.server_version),
            cell(backup.product_version),
            cell(backup.compression),
            cell(backup.host)};
}

Row chain_row(const KnownCatalog &known, const BackupChain &chain) {
    std::vector<std::string> timelines;
    for (const TimelineId timeline : chain.timelines)
        timelines.push_back(std::to_string(timeline));
    return {cell(known.display_name),
            cell(chain.id),
            cell(chain.backups.size()),
            text_array_cell(chain.backups),
            unix_ms_cell(chain.from_ms),
            unix_ms_cell(chain.to_ms),
            text_array_cell(timelines),
            cell(chain.logical_bytes),
            cell(chain.stored_bytes),
            cell(chain.usable.size() == chain.backups.size()),
            chain.usable.empty() ? std::nullopt : cell(chain.usable.back()),
            text_array_cell(chain.missing)};
}

Row range_row(const std::string &repository, TimelineId timeline, const WalSpan &span, uint64_t segment_size) {
    return {cell(repository),
            cell(timeline),
            cell(state_name(span.state)),
            cell(span.from),
            cell(span.to),
            cell(segment_name(timeline, span.first, segment_size)),
            cell(segment_name(timeline, span.last, segment_size)),
            cell(span.last - span.first + 1)};
}

void add_backups(Rows &rows, const KnownCatalog &known) {
    for (const CommitDocument &backup : known.catalog.backups)
        rows.push_back(backup_row(known, backup));
}

void add_chains(Rows &rows, const KnownCatalog &known) {
    for (const BackupChain &chain : backup_chains(known.catalog))
        rows.push_back(chain_row(known, chain));
}

void add_ranges(Rows &rows, const KnownCatalog &known) {
    const uint64_t size = known.catalog.segment_size;
    for (const TimelineWal &wal : known.catalog.timelines)
        for (const WalSpan &span : wal_spans(wal, size))
            rows.push_back(range_row(known.display_name, wal.timeline, span, size));
}

void add_windows(Rows &rows, const KnownCatalog &known) {
    KnownWalFacts wal(known);
    for (const RecoveryWindow &window : recovery_windows(known.catalog, &wal)) {
        const Cell end =
            window.to_us ? Cell(postgres_time_us(*window.to_us)) : unix_ms_cell(window.stored_ms.value_or(0));
        rows.push_back({cell(known.display_name), cell(window.timeline), unix_ms_cell(window.from_ms), end,
                        cell(window.from_lsn), cell(window.to_lsn), text_array_cell(window.backups)});
    }
}

// Calls `add(rows, known)` for every repository of which something is known.
Rows catalog_rows(void (*add)(Rows &rows, const KnownCatalog &known)) {
    Rows rows;
    for (const KnownCatalog &known : shown_catalogs(current_settings(), server_facts()))
        add(rows, known);
    return rows;
}

Datum return_catalog(FunctionCallInfo fcinfo, void (*add)(Rows &rows, const KnownCatalog &known)) {
    return cpp_section([&] { return return_rows(fcinfo, catalog_rows(add)); });
}

// What can be read is brought up to date even where one repository cannot.
void refresh_catalogs() {
    if (current_settings().repositories.empty())
        throw no_repository_error();
    for (const CatalogReading &reading : read_catalogs(current_settings(), server_facts()))
        if (reading.problem)
            throw Error(*reading.problem);
}

} // namespace

} // namespace pgvigil

extern "C" {
PG_FUNCTION_INFO_V1(pgv_refresh);
PG_FUNCTION_INFO_V1(pgv_read_backups);
PG_FUNCTION_INFO_V1(pgv_read_chains);
PG_FUNCTION_INFO_V1(pgv_read_wal_ranges);
PG_FUNCTION_INFO_V1(pgv_read_recovery_windows);

Datum pgv_refresh(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return pgvigil::cpp_section([] {
        pgvigil::refresh_catalogs();
        PG_RETURN_VOID();
    });
}
Datum pgv_read_backups(PG_FUNCTION_ARGS) {
    return pgvigil::return_catalog(fcinfo, pgvigil::add_backups);
}
Datum pgv_read_chains(PG_FUNCTION_ARGS) {
    return pgvigil::return_catalog(fcinfo, pgvigil::add_chains);
}
Datum pgv_read_wal_ranges(PG_FUNCTION_ARGS) {
    return pgvigil::return_catalog(fcinfo, pgvigil::add_ranges);
}
Datum pgv_read_recovery_windows(PG_FUNCTION_ARGS) {
    return pgvigil::return_catalog(fcinfo, pgvigil::add_windows);
}
}
