// The views that read the repositories. The work runs in a thread; a cancelled query ends it.
#include "server/pg.h"

#include "server/boundary.h"
#include "server/repositories.h"
#include "server/server_facts.h"
#include "server/settings.h"
#include "server/sql_rows.h"
#include "server/waiting.h"

#include "base/json.h"
#include "base/time.h"
#include "base/wal_name.h"
#include "plan/recovery_windows.h"
#include "repo/catalog.h"
#include "transfer/restore_facts.h"

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

Row backup_row(const std::string &repository, const CommitDocument &backup) {
    uint64_t bad_pages = 0;
    for (const PageDamage &file : backup.damage)
        bad_pages += file.bad_pages;
    return {cell(repository),
            cell(backup.id),
            cell(backup.full ? "full" : "incremental"),
            unix_ms_cell(backup.started_ms),
            unix_ms_cell(backup.stopped_ms),
            cell(backup.start_timeline),
            cell(backup.start_lsn),
            cell(backup.stop_lsn),
            cell(backup.from_standby),
            cell(backup.totals.files),
            cell(backup.totals.logical_bytes),
            cell(backup.totals.new_bytes),
            cell(backup.totals.stored_bytes),
            cell(bad_pages),
            cell(json_of(backup.damage)),
            cell(json_of(backup.annotations_json)),
            text_array_cell(backup.parents),
            cell(backup.server_version),
            cell(backup.product_version),
            cell(backup.compression),
            cell(backup.host)};
}

Row range_row(const std::string &repository, TimelineId timeline, const char *state, uint64_t first, uint64_t last,
              uint64_t segment_size) {
    return {cell(repository),
            cell(timeline),
            cell(state),
            cell(segment_start(first, segment_size)),
            cell(segment_start(last + 1, segment_size)),
            cell(segment_name(timeline, first, segment_size)),
            cell(segment_name(timeline, last, segment_size)),
            cell(last - first + 1)};
}

void add_ranges(Rows &rows, const Repository &source, const Catalog &catalog, const CancelToken & /*cancel*/) {
    const std::string &repository = source.store().display_name();
    for (const TimelineWal &wal : catalog.timelines) {
        std::optional<uint64_t> before;
        for (const SegmentRun &run : wal.runs) {
            if (before && run.first > *before + 1)
                rows.push_back(
                    range_row(repository, wal.timeline, "missing", *before + 1, run.first - 1, catalog.segment_size));
            rows.push_back(range_row(repository, wal.timeline, "stored", run.first, run.last, catalog.segment_size));
            before = run.last;
        }
    }
}

void add_windows(Rows &rows, const Repository &repository, const Catalog &catalog, const CancelToken &cancel) {
    RepositoryWalFacts wal(repository, catalog.segment_size, cancel);
    for (const RecoveryWindow &window : recovery_windows(catalog, &wal)) {
        const Cell end =
            window.to_us ? Cell(postgres_time_us(*window.to_us)) : unix_ms_cell(window.stored_ms.value_or(0));
        rows.push_back({cell(repository.store().display_name()), cell(window.timeline), unix_ms_cell(window.from_ms),
                        end, cell(window.from_lsn), cell(window.to_lsn), text_array_cell(window.backups)});
    }
}

// Calls `add(rows, repository, catalog, cancel)` for every repository that can be read.
template <class Add> Rows catalog_rows(Add add) {
    const Settings settings = current_settings();
    if (settings.repositories.empty())
        return {};
    const ServerFacts facts = server_facts();
    return in_background([&](const CancelToken &cancel) {
        Rows rows;
        for (const auto &repository : open_for_reading(settings, facts, cancel))
            add(rows, *repository, load_catalog(*repository, cancel), cancel);
        return rows;
    });
}

} // namespace

} // namespace pgvigil

extern "C" {
PG_FUNCTION_INFO_V1(pgv_read_backups);
PG_FUNCTION_INFO_V1(pgv_read_wal_ranges);
PG_FUNCTION_INFO_V1(pgv_read_recovery_windows);

Datum pgv_read_backups(PG_FUNCTION_ARGS) {
    using namespace pgvigil;
    return cpp_section([&] {
        return return_rows(fcinfo, catalog_rows([](Rows &rows, const Repository &repository, const Catalog &catalog,
                                                   const CancelToken & /*cancel*/) {
                               for (const CommitDocument &backup : catalog.backups)
                                   rows.push_back(backup_row(repository.store().display_name(), backup));
                           }));
    });
}
Datum pgv_read_wal_ranges(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section(
        [&] { return pgvigil::return_rows(fcinfo, pgvigil::catalog_rows(pgvigil::add_ranges)); });
}
Datum pgv_read_recovery_windows(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section(
        [&] { return pgvigil::return_rows(fcinfo, pgvigil::catalog_rows(pgvigil::add_windows)); });
}
}
