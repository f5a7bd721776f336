// What archive_mode the server has whose restore_command this program is. It cannot be asked while it recovers; its
// executable can. Threading: the main thread; waits for a child process.
// Errors: kIo when it cannot be found out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pgvigil::cli {

// "off", "on" or "always". The current directory is the data directory of a server that runs.
[[nodiscard]] std::string archive_mode_of_server();

// The arguments in a postmaster.opts, without the program.
[[nodiscard]] std::vector<std::string> parse_postmaster_options(std::string_view text);

} // namespace pgvigil::cli
