// The way of `pgvigil wal-get` when a read-ahead process has the segment ready: a few system calls, no libraries set
// up. Threading: the main thread, before any other exists.
#pragma once

#include <string>
#include <vector>

namespace pgvigil::cli {

// How a restore_command's arguments end: … NAME DESTINATION.
struct WalGetCall {
    std::string name;
    std::string destination;
    std::string directory;           // of the read-ahead; "" when there is none
    std::vector<std::string> before; // every argument before NAME, the program's name not among them
};
// For any command line; `name` is empty where it does not end like that.
[[nodiscard]] WalGetCall parse_wal_get_call(int argc, char **argv);

// True when the command line is `wal-get … NAME DESTINATION` and the segment was taken from a read-ahead.
[[nodiscard]] bool take_ready_segment(int argc, char **argv);

// The exit code for "it could not be found out whether the file exists" (rules E1): an outage must not kill a standby,
// and must not end a recovery.
[[nodiscard]] int wal_get_failure_exit() noexcept;

} // namespace pgvigil::cli
