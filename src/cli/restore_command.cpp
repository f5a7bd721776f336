#include "base/error.h"
#include "base/json.h"
#include "cli/common_options.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "cli/target_options.h"
#include "transfer/restore_job.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <thread>
#include <unistd.h>

namespace pgvigil::cli {

namespace {

using Clock = std::chrono::steady_clock;
constexpr unsigned kMaxThreads = 64;
constexpr std::chrono::milliseconds kProgressEvery{250};
constexpr double kMiBAsDouble = 1048576.0;

constexpr const char *kExamples = R"(Examples:
  Everything there is, into a new directory:
    pgvigil restore --repository s3://bucket/prod?region=eu-west-1 -D /var/lib/postgresql/17/main
  To the moment before a mistake, then open for writing by itself:
    pgvigil restore --repository file:///backup/pg -D /srv/pg --target-time '2026-11-20 08:59:00+00' \
        --target-action promote
  As a standby:
    pgvigil restore --repository file:///backup/pg -D /srv/standby --standby
  Over the data directory of the stopped server, writing only what differs:
    pgvigil restore --repository file:///backup/pg -D /srv/pg --delta
  What would be done:
    pgvigil restore --repository file:///backup/pg -D /srv/pg --dry-run
The restored server writes nothing into the repository until it takes over: --take-over REASON, or pgv_take_over().)";

struct Options {
    CommonOptions common;
    TargetOptions target;
    std::string directory;
    std::string action = "pause";
    std::vector<std::string> tablespace_map;
    std::string threads;
    std::string take_over;
    bool take_over_given = false;
    bool standby = false;
    bool dry_run = false;
    bool no_sync = false;
    bool delta = false;
};

std::string absolute_path(const char *option, const std::string &text) {
    if (text.empty())
        throw Error(ErrorCode::kInvalidArgument, fmt::format("{} needs a directory", option));
    std::string path = std::filesystem::absolute(text).lexically_normal().string();
    while (path.size() > 1 && path.back() == '/')
        path.pop_back();
    return path;
}

TargetAction parse_action(const std::string &text) {
    if (text == "pause")
        return TargetAction::kPause;
    if (text == "promote")
        return TargetAction::kPromote;
    if (text == "shutdown")
        return TargetAction::kShutdown;
    throw Error(ErrorCode::kInvalidArgument, fmt::format("invalid value \"{}\" for --target-action", text))
        .detail("One of pause, promote and shutdown is expected.");
}

// OLD=NEW; a '=' within a path is written "\=".
std::pair<std::string, std::string> parse_mapping(const std::string &text) {
    std::string sides[2];
    size_t side = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '=')
            sides[side].push_back(text[++i]);
        else if (text[i] == '=' && side == 0)
            side = 1;
        else
            sides[side].push_back(text[i]);
    }
    if (sides[0].empty() || sides[1].empty() || sides[0].front() != '/' || sides[1].front() != '/')
        throw Error(ErrorCode::kInvalidArgument, fmt::format("invalid value \"{}\" for --tablespace-map", text))
            .detail("OLD=NEW with two absolute directories is expected.");
    return {absolute_path("--tablespace-map", sides[0]), absolute_path("--tablespace-map", sides[1])};
}

unsigned default_threads() {
    // Half of the time a thread waits for the store.
    return std::clamp(2 * std::thread::hardware_concurrency(), 4U, 16U);
}

RestoreOptions restore_options(const Options &options, const Planned &planned, uint64_t cluster) {
    const RestorePlan &plan = planned.plan;
    RestoreOptions out;
    out.data_directory = absolute_path("-D", options.directory);
    for (const std::string &mapping : options.tablespace_map)
        out.tablespace_map.insert(parse_mapping(mapping));
    out.threads = options.threads.empty()
                      ? default_threads()
                      : static_cast<unsigned>(parse_number("--threads", options.threads, 1, kMaxThreads));
    out.sync = !options.no_sync;
    out.delta = options.delta;
    if (!options.take_over.empty())
        out.take_over = options.take_over;
    RecoverySettings &settings = out.settings;
    settings.standby = options.standby;
    settings.action = parse_action(options.action);
    settings.target_setting = plan.target_setting;
    settings.target_value = plan.target_value;
    settings.inclusive = plan.inclusive;
    settings.timeline = plan.target_timeline;
    RestoreCommand &command = settings.command;
    command.program = std::filesystem::read_symlink("/proc/self/exe").string();
    for (const RepositoryUrl &url : repository_urls(options.common))
        command.repositories.push_back(url.normalised());
    if (!options.common.credentials_file.empty())
        command.credentials_file = absolute_path("--credentials-file", options.common.credentials_file);
    command.system_identifier = cluster;
    command.wal_segment_size = planned.catalog.segment_size;
    if (!options.standby) {
        command.path = plan.path;
        // Where the plan ends before the WAL does, replay must end there too, and not stop at the gap.
        if (!command.path.empty() && (plan.to_planned_end || planned.goes_on)) {
            command.path = path_up_to(plan.path, plan.wal_to);
            settings.timeline = command.path.back().timeline;
        }
        // The server reads ahead: where the WAL of an old backup ends it asks for a segment that it does not need.
        else if (!command.path.empty() && plan.target_value == "immediate" &&
                 command.path.back().timeline == plan.window.timeline)
            command.path.back().end = plan.window.to_lsn;
    }
    return out;
}

