#include "server/pg.h"

#include "server/catalog_watch.h"

#include "server/catalog_store.h"
#include "server/pg_time.h"
#include "server/shared_state.h"

#include "plan/recovery_windows.h"

#include <algorithm>

namespace pgvigil {

namespace {

void publish_repositories(const std::vector<CatalogReading> &readings) {
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        const TimestampTz now = GetCurrentTimestamp();
        shared.repository_count = 0;
        for (const CatalogReading &reading : readings) {
            if (shared.repository_count >= kMaxRepositories)
                break;
            SharedRepository &entry = shared.repositories[shared.repository_count++];
            if (strncmp(entry.url, reading.url.c_str(), sizeof entry.url - 1) != 0) {
                memset(&entry, 0, sizeof entry);
                set_text(entry.url, reading.url.c_str());
            }
            if (!reading.id.empty())
                set_text(entry.id, reading.id.c_str());
            entry.conditional_create = reading.conditional;
            if (reading.known)
                entry.backups = static_cast<uint32_t>(reading.known->catalog.backups.size());
            if (reading.problem) {
                set_text(entry.last_error, reading.problem->message().c_str());
                if (entry.failing_since == 0)
                    entry.failing_since = now;
            } else {
                entry.last_ok = now;
                entry.failing_since = 0;
                entry.last_error[0] = '\0';
            }
        }
    });
}

// The window that ends latest: the answer to "up to when could I restore?".
const RecoveryWindow *newest_window(const std::vector<RecoveryWindow> &windows) {
    const auto newest = std::max_element(windows.begin(), windows.end(), [](const auto &a, const auto &b) {
        return std::pair(a.timeline, a.to_lsn) < std::pair(b.timeline, b.to_lsn);
    });
    return newest == windows.end() ? nullptr : &*newest;
}

void publish_catalog(const CatalogReading &reading) {
    const RecoveryWindow *const window = newest_window(reading.windows);
    const auto &backups = reading.known->catalog.backups;
    const CommitDocument *const last = backups.empty() ? nullptr : &backups.back();
    uint64_t bad_pages = 0;
    if (last != nullptr)
        for (const PageDamage &damage : last->damage)
            bad_pages += damage.bad_pages;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        SharedKeeper &keeper = shared.keeper;
        keeper.catalog_time = GetCurrentTimestamp();
        keeper.backups = static_cast<uint32_t>(backups.size());
        keeper.bad_pages = bad_pages;
        set_text(keeper.last_backup, last != nullptr ? last->id.c_str() : "");
        keeper.last_backup_stopped = last != nullptr ? timestamp_from_unix_us(last->stopped_ms * 1000) : 0;
        keeper.has_window = window != nullptr;
        if (window == nullptr)
            return;
        keeper.window_from = timestamp_from_unix_us(window->from_ms * 1000);
        const int64_t end_us = window->to_us ? *window->to_us : window->stored_ms.value_or(window->from_ms) * 1000;
        keeper.window_to = timestamp_from_unix_us(std::max(end_us, window->from_ms * 1000));
        keeper.window_from_lsn = window->from_lsn.value;
        keeper.window_to_lsn = window->to_lsn.value;
        keeper.window_timeline = window->timeline;
    });
}

} // namespace

CatalogSummary refresh_catalog(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop) {
    const std::vector<CatalogReading> readings = read_catalogs(settings, facts, stop);
    publish_repositories(readings);
    CatalogSummary summary;
    const auto usable =
        std::find_if(readings.begin(), readings.end(), [](const CatalogReading &r) { return r.known.has_value(); });
    const bool all_known =
        std::none_of(readings.begin(), readings.end(), [](const CatalogReading &r) { return r.problem.has_value(); });
    if (usable != readings.end()) {
        publish_catalog(*usable);
        summary.behind_a_gap = wal_behind_a_gap(usable->known->catalog, usable->windows).value_or(Lsn{});
        summary.backups = static_cast<uint32_t>(usable->known->catalog.backups.size());
        for (const CatalogReading &reading : readings)
            if (reading.known)
                summary.backups =
                    std::min(summary.backups, static_cast<uint32_t>(reading.known->catalog.backups.size()));
        for (const CommitDocument &backup : usable->known->catalog.backups)
            if (backup.full)
                summary.last_full_start = std::max(summary.last_full_start, backup.start_lsn);
    }
    // A repository that does not answer may hold backups: nothing is concluded from its silence.
    summary.readable = all_known && !readings.empty();
    return summary;
}

} // namespace pgvigil
