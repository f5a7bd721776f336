#include "server/pg.h"

#include "server/backup_choice.h"

#include "server/backup_mode.h"
#include "server/boundary.h"
#include "server/log_queue.h"
#include "server/shared_state.h"
#include "server/standby_wal.h"
#include "server/waiting.h"
#include "server/wal_gaps.h"
#include "server/wal_summaries.h"

#include "repo/catalog.h"

#include <algorithm>

namespace pgvigil {

namespace {

std::vector<TimelineSwitch> ancestors_of(TimelineId timeline) {
    List *history = nullptr;
    pg_section([&]() noexcept { history = readTimeLineHistory(timeline); });
    std::vector<TimelineSwitch> ancestors;
    // Newest first, the timeline itself at its head.
    for (int i = list_length(history) - 1; i > 0; --i) {
        const auto *entry = static_cast<const TimeLineHistoryEntry *>(list_nth(history, i));
        ancestors.push_back({entry->tli, Lsn{entry->end}, ""});
    }
    return ancestors;
}

ClusterFacts cluster_facts(const ServerFacts &facts, const Bytes &control_file) {
    ClusterFacts cluster;
    cluster.system_identifier = facts.system_identifier;
    cluster.major_version = facts.server_version / 10000;
    cluster.checksum_version = checksum_version_of(control_file);
    cluster.block_size = BLCKSZ;
    cluster.relation_segment_blocks = RELSEG_SIZE;
    const WalPosition end = earliest_backup_stop(control_file);
    cluster.timeline = end.timeline;
    cluster.start_lsn = end.lsn;
    cluster.ancestors = ancestors_of(end.timeline);
    return cluster;
}

bool is_same_backup(const CommitDocument &a, const CommitDocument &b) {
    return a.id == b.id && a.instance == b.instance && a.start_lsn == b.start_lsn && a.stop_lsn == b.stop_lsn &&
           a.started_ms == b.started_ms;
}

// What `backups` and `others` both hold.
void keep_common(std::vector<CommitDocument> &backups, const std::vector<CommitDocument> &others) {
    std::erase_if(backups, [&](const CommitDocument &backup) {
        return std::none_of(others.begin(), others.end(),
                            [&](const CommitDocument &other) { return is_same_backup(backup, other); });
    });
}

} // namespace

BackupChoice::BackupChoice(WantedKind wanted, const Settings &settings, const ServerFacts &facts,
                           std::vector<std::shared_ptr<Repository>> repositories, const Bytes &control_file,
                           const std::function<bool()> &tick)
    : repositories_(std::move(repositories)) {
    request_.wanted = wanted;
    request_.chain_max = settings.chain_max;
    request_.block_hashes = settings.block_hashes;
    const std::string gap = wanted == WantedKind::kFull ? "" : wal_gap_reason();
    if (wanted == WantedKind::kFull || !gap.empty()) {
        request_.wanted = WantedKind::kFull;
        decide();
        if (!gap.empty())
            decision_.reason = gap;
        return;
    }
    cluster_ = cluster_facts(facts, control_file);
    read_offers(tick);
    choice_ = choose_parent(backups_, {}, cluster_);
    if (choice_.parent != nullptr) {
        const WalSummaries summaries = expect_wal_summaries(
            wal_ranges_between(parent().start_lsn, parent().start_timeline, cluster_.start_lsn, cluster_.timeline));
        request_.summaries_available = summaries.problem.empty();
        request_.no_summaries_reason = summaries.problem;
    }
    decide();
}

// A repository that does not answer is left out: what it has is not known, and a backup there could lack its parents.
void BackupChoice::read_offers(const std::function<bool()> &tick) {
    in_background(
        [&](const CancelToken &cancel) {
            std::vector<std::shared_ptr<Repository>> readable;
            std::optional<Error> problem;
            for (const std::shared_ptr<Repository> &repository : repositories_) {
                try {
                    Catalog catalog = load_catalog(*repository, cancel);
                    if (catalog.epochs.size() > cluster_.epochs.size())
                        cluster_.epochs = std::move(catalog.epochs);
                    if (readable.empty())
                        backups_ = std::move(catalog.backups);
                    else
                        keep_common(backups_, catalog.backups);
                    readable.push_back(repository);
                } catch (const Error &error) {
                    if (error.code() == ErrorCode::kCancelled)
                        throw;
                    process_log().emit(LogLevel::kWarning, "the backup leaves out \"" + repository->url() + "\"",
                                       error.message());
                    problem = error;
                }
            }
            if (readable.empty())
                throw Error(*problem);
            repositories_ = std::move(readable);
        },
        tick);
}

void BackupChoice::decide() {
    decision_ = decide_kind(request_, choice_, backups_);
}

void BackupChoice::do_without_summaries(const std::string &problem) {
    request_.summaries_available = false;
    request_.no_summaries_reason = problem;
    decide();
}

std::string wal_gap_reason() {
    const std::vector<WalGap> gaps = read_gaps(DataDir);
    if (!gaps.empty())
        return "WAL file \"" + gaps.front().file + "\" was let go without being archived.";
    uint64_t behind = 0;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { behind = shared.keeper.behind_a_gap; });
    return behind == 0 ? "" : "The archive has a gap before " + to_string(Lsn{behind}) + ".";
}

} // namespace pgvigil