// A cluster inside of the repository would look like a part of it, and go with it.
void check_place(const Options &options) {
    const std::string directory = absolute_path("-D", options.directory) + "/";
    for (const RepositoryUrl &url : repository_urls(options.common))
        if (url.kind == StoreKind::kFile && directory.rfind(url.path + "/", 0) == 0)
            throw Error(ErrorCode::kInvalidArgument,
                        fmt::format("\"{}\" lies inside of the repository", options.directory))
                .detail(fmt::format("The repository is \"{}\".", url.path))
                .hint("Restore into a directory elsewhere.");
}

// Only a warning: a file system that compresses holds more than it says.
void warn_of_little_space(const RestoreOptions &restore, const RestorePlan &plan, LogSink &log) {
    std::filesystem::path place = restore.data_directory;
    while (!std::filesystem::exists(place) && place.has_relative_path())
        place = place.parent_path();
    std::error_code failed;
    const std::filesystem::space_info space = std::filesystem::space(place, failed);
    if (!failed && space.available < plan.restored_bytes)
        log.emit(LogLevel::kWarning, fmt::format("there may be too little space below \"{}\"", place.string()),
                 fmt::format("{} are free, the cluster has {} with all of its tablespaces.",
                             pretty_bytes(space.available), pretty_bytes(plan.restored_bytes)));
}

void check_options(const Options &options, const RestoreRequest &request) {
    if (options.standby && !std::holds_alternative<LatestTarget>(request.target))
        throw Error(ErrorCode::kInvalidArgument, "a standby has no recovery target")
            .hint("Leave out either --standby or the target.");
    if (options.standby && options.take_over_given)
        throw Error(ErrorCode::kInvalidArgument, "a standby does not take over")
            .hint("Leave out either --standby or --take-over; a standby takes over when it is promoted.");
    if (options.take_over_given && (options.take_over.find_first_not_of(" \t") == std::string::npos ||
                                    options.take_over.find('\n') != std::string::npos))
        throw Error(ErrorCode::kInvalidArgument, "--take-over needs a reason of one line")
            .detail("It is kept in the repository beside the server's name.");
}

// Shows how far the restore is until it is destroyed.
class Reporter {
  public:
    Reporter(const RestoreProgress &progress, bool enabled)
        : progress_(progress), line_(enabled), started_(Clock::now()), thread_([this] { run(); }) {}
    ~Reporter() {
        stop_.cancel();
        thread_.join();
    }
    Reporter(const Reporter &) = delete;
    Reporter &operator=(const Reporter &) = delete;

  private:
    void run() {
        while (stop_.wait_for(kProgressEvery))
            line_.show(text());
        line_.clear();
    }

    [[nodiscard]] std::string text() const {
        switch (progress_.phase.load()) {
        case RestorePhase::kPreparing:
            return "preparing";
        case RestorePhase::kWal:
            return "fetching the WAL of the backup";
        case RestorePhase::kSyncing:
            return "making everything durable";
        case RestorePhase::kFiles:
        case RestorePhase::kDone:
            break;
        }
        const uint64_t done = progress_.bytes_done;
        const uint64_t total = std::max<uint64_t>(1, progress_.bytes_total);
        const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
        const uint64_t kept = progress_.bytes_kept;
        return fmt::format("{:3} %  {} of {}{}, {} of {} files, {:.0f} MB/s",
                           std::min<uint64_t>(100, done * 100 / total), pretty_bytes(done), pretty_bytes(total),
                           kept > 0 ? fmt::format(" ({} kept)", pretty_bytes(kept)) : "", progress_.files_done.load(),
                           progress_.files_total.load(), static_cast<double>(done) / kMiBAsDouble / seconds);
    }

    const RestoreProgress &progress_;
    ProgressLine line_;
    const Clock::time_point started_;
    CancelToken stop_;
    std::thread thread_;
};

void print_done(const Options &options, const Planned &planned, const RestoreOptions &restore,
                const RestoreProgress &progress, double seconds) {
    if (options.common.json) {
        Json out = Json::parse(plan_json(planned));
        out["directory"] = restore.data_directory;
        out["files"] = progress.files_done.load();
        out["bytes"] = progress.bytes_done.load();
        out["kept_bytes"] = progress.bytes_kept.load();
        out["fetched_bytes"] = progress.bytes_fetched.load();
        out["removed_files"] = progress.files_removed.load();
        out["seconds"] = seconds;
        std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
        return;
    }
    std::printf("restored backup %s into \"%s\": %s in %.1f s\n", planned.plan.backup.c_str(),
                restore.data_directory.c_str(), pretty_bytes(progress.bytes_done).c_str(), seconds);
    if (restore.delta)
        std::printf("kept %s of what was there, fetched %s, removed %llu files\n",
                    pretty_bytes(progress.bytes_kept).c_str(), pretty_bytes(progress.bytes_fetched).c_str(),
                    static_cast<unsigned long long>(progress.files_removed));
    std::printf("start the server to recover%s: pg_ctl -D %s start\n",
                options.standby ? " as a standby"
                : planned.plan.target_setting.empty()
                    ? " to the end of WAL"
                    : fmt::format(" to {} = '{}'", planned.plan.target_setting, planned.plan.target_value).c_str(),
                restore.data_directory.c_str());
}

