#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "cli/common_options.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "repo/keeps.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fmt/format.h>
#include <unistd.h>

namespace pgvigil::cli {

namespace {

constexpr const char *kExamples = R"(Examples:
  pgvigil keep 20261120T084013F --repository file:///backup/pg
  pgvigil keep 20261120T084013F --until '2027-12-31 00:00:00+00' --repository file:///backup/pg
  pgvigil keep 20261120T084013F --release --repository file:///backup/pg)";

struct Options {
    CommonOptions common;
    std::string id;
    std::string until;
    bool release = false;
};

KeepDocument document_of(const Options &options) {
    KeepDocument document;
    document.id = options.id;
    document.released = options.release;
    document.created_ms = unix_time_ms();
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) == 0)
        document.host = name;
    if (options.until.empty())
        return document;
    if (options.release)
        throw Error(ErrorCode::kInvalidArgument, "--until and --release exclude each other");
    const auto until = parse_time_us(options.until);
    if (!until)
        throw Error(ErrorCode::kInvalidArgument, fmt::format("invalid value \"{}\" for --until", options.until))
            .detail("A time like \"2027-12-31 00:00:00+00\" is expected.");
    document.until_ms = *until / 1000;
    if (*document.until_ms <= document.created_ms)
        throw Error(ErrorCode::kInvalidArgument, "the time to keep the backup until has passed");
    return document;
}

int run_keep(const Options &options) {
    StandardErrorLog log;
    const CancelOnSignal signals;
    const KeepDocument document = document_of(options);
    const auto roots = open_roots(options.common, log, signals.token());
    const uint64_t cluster = choose_cluster(options.common, roots, signals.token());
    std::vector<std::string> changed;
    std::optional<Error> missing;
    for (const auto &repository : repositories_of(roots, cluster)) {
        try {
            add_keep(*repository, document, 0, signals.token());
            changed.push_back(repository->store().display_name());
        } catch (const Error &error) {
            if (error.code() != ErrorCode::kNotFound)
                throw;
            missing = error;
        }
    }
    if (changed.empty() && missing)
        throw *std::move(missing);
    if (options.common.json) {
        const Json out = {{"backup", document.id}, {"released", document.released}, {"repositories", changed}};
        std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
        return 0;
    }
    for (const std::string &repository : changed)
        fmt::print("{}: backup {} is {}\n", repository, document.id,
                   document.released   ? "not kept any longer"
                   : document.until_ms ? "kept until " + postgres_time_us(*document.until_ms * 1000)
                                       : "kept");
    return 0;
}

} // namespace

void add_keep_command(CLI::App &program, Action &action) {
    auto options = std::make_shared<Options>();
    CLI::App *command = program.add_subcommand("keep", "Keep a backup whatever retention says, or end that");
    add_common_options(*command, options->common);
    add_json_option(*command, options->common);
    command->add_option("ID", options->id, "The backup's id")->required();
    command->add_option("--until", options->until, "Keep it until this time (default: for ever)")->type_name("TIME");
    command->add_flag("--release", options->release, "Do not keep it any longer");
    command->footer(kExamples);
    command->callback([options, &action] { action = [options] { return run_keep(*options); }; });
}

} // namespace pgvigil::cli
