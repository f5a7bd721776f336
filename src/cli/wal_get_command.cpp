#include "base/error.h"
#include "base/time.h"
#include "cli/archive_mode.h"
#include "cli/common_options.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/wal_get_fast.h"
#include "transfer/wal_get.h"
#include "transfer/wal_get_ahead.h"
#include "transfer/wal_get_reader.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <malloc.h>
#include <memory>
#include <spawn.h>
#include <unistd.h>

namespace pgvigil::cli {

namespace {

constexpr int kAbsentExit = 1;
constexpr std::chrono::milliseconds kRetryFor{15000};
// A standby asks again by itself, and may be able to stream meanwhile.
constexpr std::chrono::milliseconds kStandbyRetryFor{3000};

constexpr const char *kExamples = R"(As restore_command, written by "pgvigil restore":
  restore_command = 'pgvigil wal-get --repository s3://bucket/prod --system-identifier 7300000000000000001 %f %p'
Fetch one file by hand:
  pgvigil wal-get --repository file:///backup/pg 000000010000000000000003 /tmp/000000010000000000000003)";

struct Options {
    CommonOptions common;
    std::string name;
    std::string destination;
    std::string path;
    std::string segment_size; // bytes; with `path`
    std::string patience = "60";
    std::string read_ahead; // segment size in bytes: this is the read-ahead process, `destination` its directory
};

bool is_standby() {
    return access("standby.signal", F_OK) == 0;
}

bool is_recovery() {
    return access("recovery.signal", F_OK) == 0 && !is_standby();
}

// A segment built from a tail must not be archived as if it were complete (rules B9).
std::string tail_objection() {
    return archive_mode_of_server() == "always"
               ? "With archive_mode = always the server would archive it; recovery ends with the last complete segment."
               : "";
}

// Sources are not opened by their root document here: WalReader looks at it before it takes an absence for the truth.
std::vector<std::shared_ptr<Repository>> sources(const Options &options, uint64_t system_identifier, LogSink &log) {
    std::vector<std::shared_ptr<Repository>> repositories;
    for (NamedStore &named : open_stores(options.common, is_standby() ? kStandbyRetryFor : kRetryFor, log))
        repositories.push_back(
            std::make_shared<Repository>(named.store, RepositoryDocument{}, named.url.normalised(), system_identifier));
    return repositories;
}

uint64_t cluster(const Options &options, LogSink &log, const CancelToken &cancel) {
    if (!options.common.system_identifier.empty())
        return parse_number("--system-identifier", options.common.system_identifier, 1, UINT64_MAX);
    return choose_cluster(options.common, open_roots(options.common, log, cancel), cancel);
}

WalPath wal_path(const Options &options) {
    if (options.path.empty())
        return {};
    const uint64_t size = parse_number("--segment-size", options.segment_size, kMiB, kGiB);
    if (!is_valid_segment_size(size))
        throw Error(ErrorCode::kInvalidArgument, "invalid value \"" + options.segment_size + "\" for --segment-size")
            .detail("A power of two is expected.");
    return {parse_timeline_path(options.path), size};
}

std::optional<pid_t> postmaster_pid() {
    std::ifstream file("postmaster.pid");
    pid_t pid = 0;
    return file >> pid && pid > 0 ? std::optional(pid) : std::nullopt;
}

int read_ahead(const Options &options) {
    // Many threads' arenas would each keep what a large read needed once.
    mallopt(M_ARENA_MAX, 1); // NOLINT(concurrency-mt-unsafe): no other thread is there yet
    const CancelToken cancel;
    ReadAheadOptions work;
    work.directory = options.destination;
    work.first = options.name;
    work.segment_size = parse_number("--read-ahead", options.read_ahead, kMiB, kGiB);
    work.path = wal_path(options);
    const auto server = postmaster_pid();
    work.server_lives = [server] {
        return server && postmaster_pid() == server && (kill(*server, 0) == 0 || errno != ESRCH);
    };
    const uint64_t system_identifier = cluster(options, null_log(), cancel);
    WalReader reader(sources(options, system_identifier, null_log()), system_identifier, null_log());
    run_read_ahead(work, reader, cancel);
    return 0;
}

void start_reader(const WalGetCall &call, const std::string &next, uint64_t segment_size) {
    std::vector<std::string> arguments{"pgvigil"};
    arguments.insert(arguments.end(), call.before.begin(), call.before.end());
    for (const std::string &argument : {"--read-ahead=" + std::to_string(segment_size), next, call.directory})
        arguments.push_back(argument);
    std::vector<char *> pointers;
    for (std::string &argument : arguments)
        pointers.push_back(argument.data());
    pointers.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    // The server waits for the end of its pipes: the child must not hold them open.
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        posix_spawn_file_actions_addopen(&actions, standard, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    // A session of its own: what ends the server's process group must not end it in the middle of a file.
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    pid_t child = 0;
    // Without read-ahead replay is slower, and just as right: a failure to start it is no error.
    (void)posix_spawn(&child, "/proc/self/exe", &actions, &attributes, pointers.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
}

void prepare_next(const WalGetCall &call, uint64_t length) {
    const auto file = parse_wal_file_name(call.name);
    if (call.directory.empty() || !file || file->kind != WalFileKind::kSegment || !is_valid_segment_size(length))
        return;
    const std::string next = segment_name(file->timeline, segment_number(*file, length) + 1, length);
    if (ahead_reader_lives(call.directory))
        want_ahead(call.directory, next);
    else
        start_reader(call, next, length);
}

int wal_get(const Options &options, const WalGetCall &call) {
    // The server ends us with SIGTERM and wants to see us die of it.
    std::signal(SIGTERM, SIG_DFL);
    WalGetRequest request;
    request.name = options.name;
    request.destination = options.destination;
    request.path = wal_path(options);
    request.mode = is_standby() ? WalGetMode::kStandby : WalGetMode::kRecovery;
    request.tails = is_recovery();
    request.tail_objection = tail_objection;
    request.patience = std::chrono::seconds(parse_number("--patience", options.patience, 0, 86400));
    const CancelToken cancel;
    StandardErrorLog log;
    try {
        if (!parse_wal_file_name(options.name))
            throw Error(ErrorCode::kInvalidArgument,
                        "\"" + options.name + "\" is not the name of a WAL file or a timeline history file");
        const uint64_t system_identifier = cluster(options, log, cancel);
        WalReader reader(sources(options, system_identifier, log), system_identifier, log);
        const auto found = get_wal_file(reader, request, log, cancel);
        if (!found)
            return kAbsentExit;
        // Behind a tail there is nothing to read ahead.
        if (!found->streamed)
            prepare_next(call, found->length);
        return 0;
    } catch (const Error &error) {
        report_error(error);
        return wal_get_failure_exit();
    }
}

} // namespace

void add_wal_get_command(CLI::App &program, Action &action, int argc, char **argv) {
    auto options = std::make_shared<Options>();
    CLI::App *command = program.add_subcommand("wal-get", "Fetch one WAL file; the server's restore_command");
    add_common_options(*command, options->common);
    command->add_option("--path", options->path, "Timelines to replay and where each ends, such as 1@0/3000028,2")
        ->type_name("PATH");
    command->add_option("--segment-size", options->segment_size, "WAL segment size in bytes; goes with --path")
        ->type_name("BYTES");
    command
        ->add_option("--patience", options->patience,
                     "In recovery: how long a failure or a gap is tried again before exit code 126")
        ->type_name("SECONDS")
        ->capture_default_str();
    command->add_option("--read-ahead", options->read_ahead)->group("");
    command->add_option("NAME", options->name, "The file's name (%f)")->required();
    command->add_option("DESTINATION", options->destination, "Where to put it (%p)")->required();
    command->footer(kExamples);
    command->callback([options, &action, argc, argv] {
        action = [options, argc, argv] {
            if (!options->read_ahead.empty())
                return read_ahead(*options);
            return wal_get(*options, parse_wal_get_call(argc, argv));
        };
    });
}

} // namespace pgvigil::cli
