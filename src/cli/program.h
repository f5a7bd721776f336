// The program's frame: which command was asked for, and how its end is reported.
// Threading: the main thread.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace pgvigil::cli {

// What the chosen command does; returns the exit code. Errors are thrown.
using Action = std::function<int()>;

// Each command adds itself to the program and, when it is chosen, sets `action`.
void add_check_command(CLI::App &program, Action &action);
void add_expire_command(CLI::App &program, Action &action);
void add_keep_command(CLI::App &program, Action &action);
void add_list_command(CLI::App &program, Action &action);
void add_plan_command(CLI::App &program, Action &action);
void add_restore_command(CLI::App &program, Action &action);
void add_verify_command(CLI::App &program, Action &action);
// The last one also gets the command line as it was typed.
void add_wal_get_command(CLI::App &program, Action &action, int argc, char **argv);

// Parses, runs, reports; never throws.
[[nodiscard]] int run_program(int argc, char **argv) noexcept;

} // namespace pgvigil::cli