// There is more WAL than the window reaches.
void warn_of_end(const Planned &planned, LogSink &log) {
    const RecoveryWindow &window = planned.plan.window;
    const auto &epochs = planned.catalog.epochs;
    const auto other = std::find_if(epochs.begin(), epochs.end(), [&](const EpochDocument &epoch) {
        return epoch.breaks && epoch.timeline == window.timeline && epoch.lsn == window.to_lsn;
    });
    if (other == epochs.end())
        log.emit(LogLevel::kWarning, "WAL is missing after the end of the recovery window", describe(window));
    else
        log.emit(LogLevel::kWarning, "another history begins at the end of the recovery window",
                 fmt::format("{}; from there on a server on host \"{}\" has taken over that had nothing in common with "
                             "what was stored (epoch {}, reason: {}). Restoring that takes a backup made since.",
                             describe(window), other->host, other->number, other->reason));
}

int run(const Options &options) {
    StandardErrorLog log;
    const CancelOnSignal signals;
    const RestoreRequest request = restore_request(options.target);
    check_options(options, request);
    check_place(options);
    const auto roots = open_roots(options.common, log, signals.token());
    const uint64_t cluster = choose_cluster(options.common, roots, signals.token());
    const auto repositories = repositories_of(roots, cluster);
    const Planned planned = make_plan(repositories, request, log, signals.token());
    const RestoreOptions restore = restore_options(options, planned, cluster);
    (void)tablespace_locations(planned.catalog.backup(planned.plan.backup)->tablespaces, restore.tablespace_map,
                               restore.data_directory);
    if (options.dry_run) {
        if (options.common.json)
            std::printf("%s\n", plan_json(planned).c_str());
        else
            for (const std::string &line : describe_plan(planned))
                std::printf("%s\n", line.c_str());
        return 0;
    }
    if (planned.goes_on && !options.standby)
        warn_of_end(planned, log);
    const bool by_environment = std::getenv("AWS_ACCESS_KEY_ID") != nullptr; // NOLINT(concurrency-mt-unsafe)
    if (by_environment && options.common.credentials_file.empty())
        log.emit(LogLevel::kWarning, "the server will need the credentials too",
                 "They are in this program's environment; start the server with the same, or restore with "
                 "--credentials-file.");
    if (geteuid() == 0)
        log.emit(LogLevel::kWarning, "restoring as root",
                 "A server does not start on files of root: change their owner, or restore as the server's user.");
    if (!restore.delta)
        warn_of_little_space(restore, planned.plan, log);
    RestoreProgress progress;
    const auto started = Clock::now();
    {
        const Reporter reporter(progress, !options.common.json);
        run_restore(repositories, planned.plan.backup, restore, progress, log, signals.token());
    }
    print_done(options, planned, restore, progress, std::chrono::duration<double>(Clock::now() - started).count());
    return 0;
}

} // namespace

void add_restore_command(CLI::App &program, Action &action) {
    auto options = std::make_shared<Options>();
    CLI::App *command =
        program.add_subcommand("restore", "Restore a cluster into an empty directory, or over an earlier state");
    command
        ->add_option("-D,--data-directory", options->directory,
                     "Where to: an empty or new directory; with --delta that of the stopped server")
        ->type_name("DIR")
        ->required();
    add_common_options(*command, options->common);
    add_json_option(*command, options->common);
    add_target_options(*command, options->target);
    command->add_option("--target-action", options->action, "At the target: pause, promote or shutdown")
        ->type_name("ACTION")
        ->capture_default_str();
    command->add_option("--tablespace-map", options->tablespace_map, "Another directory for a tablespace; repeatable")
        ->type_name("OLD=NEW");
    command->add_option("--threads", options->threads, "Reading and decompressing at the same time")->type_name("N");
    command->add_flag("--standby", options->standby, "Leave a standby: standby.signal, following the newest timeline");
    command
        ->add_option("--take-over", options->take_over,
                     "Let the restored server write into the repository from its first start on, in place of the "
                     "original")
        ->type_name("REASON");
    command->add_flag("--delta", options->delta,
                      "Keep what is the same in an existing, stopped data directory of this cluster; remove what the "
                      "backup does not hold");
    command->add_flag("--dry-run", options->dry_run, "Only show the plan");
    command->add_flag("--no-sync", options->no_sync, "Do not wait until everything is durable; for tests");
    command->footer(kExamples);
    command->callback([command, options, &action] {
        options->take_over_given = command->count("--take-over") > 0;
        action = [options] { return run(*options); };
    });
}

} // namespace pgvigil::cli
