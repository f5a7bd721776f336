// libcurl for this program, loaded when it is first used: it brings three dozen libraries along, and loading them would
// be most of what replay waits for when wal-get finds a segment ready.
// Threading: any thread. Errors: where the library cannot be loaded the program ends with a message and exit code 70.
#pragma once

namespace pgvigil::cli {

// Makes the linker take the definitions of late_curl.cpp instead of linking the program with libcurl.
void load_curl_late() noexcept;

} // namespace pgvigil::cli
