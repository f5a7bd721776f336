#include "base/error.h"
#include "base/json.h"
#include "cli/common_options.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "transfer/expire.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fmt/format.h>
#include <limits>
#include <unistd.h>

namespace pgvigil::cli {

namespace {

constexpr const char *kExamples =
    R"(Says what goes; deletes it with --yes. The settings of a server are not known here: give the
retention you want.

Examples:
  pgvigil expire --repository s3://bucket/prod?region=eu-west-1 --retention-window 7d
  pgvigil expire --repository file:///backup/pg --retention-window 7d --retention-monthly 12 --yes)";

constexpr uint64_t kMaxCopies = 10000;

struct Options {
    CommonOptions common;
    bool yes = false;
    bool confirm = false;
    std::string window;
    std::string fulls = "2";
    std::string daily = "0";
    std::string weekly = "0";
    std::string monthly = "0";
    std::string yearly = "0";
};

// "7d", "36h", "90min", "3600s" or "0".
int64_t parse_duration_ms(std::string_view option, const std::string &text) {
    struct Unit {
        std::string_view name;
        int64_t ms;
    };
    constexpr Unit kUnits[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}};
    const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const std::string_view unit = std::string_view(text).substr(digits);
    for (const Unit &known : kUnits)
        if (digits > 0 && (unit == known.name || text == "0")) {
            const auto most = static_cast<uint64_t>(std::numeric_limits<int32_t>::max());
            return static_cast<int64_t>(parse_number(option, text.substr(0, digits), 0, most)) * known.ms;
        }
    throw Error(ErrorCode::kInvalidArgument, fmt::format("invalid value \"{}\" for {}", text, option))
        .detail("A number with its unit is expected, such as 7d, 36h, 90min or 3600s.");
}

RetentionRules rules_of(const Options &options) {
    RetentionRules rules;
    if (!options.window.empty())
        rules.window_ms = parse_duration_ms("--retention-window", options.window);
    const auto copies = [](std::string_view option, const std::string &text) {
        return static_cast<unsigned>(parse_number(option, text, 0, kMaxCopies));
    };
    rules.fulls = copies("--retention-fulls", options.fulls);
    rules.daily = copies("--retention-daily", options.daily);
    rules.weekly = copies("--retention-weekly", options.weekly);
    rules.monthly = copies("--retention-monthly", options.monthly);
    rules.yearly = copies("--retention-yearly", options.yearly);
    return rules;
}

std::string host_name() {
    char name[256] = "";
    return gethostname(name, sizeof name - 1) == 0 ? name : "";
}

struct Expired {
    std::string url;
    ExpireReport report;
};

void print_report(const Expired &expired, bool dry_run) {
    const ExpireReport &report = expired.report;
    fmt::print("repository {}\n", expired.url);
    fmt::print("  {:<8} {:<8} {:>10} {:>8}  {}\n", "action", "kind", "size", "objects", "what, and why");
    uint64_t bytes = 0;
    for (const ExpireRow &row : report.rows) {
        fmt::print("  {:<8} {:<8} {:>10} {:>8}  {}: {}\n", action_name(row.action), row.kind,
                   row.bytes ? pretty_bytes(*row.bytes) : "", row.objects, row.object, row.reason);
        if (row.action != ExpireAction::kKeep)
            bytes += row.bytes.value_or(0);
    }
    if (dry_run)
        fmt::print("  {} would be freed; nothing was deleted (give --yes)\n", pretty_bytes(bytes));
    else if (report.hidden_objects > 0)
        fmt::print(
            "  {} objects of {} are hidden; their bytes stay until the bucket's lifecycle removes old versions\n",
            report.hidden_objects, pretty_bytes(report.hidden_bytes));
    else
        fmt::print("  {} objects of {} were deleted\n", report.deleted_objects, pretty_bytes(report.deleted_bytes));
    if (report.denied_objects > 0)
        fmt::print("  {} objects may not be deleted\n", report.denied_objects);
    if (report.refusal)
        fmt::print("  REFUSED without --confirm: {}\n  {}\n", report.refusal->message(), report.refusal->detail());
}

Json report_json(const Expired &expired) {
    const ExpireReport &report = expired.report;
    Json out = {{"url", expired.url},
                {"rows", Json::array()},
                {"deleted_objects", report.deleted_objects},
                {"deleted_bytes", report.deleted_bytes},
                {"hidden_objects", report.hidden_objects},
                {"hidden_bytes", report.hidden_bytes},
                {"denied_objects", report.denied_objects},
                {"refusal", nullptr}};
    if (report.refusal)
        out["refusal"] = report.refusal->message();
    for (const ExpireRow &row : report.rows) {
        Json item = {{"kind", row.kind},     {"object", row.object}, {"action", action_name(row.action)},
                     {"reason", row.reason}, {"bytes", nullptr},     {"objects", row.objects}};
        if (row.bytes)
            item["bytes"] = *row.bytes;
        out["rows"].push_back(std::move(item));
    }
    return out;
}

int run_expire(const Options &options) {
    StandardErrorLog log;
    const CancelOnSignal signals;
    ExpireOptions expire;
    expire.rules = rules_of(options);
    expire.dry_run = !options.yes;
    expire.confirm = options.confirm;
    expire.host = host_name();
    if (options.yes && options.window.empty())
        throw Error(ErrorCode::kInvalidArgument, "--yes needs --retention-window")
            .detail("What a server's settings keep is not known here.")
            .hint("Give the window you want to keep, such as --retention-window 7d.");
    const auto roots = open_roots(options.common, log, signals.token());
    const uint64_t cluster = choose_cluster(options.common, roots, signals.token());
    std::vector<Expired> done;
    std::optional<Error> failure;
    for (const auto &repository : repositories_of(roots, cluster)) {
        try {
            done.push_back(
                {repository->store().display_name(), expire_repository(*repository, expire, log, signals.token())});
            if (done.back().report.failure && !failure)
                failure = done.back().report.failure;
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            if (failure)
                log.emit(LogLevel::kWarning, error.message(), error.detail());
            else
                failure = error;
        }
    }
    if (failure && options.common.json)
        throw *std::move(failure);
    if (options.common.json) {
        Json out = {{"dry_run", expire.dry_run}, {"repositories", Json::array()}};
        for (const Expired &expired : done)
            out["repositories"].push_back(report_json(expired));
        std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
        return 0;
    }
    for (const Expired &expired : done)
        print_report(expired, expire.dry_run);
    if (failure)
        throw *std::move(failure);
    return 0;
}

} // namespace

