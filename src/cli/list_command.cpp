#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "cli/common_options.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "plan/chains.h"
#include "plan/recovery_windows.h"
#include "plan/wal_spans.h"
#include "transfer/restore_facts.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fmt/format.h>

namespace pgvigil::cli {

namespace {

constexpr const char *kExamples = R"(Examples:
  pgvigil list --repository s3://bucket/prod?region=eu-west-1
  pgvigil list --repository file:///backup/pg --chains
  pgvigil list --repository file:///backup/pg --json)";

constexpr unsigned kVersionPerMajor = 10000;

struct ListOptions {
    CommonOptions common;
    bool chains = false;
};

struct ClusterListing {
    Catalog catalog;
    std::vector<RecoveryWindow> windows;
};

struct RepositoryListing {
    std::string url;
    std::string id;
    std::vector<ClusterListing> clusters;
};

ClusterListing list_cluster(const RootedStore &root, uint64_t cluster, const CancelToken &cancel) {
    const auto repository = repositories_of({root}, cluster).front();
    ClusterListing listing;
    listing.catalog = load_catalog(*repository, cancel);
    RepositoryWalFacts facts(*repository, listing.catalog, cancel);
    listing.windows = recovery_windows(listing.catalog, &facts);
    return listing;
}

Json backup_json(const Catalog &catalog, const CommitDocument &backup) {
    Json out = {{"id", backup.id},
                {"kind", backup.full ? "full" : "incremental"},
                {"chain", chain_of(backup)},
                {"parents", backup.parents},
                {"needed_by", children_of(catalog, backup)},
                {"restorable", is_restorable(catalog, backup)},
                {"problem", nullptr},
                {"kept", false},
                {"keep_until", nullptr},
                {"started", iso_time_ms(backup.started_ms)},
                {"stopped", iso_time_ms(backup.stopped_ms)},
                {"server_version", backup.server_version},
                {"start_timeline", backup.start_timeline},
                {"start_lsn", to_string(backup.start_lsn)},
                {"stop_timeline", backup.stop_timeline},
                {"stop_lsn", to_string(backup.stop_lsn)},
                {"files", backup.totals.files},
                {"bytes", backup.totals.logical_bytes},
                {"new_bytes", backup.totals.new_bytes},
                {"stored_bytes", backup.totals.stored_bytes},
                {"from_standby", backup.from_standby},
                {"page_checksums", backup.checksum_version != 0},
                {"damaged_files", backup.damage.size()},
                {"host", backup.host}};
    if (const auto problem = why_not_restorable(catalog, backup))
        out["problem"] = *problem;
    if (const auto keep = catalog.keeps.find(backup.id);
        keep != catalog.keeps.end() && keep->second.holds(unix_time_ms())) {
        out["kept"] = true;
        if (keep->second.until_ms)
            out["keep_until"] = iso_time_ms(*keep->second.until_ms);
    }
    return out;
}

Json chain_json(const BackupChain &chain) {
    return {{"chain", chain.id},
            {"backups", chain.backups},
            {"from", iso_time_ms(chain.from_ms)},
            {"to", iso_time_ms(chain.to_ms)},
            {"timelines", chain.timelines},
            {"bytes", chain.logical_bytes},
            {"stored_bytes", chain.stored_bytes},
            {"restorable", chain.usable.size() == chain.backups.size()},
            {"newest", chain.usable.empty() ? Json() : Json(chain.usable.back())},
            {"missing", chain.missing}};
}

Json span_json(const TimelineWal &wal, const WalSpan &span, uint64_t segment_size) {
    return {{"from", to_string(span.from)},
            {"to", to_string(span.to)},
            {"first_segment", segment_name(wal.timeline, span.first, segment_size)},
            {"last_segment", segment_name(wal.timeline, span.last, segment_size)}};
}

Json timeline_json(const TimelineWal &wal, uint64_t segment_size) {
    Json out = {{"timeline", wal.timeline}, {"has_history", wal.has_history}};
    for (const char *list : {"ranges", "streamed", "gaps"})
        out[list] = Json::array();
    for (const WalSpan &span : wal_spans(wal, segment_size)) {
        if (span.state == WalSpan::State::kMissing)
            out["gaps"].push_back({{"from", to_string(span.from)}, {"to", to_string(span.to)}});
        else
            out[span.state == WalSpan::State::kStored ? "ranges" : "streamed"].push_back(
                span_json(wal, span, segment_size));
    }
    return out;
}

Json window_json(const RecoveryWindow &window) {
    Json out = {{"timeline", window.timeline},
                {"from_lsn", to_string(window.from_lsn)},
                {"to_lsn", to_string(window.to_lsn)},
                {"from_time", iso_time_ms(window.from_ms)},
                {"to_time", nullptr},
                {"backups", window.backups}};
    if (window.to_us)
        out["to_time"] = postgres_time_us(*window.to_us);
    return out;
}

Json cluster_json(const ClusterListing &cluster) {
    const Catalog &catalog = cluster.catalog;
    Json out = {{"system_identifier", std::to_string(catalog.system_identifier)},
                {"wal_segment_size", catalog.segment_size},
                {"backups", Json::array()},
                {"chains", Json::array()},
                {"timelines", Json::array()},
                {"recovery_windows", Json::array()},
                {"epochs", Json::array()},
                {"unreadable", Json::array()}};
    for (const CommitDocument &backup : catalog.backups)
        out["backups"].push_back(backup_json(catalog, backup));
    for (const BackupChain &chain : backup_chains(catalog))
        out["chains"].push_back(chain_json(chain));
    for (const TimelineWal &wal : catalog.timelines)
        out["timelines"].push_back(timeline_json(wal, catalog.segment_size));
    for (const RecoveryWindow &window : cluster.windows)
        out["recovery_windows"].push_back(window_json(window));
    for (const EpochDocument &epoch : catalog.epochs)
        out["epochs"].push_back({{"number", epoch.number},
                                 {"timeline", epoch.timeline},
                                 {"lsn", to_string(epoch.lsn)},
                                 {"host", epoch.host},
                                 {"reason", epoch.reason},
                                 {"breaks", epoch.breaks},
                                 {"created", iso_time_ms(epoch.created_ms)}});
    for (const UnreadableDocument &document : catalog.unreadable)
        out["unreadable"].push_back({{"key", document.key}, {"message", document.message}});
    return out;
}

std::string problem_text(const Catalog &catalog, const CommitDocument &backup) {
    const auto problem = why_not_restorable(catalog, backup);
    return problem ? ", CANNOT BE RESTORED: " + *problem : "";
}

void print_backups(const Catalog &catalog) {
    if (catalog.backups.empty()) {
        std::printf("  no backup yet\n");
        return;
    }
    fmt::print("  {:<17} {:<11} {:<20} {:>10} {:>10} {:>10}  {}\n", "backup", "kind", "stopped (UTC)", "took", "size",
               "stored", "consistent at");
    for (const CommitDocument &backup : catalog.backups)
        fmt::print(
            "  {:<17} {:<11} {:<20} {:>10} {:>10} {:>10}  {} on timeline {}{}{}{}\n", backup.id,
            backup.full ? "full" : "incremental", iso_time_ms(backup.stopped_ms).substr(0, 19),
            pretty_seconds(static_cast<uint64_t>(std::max<int64_t>(0, backup.stopped_ms - backup.started_ms)) / 1000),
            pretty_bytes(backup.totals.logical_bytes), pretty_bytes(backup.totals.stored_bytes),
            to_string(backup.stop_lsn), backup.stop_timeline, backup.from_standby ? ", from a standby" : "",
            backup.damage.empty() ? "" : ", WITH DAMAGED PAGES", problem_text(catalog, backup));
}

void print_chains(const Catalog &catalog) {
    fmt::print("  {:<17} {:>7} {:<41} {:>10} {:>10}  {}\n", "chain", "backups", "from and to (UTC)", "size", "stored",
               "newest that can be restored");
    for (const BackupChain &chain : backup_chains(catalog))
        fmt::print("  {:<17} {:>7} {:<20} {:<20} {:>10} {:>10}  {}{}\n", chain.id, chain.backups.size(),
                   iso_time_ms(chain.from_ms).substr(0, 19), iso_time_ms(chain.to_ms).substr(0, 19),
                   pretty_bytes(chain.logical_bytes), pretty_bytes(chain.stored_bytes),
                   chain.usable.empty() ? "none" : chain.usable.back(),
                   chain.missing.empty() ? "" : ", " + chain.missing.front() + " IS MISSING");
}

void print_wal(const Catalog &catalog) {
    for (const TimelineWal &wal : catalog.timelines) {
        fmt::print("  WAL of timeline {}{}\n", wal.timeline,
                   wal.timeline > 1 && !wal.has_history ? " (its history file is missing)" : "");
        for (const WalSpan &span : wal_spans(wal, catalog.segment_size)) {
            const std::string range = to_string(span.from) + " to " + to_string(span.to);
            const std::string bytes = pretty_bytes(span.to.value - span.from.value);
            if (span.state == WalSpan::State::kMissing)
                fmt::print("    GAP: {} is missing\n", range);
            else if (span.state == WalSpan::State::kStreamed)
                fmt::print("    {}: streamed, {}\n", range, bytes);
            else
                fmt::print("    {}: {} segments, {}\n", range, span.last - span.first + 1, bytes);
        }
    }
}

void print_cluster(const ClusterListing &cluster, bool chains) {
    const Catalog &catalog = cluster.catalog;
    fmt::print("cluster {}", catalog.system_identifier);
    if (!catalog.backups.empty())
        fmt::print(", PostgreSQL {}", catalog.backups.back().server_version / kVersionPerMajor);
    if (catalog.segment_size != 0)
        fmt::print(", WAL segments of {}", pretty_bytes(catalog.segment_size));
    fmt::print("\n");
    if (chains) {
        print_chains(catalog);
        return;
    }
    print_backups(catalog);
    print_wal(catalog);
    for (const RecoveryWindow &window : cluster.windows)
        fmt::print("  recovery window: {}\n", describe(window));
    if (cluster.windows.empty())
        fmt::print("  nothing can be restored yet\n");
    for (const UnreadableDocument &document : catalog.unreadable)
        fmt::print("  UNREADABLE: {}: {}\n", document.key, document.message);
}

int run_list(const ListOptions &list) {
    const CommonOptions &options = list.common;
    StandardErrorLog log;
    const CancelOnSignal signals;
    const CancelToken &cancel = signals.token();
    std::vector<RepositoryListing> listings;
    for (const RootedStore &root : open_roots(options, log, cancel)) {
        RepositoryListing listing{root.named.store->display_name(), to_string(root.document.id), {}};
        std::vector<uint64_t> clusters = list_clusters(*root.named.store, cancel);
        if (!options.system_identifier.empty())
            clusters = {parse_number("--system-identifier", options.system_identifier, 1, UINT64_MAX)};
        for (const uint64_t cluster : clusters)
            listing.clusters.push_back(list_cluster(root, cluster, cancel));
        listings.push_back(std::move(listing));
    }
    if (options.json) {
        Json out = {{"repositories", Json::array()}};
        for (const RepositoryListing &listing : listings) {
            Json repository = {{"url", listing.url}, {"id", listing.id}, {"clusters", Json::array()}};
            for (const ClusterListing &cluster : listing.clusters)
                repository["clusters"].push_back(cluster_json(cluster));
            out["repositories"].push_back(std::move(repository));
        }
        std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
        return 0;
    }
    for (const RepositoryListing &listing : listings) {
        fmt::print("repository {} (id {})\n", listing.url, listing.id);
        for (const ClusterListing &cluster : listing.clusters)
            print_cluster(cluster, list.chains);
        if (listing.clusters.empty())
            fmt::print("  no cluster yet\n");
    }
    return 0;
}

} // namespace

void add_list_command(CLI::App &program, Action &action) {
    auto options = std::make_shared<ListOptions>();
    CLI::App *command = program.add_subcommand("list", "List backups, WAL with its gaps, and recovery windows");
    add_common_options(*command, options->common);
    add_json_option(*command, options->common);
    command->add_flag("--chains", options->chains, "Show chains of backups instead of backups and WAL");
    command->footer(kExamples);
    command->callback([options, &action] { action = [options] { return run_list(*options); }; });
}

} // namespace pgvigil::cli
