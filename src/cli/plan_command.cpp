#include "cli/common_options.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "cli/target_options.h"

#include <CLI/CLI.hpp>
#include <cstdio>

namespace pgvigil::cli {

namespace {

constexpr const char *kExamples = R"(Examples:
  pgvigil plan --repository s3://bucket/prod?region=eu-west-1
  pgvigil plan --repository file:///backup/pg --target-time '2026-11-20 08:59:00+00' --json)";

struct Options {
    CommonOptions common;
    TargetOptions target;
};

int run_plan(const Options &options) {
    StandardErrorLog log;
    const CancelOnSignal signals;
    const RestoreRequest request = restore_request(options.target);
    const auto roots = open_roots(options.common, log, signals.token());
    const uint64_t cluster = choose_cluster(options.common, roots, signals.token());
    const Planned planned = make_plan(repositories_of(roots, cluster), request, log, signals.token());
    if (options.common.json) {
        std::printf("%s\n", plan_json(planned).c_str());
        return 0;
    }
    for (const std::string &line : describe_plan(planned))
        std::printf("%s\n", line.c_str());
    return 0;
}

} // namespace

void add_plan_command(CLI::App &program, Action &action) {
    auto options = std::make_shared<Options>();
    CLI::App *command = program.add_subcommand("plan", "Show what a restore would do, without doing it");
    add_common_options(*command, options->common);
    add_json_option(*command, options->common);
    add_target_options(*command, options->target);
    command->footer(kExamples);
    command->callback([options, &action] { action = [options] { return run_plan(*options); }; });
}

} // namespace pgvigil::cli
