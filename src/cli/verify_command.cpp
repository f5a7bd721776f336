#include "base/json.h"
#include "cli/common_options.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "transfer/verify.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fmt/format.h>
#include <optional>
#include <unistd.h>

namespace pgvigil::cli {

namespace {

constexpr int kDamagedExit = 1;

constexpr const char *kExamples = R"(Examples:
  pgvigil verify --repository s3://bucket/prod?region=eu-west-1
  pgvigil verify --repository file:///backup/pg --backup 20261120T020000F --json
Exit code 1 when something is missing or damaged.)";

struct VerifyArguments {
    CommonOptions common;
    std::string backup;
    std::string threads = "2";
    std::string max_rate = "0";
};

Json to_json(const VerifyVerdict &verdict) {
    Json problems = Json::array();
    for (const VerifyProblem &problem : verdict.problems)
        problems.push_back({{"object", problem.object}, {"problem", problem.problem}});
    return {{"repository", verdict.repository}, {"backup", verdict.backup_id},
            {"ok", verdict.problems.empty()},   {"expired", verdict.expired},
            {"objects", verdict.objects},       {"bytes", verdict.bytes},
            {"problems", std::move(problems)},  {"more_problems", verdict.more_problems}};
}

void print(const VerifyVerdict &verdict) {
    fmt::print("{}  {:<7}  {} objects, {}\n", verdict.backup_id,
               verdict.expired            ? "expired"
               : verdict.problems.empty() ? "ok"
                                          : "DAMAGED",
               verdict.objects, pretty_bytes(verdict.bytes));
    for (const VerifyProblem &problem : verdict.problems)
        fmt::print("  {}: {}\n", problem.object, problem.problem);
    if (verdict.more_problems != 0)
        fmt::print("  and {} more\n", verdict.more_problems);
}

// Throws kNotFound when no repository has the backup.
bool verify_repositories(const VerifyArguments &arguments, const VerifyOptions &options,
                         const std::vector<std::shared_ptr<Repository>> &repositories, LogSink &log,
                         const CancelToken &cancel, Json &out) {
    bool good = true;
    bool looked = false;
    std::optional<Error> missing;
    VerifyProgress progress;
    ProgressLine line(isatty(STDERR_FILENO) != 0 && !arguments.common.json);
    for (const auto &repository : repositories) {
        std::vector<std::string> ids;
        try {
            ids = backups_to_verify(*repository, arguments.backup, cancel);
        } catch (const Error &error) {
            if (error.code() != ErrorCode::kNotFound)
                throw;
            missing = error;
            continue;
        }
        looked = true;
        if (!arguments.common.json)
            fmt::print("repository {}\n", repository->url());
        for (size_t i = 0; i < ids.size(); ++i) {
            line.show(fmt::format("backup {} of {}, {} read", i + 1, ids.size(), pretty_bytes(progress.bytes)));
            const VerifyVerdict verdict = verify_backup(repository, ids[i], options, progress, log, cancel);
            line.clear();
            if (verdict.expired)
                continue;
            good = good && verdict.problems.empty();
            out["backups"].push_back(to_json(verdict));
            if (!arguments.common.json)
                print(verdict);
        }
    }
    if (!looked && missing)
        throw Error(*missing);
    return good;
}

int run_verify(const VerifyArguments &arguments) {
    StandardErrorLog log;
    const CancelOnSignal signals;
    VerifyOptions options;
    options.threads = static_cast<unsigned>(parse_number("--threads", arguments.threads, 1, 64));
    options.max_rate = parse_number("--max-rate", arguments.max_rate, 0, uint64_t{1} << 40) * 1024;
    const auto roots = open_roots(arguments.common, log, signals.token());
    const uint64_t cluster = choose_cluster(arguments.common, roots, signals.token());
    Json out = {{"backups", Json::array()}};
    const bool good =
        verify_repositories(arguments, options, repositories_of(roots, cluster), log, signals.token(), out);
    out["ok"] = good;
    if (arguments.common.json)
        std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    return good ? 0 : kDamagedExit;
}

} // namespace

void add_verify_command(CLI::App &program, Action &action) {
    auto arguments = std::make_shared<VerifyArguments>();
    CLI::App *command = program.add_subcommand("verify", "Read stored backups and check every byte of them");
    add_common_options(*command, arguments->common);
    add_json_option(*command, arguments->common);
    command
        ->add_option("--backup", arguments->backup, "This backup and those it builds on; otherwise all, newest first")
        ->type_name("ID");
    command->add_option("--threads", arguments->threads, "Objects read at the same time (2)")->type_name("N");
    command->add_option("--max-rate", arguments->max_rate, "Limit of what is read, in kB per second (0: none)")
        ->type_name("N");
    command->footer(kExamples);
    command->callback([arguments, &action] { action = [arguments] { return run_verify(*arguments); }; });
}

} // namespace pgvigil::cli