void add_expire_command(CLI::App &program, Action &action) {
    auto options = std::make_shared<Options>();
    CLI::App *command = program.add_subcommand("expire", "Show and, with --yes, delete what retention lets go");
    add_common_options(*command, options->common);
    add_json_option(*command, options->common);
    command->add_flag("--yes", options->yes, "Delete; otherwise only say what would go");
    command->add_flag("--confirm", options->confirm,
                      "Delete also more than half of the backups, or what another server filled");
    command->add_option("--retention-window", options->window, "Keep every moment so far back (default 7d)")
        ->type_name("TIME");
    const auto copies = [&](const char *name, std::string &value, const char *text) {
        command->add_option(name, value, text)->type_name("N");
    };
    copies("--retention-fulls", options->fulls, "Keep so many newest full backups (default 2)");
    copies("--retention-daily", options->daily, "Keep the newest backup of each of so many days");
    copies("--retention-weekly", options->weekly, "Keep the newest backup of each of so many weeks");
    copies("--retention-monthly", options->monthly, "Keep the newest backup of each of so many months");
    copies("--retention-yearly", options->yearly, "Keep the newest backup of each of so many years");
    command->footer(kExamples);
    command->callback([options, &action] { action = [options] { return run_expire(*options); }; });
}

} // namespace pgvigil::cli
