#include "base/json.h"
#include "cli/common_options.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "transfer/restore_check.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fmt/format.h>

namespace pgvigil::cli {

namespace {

constexpr int kFailedExit = 1;
constexpr std::chrono::milliseconds kRetryFor{10000};

constexpr const char *kExamples = R"(Examples:
  pgvigil check --repository s3://bucket/prod?region=eu-west-1
  pgvigil check --repository file:///backup/pg --json
Exit code 1 when a check failed.)";

int run_check(const CommonOptions &options) {
    StandardErrorLog log;
    const CancelOnSignal signals;
    bool good = true;
    Json out = {{"repositories", Json::array()}};
    for (const NamedStore &named : open_stores(options, kRetryFor, log)) {
        Json rows = Json::array();
        if (!options.json)
            fmt::print("repository {}\n", named.store->display_name());
        for (const StoreCheck &row : check_store(*named.store, signals.token())) {
            good = good && row.ok;
            rows.push_back({{"check", row.check}, {"ok", row.ok}, {"detail", row.detail}});
            if (!options.json)
                fmt::print("  {:<12} {:<7} {}\n", row.check, row.ok ? "ok" : "FAILED", row.detail);
        }
        out["repositories"].push_back({{"url", named.store->display_name()}, {"checks", std::move(rows)}});
    }
    out["ok"] = good;
    if (options.json)
        std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    return good ? 0 : kFailedExit;
}

} // namespace

void add_check_command(CLI::App &program, Action &action) {
    auto options = std::make_shared<CommonOptions>();
    CLI::App *command = program.add_subcommand("check", "Try out a repository: write, read, list, delete, clocks");
    add_common_options(*command, *options);
    add_json_option(*command, *options);
    command->footer(kExamples);
    command->callback([options, &action] { action = [options] { return run_check(*options); }; });
}

} // namespace pgvigil::cli
