#include "cli/program.h"

#include "cli/report.h"
#include "cli/wal_get_fast.h"

#include <CLI/CLI.hpp>
#include <clocale>
#include <cstdio>
#include <fmt/core.h>
#include <new>

namespace pgvigil::cli {

namespace {

constexpr const char *kExitCodes = R"(Exit codes:
  0 success   2 wrong argument or option   3 not found   4 conflict   5 access denied
  6 store unavailable   7 timeout   8 cancelled   9 damaged data   10 unsupported
  11 belongs to another cluster or repository   12 not the writer   13 target cannot be reached
  14 busy   15 local input/output   16 disk full   17 out of memory   18 needs confirmation
  70 internal error
  check: 1 when a check failed.   verify: 1 when something is missing or damaged.
  wal-get: 1 file is absent, 126 it could not be found out.)";

bool wants_json(int argc, char **argv) {
    for (int i = 1; i < argc; ++i)
        if (std::string_view(argv[i]) == "--json")
            return true;
    return false;
}

int fail(const Error &error, int argc, char **argv) noexcept {
    report_error(error);
    if (wants_json(argc, argv))
        std::printf("%s\n", error_json(error).c_str());
    // A restore_command that is wrong must not look like the end of the WAL.
    if (argc > 1 && std::string_view(argv[1]) == "wal-get")
        return wal_get_failure_exit();
    return error_class(error.code()).exit_code;
}

Error usage_error(const CLI::ParseError &error, const CLI::App &program) {
    std::string command = "pgvigil";
    for (const CLI::App *chosen : program.get_subcommands())
        command += " " + chosen->get_name();
    std::string text = error.what();
    // "Could not …", but not the NAME of an argument.
    if (text.size() > 1 && std::islower(static_cast<unsigned char>(text[1])) != 0)
        text.front() = static_cast<char>(std::tolower(static_cast<unsigned char>(text.front())));
    return Error(ErrorCode::kInvalidArgument, std::move(text)).hint(fmt::format("Try \"{} --help\".", command));
}

// CLI11 would only say that a command is missing.
void check_command(const CLI::App &program, const std::string &name) {
    for (const CLI::App *command : program.get_subcommands([](const CLI::App *) { return true; }))
        if (command->check_name(name))
            return;
    throw Error(ErrorCode::kInvalidArgument, fmt::format("there is no command \"{}\"", name))
        .hint("Try \"pgvigil --help\".");
}

int run(int argc, char **argv) {
    CLI::App program("Restores PostgreSQL clusters from pgvigil repositories, and looks into them.", "pgvigil");
    program.set_version_flag("--version", "pgvigil " PGVIGIL_VERSION);
    program.require_subcommand(1);
    program.footer(kExitCodes);
    Action action;
    add_check_command(program, action);
    add_expire_command(program, action);
    add_keep_command(program, action);
    add_list_command(program, action);
    add_plan_command(program, action);
    add_restore_command(program, action);
    add_verify_command(program, action);
    add_wal_get_command(program, action, argc, argv);
    if (argc > 1 && argv[1][0] != '-')
        check_command(program, argv[1]);
    try {
        program.parse(argc, argv);
    } catch (const CLI::Success &success) {
        return program.exit(success); // --help, --version
    } catch (const CLI::ParseError &error) {
        throw usage_error(error, program);
    }
    return action();
}

} // namespace

int run_program(int argc, char **argv) noexcept {
    try {
        return run(argc, argv);
    } catch (const Error &error) {
        return fail(error, argc, argv);
    } catch (const std::bad_alloc &) {
        return fail(Error(ErrorCode::kOutOfMemory, "out of memory"), argc, argv);
    } catch (const std::exception &error) {
        return fail(Error(ErrorCode::kInternal, error.what()), argc, argv);
    }
}

} // namespace pgvigil::cli
