#include "cli/late_curl.h"
#include "cli/program.h"
#include "cli/wal_get_fast.h"

int main(int argc, char **argv) {
    // Replay waits for wal-get: a segment that stands ready is handed over before anything else is set up.
    if (pgvigil::cli::take_ready_segment(argc, argv))
        return 0;
    pgvigil::cli::load_curl_late();
    return pgvigil::cli::run_program(argc, argv);
}
