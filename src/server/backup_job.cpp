#include "server/pg.h"

#include "server/backup_job.h"

#include "server/boundary.h"
#include "server/log_queue.h"
#include "server/progress.h"
#include "server/standby_wal.h"
#include "server/waiting.h"
#include "server/wal_summaries.h"

#include "base/time.h"
#include "transfer/backup_changes.h"

#include <set>

namespace pgvigil {

namespace {

constexpr std::chrono::milliseconds kStandbyPatience{15000};
constexpr size_t kMaxOwnSegments = 100000;

BackupSource source_for(const BackupMode &mode, const ServerFacts &facts, const Bytes &control_file) {
    BackupSource source;
    source.data_directory = facts.data_directory;
    source.tablespaces = mode.tablespaces();
    source.block_size = BLCKSZ;
    source.relation_segment_blocks = RELSEG_SIZE;
    source.server_major_version = facts.server_version / 10000;
    source.page_checksums = checksum_version_of(control_file) != 0;
    source.start_lsn = mode.start();
    source.tablespace_version_directory = TABLESPACE_VERSION_DIRECTORY;
    source.group_access = data_directory_mode == PG_DIR_MODE_GROUP;
    return source;
}

// The WAL between the parent's start and this backup's. A standby's may begin earlier: then none is.
std::vector<WalRange> changed_ranges(const CommitDocument &parent, const BackupMode &mode) {
    if (parent.start_lsn >= mode.start())
        return {};
    return wal_ranges_between(parent.start_lsn, parent.start_timeline, mode.start(), mode.start_timeline());
}

void say_what_begins(const std::string &id, const BackupChoice &choice) {
    const std::string kind = choice.full() ? "full" : "incremental on " + choice.parent().id;
    const char *name = id.c_str();
    const char *what = kind.c_str();
    const char *why = choice.decision().reason.c_str();
    pg_section(
        [=]() noexcept { ereport(LOG, (errmsg("pgvigil backup %s starts: %s", name, what), errdetail("%s", why))); });
}

} // namespace

BackupJob::BackupJob(BackupOrder order, BackupProgress &progress, std::function<void(const BackupName &name)> named)
    : order_(std::move(order)), progress_(progress), named_(std::move(named)), settings_(current_settings()),
      facts_(server_facts()) {}

bool BackupJob::tick() {
    report_progress(progress_);
    if (!facts_.in_recovery)
        return false;
    bool still_standby = true;
    pg_section([&]() noexcept { still_standby = RecoveryInProgress(); });
    return !still_standby;
}

BackupResult BackupJob::run() {
    started_ms_ = unix_time_ms();
    progress_.phase = BackupPhase::kStarting;
    report_progress(progress_);
    open();
    // Read once before the copy as well: what is wrong with it is said before anything is stored.
    control_file_ = read_control_file();

    choose();
    // Before the checkpoint, which may take minutes: whoever asked for the backup wants to know its id.
    begin();

    progress_.phase = BackupPhase::kCheckpoint;
    report_progress(progress_);
    BackupMode mode("pgvigil " + iso_time_ms(started_ms_), order_.fast);
    look_for_changes(mode);
    copy(mode);
    // The last file of the data directory that is read: on a standby it says where the copy becomes consistent.
    control_file_ = read_control_file();
    stop(mode);
    wait_for_wal(mode);

    progress_.phase = BackupPhase::kCommitting;
    report_progress(progress_);
    BackupResult result;
    result.repositories =
        in_background([&](const CancelToken &cancel) { return backup_->commit(describe_backup(mode), cancel); },
                      [this] { return tick(); });
    progress_.phase = BackupPhase::kDone;
    report_progress(progress_);
    result.id = id_;
    result.parent = choice_->full() ? "" : choice_->parent().id;
    result.start = mode.start();
    result.damage = backup_->damage();
    return result;
}

void BackupJob::open() {
    if (settings_.repositories.empty())
        throw no_repository_error();
    claim_ = std::make_unique<Claim>(settle_role_now(settings_).value());
}

void BackupJob::choose() {
    choice_ = std::make_unique<BackupChoice>(order_.kind, settings_, facts_, claim_->repositories, control_file_,
                                             [this] { return tick(); });
}

void BackupJob::begin() {
    BackupOptions options;
    options.compression = settings_.compression;
    options.threads = settings_.backup_threads;
    options.max_rate = settings_.max_rate;
    options.epoch = claim_->epoch;
    options.block_hashes = settings_.block_hashes;
    // This server makes one backup at a time: another of its attempts has died.
    options.dead_attempts.alone = true;
    backup_ = std::make_unique<BackupWriter>(choice_->repositories(), options, progress_, process_log());

    AttemptDocument attempt;
    attempt.parents = choice_->decision().parents;
    attempt.system_identifier = facts_.system_identifier;
    const WalPosition before = earliest_backup_start(control_file_);
    attempt.timeline = before.timeline;
    attempt.start_lsn = before.lsn;
    attempt.checksum_version = checksum_version_of(control_file_);
    attempt.instance = claim_->instance;
    attempt.host = facts_.host;
    attempt.started_ms = started_ms_;
    id_ = in_background([&](const CancelToken &cancel) { return backup_->begin(attempt, choice_->full(), cancel); });
    named_({id_, choice_->full() ? "" : choice_->parent().id, choice_->decision().reason});
    say_what_begins(id_, *choice_);
}

void BackupJob::look_for_changes(const BackupMode &mode) {
    if (choice_->full() || choice_->decision().method != ChangeMethod::kSummaries)
        return;
    progress_.phase = BackupPhase::kWaitingForSummaries;
    const WalSummaries summaries =
        await_wal_summaries(changed_ranges(choice_->parent(), mode), [this] { return tick(); });
    std::string problem = summaries.problem;
    if (problem.empty()) {
        try {
            changes_ = in_background([&](const CancelToken &cancel) {
                return std::make_shared<const BlockChanges>(load_wal_summaries(summaries.paths, cancel));
            });
            return;
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            problem = "WAL summaries are of no use: " + error.message() + ".";
        }
    }
    choice_->do_without_summaries(problem);
    if (choice_->full())
        begin();
    else
        say_what_begins(id_, *choice_);
}

void BackupJob::copy(const BackupMode &mode) {
    progress_.phase = BackupPhase::kEstimating;
    source_ = source_for(mode, facts_, control_file_);
    source_.method = choice_->decision().method;
    source_.changes = changes_;
    in_background([&](const CancelToken &cancel) { backup_->copy(source_, cancel); }, [this] { return tick(); });
}

void BackupJob::stop(BackupMode &mode) {
    mode.stop();
    stopped_ms_ = unix_time_ms();
    // Blocks of the parent may be as new as its end: the copy is consistent only from there on.
    if (!choice_->full() && mode.stop_position() < choice_->parent().stop_lsn)
        throw Error(ErrorCode::kConflict, "the backup would end before its parent")
            .detail("It ends at " + to_string(mode.stop_position()) + ", backup " + choice_->parent().id + " at " +
                    to_string(choice_->parent().stop_lsn) + ".")
            .hint("Wait until the standby has replayed more, or make a full backup.");
}

void BackupJob::wait_for_wal(const BackupMode &mode) {
    progress_.phase = BackupPhase::kWaitingForWal;
    report_progress(progress_);
    ranges_ = wal_ranges_between(mode.start(), mode.start_timeline(), mode.stop_position(), mode.stop_timeline());
    WalNeed need;
    need.ranges = ranges_;
    need.segment_size = facts_.wal_segment_size;
    need.required = settings_.required;
    std::chrono::milliseconds timeout = std::chrono::seconds(order_.wal_timeout_s);
    // An idle primary never completes its segment: a standby brings the WAL itself instead of waiting long.
    if (facts_.in_recovery)
        timeout = std::min(timeout, kStandbyPatience);
    try {
        in_background(
            [&](const CancelToken &cancel) { wait_until_stored(claim_->repositories, need, timeout, cancel); },
            [this] { return tick(); });
    } catch (const Error &error) {
        if (!facts_.in_recovery || error.code() != ErrorCode::kTimeout)
            throw;
        bring_own_wal(need, mode.stop_position());
    }
}

void BackupJob::bring_own_wal(const WalNeed &need, Lsn stop) {
    const auto names = in_background(
        [&](const CancelToken &cancel) {
            std::set<std::string> missing;
            for (const auto &repository : claim_->repositories)
                for (std::string &name : missing_segments(*repository, need, kMaxOwnSegments, cancel))
                    missing.insert(std::move(name));
            return missing;
        },
        [this] { return tick(); });
    for (const std::string &name : names) {
        const Bytes content = read_local_segment(name, stop);
        in_background(
            [&](const CancelToken &cancel) {
                backup_->add_file("pg_wal/" + name, content, source_.group_access ? 0640 : 0600, unix_time_ms(),
                                  cancel);
            },
            [this] { return tick(); });
    }
    own_wal_ = true;
}

CommitDocument BackupJob::describe_backup(const BackupMode &mode) const {
    CommitDocument document;
    document.full = choice_->full();
    document.system_identifier = facts_.system_identifier;
    document.server_version = facts_.server_version;
    document.block_size = BLCKSZ;
    document.relation_segment_blocks = RELSEG_SIZE;
    document.wal_segment_size = facts_.wal_segment_size;
    document.checksum_version = checksum_version_of(control_file_);
    document.start_lsn = mode.start();
    document.start_timeline = mode.start_timeline();
    document.stop_lsn = mode.stop_position();
    document.stop_timeline = mode.stop_timeline();
    document.wal_ranges = ranges_;
    document.started_ms = started_ms_;
    document.stopped_ms = stopped_ms_;
    document.from_standby = facts_.in_recovery;
    document.own_wal = own_wal_;
    document.group_access = data_directory_mode == PG_DIR_MODE_GROUP;
    document.host = facts_.host;
    document.instance = claim_->instance;
    document.product_version = PGVIGIL_VERSION;
    document.annotations_json = order_.annotations;
    document.tablespaces = mode.tablespaces();
    document.backup_label = mode.label();
    document.tablespace_map = mode.tablespace_map();
    document.control_file = control_file_;
    return document;
}

} // namespace pgvigil
