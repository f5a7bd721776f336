// Backs up a data directory that no server uses and says how fast: the backup's data plane without PostgreSQL.
#include "base/error.h"
#include "base/time.h"
#include "bench_support.h"
#include "transfer/backup_writer.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>

using namespace pgvigil;

int main(int argc, char **argv) {
    CLI::App app("Backs up a data directory and prints its speed.");
    std::string url;
    std::string credentials;
    std::string compression = "zstd:1";
    BackupSource source;
    BackupOptions options;
    app.add_option("--repository", url, "repository URL")->required();
    app.add_option("--data", source.data_directory, "data directory")->required();
    app.add_option("--credentials", credentials, "shared-credentials file");
    app.add_option("--compression", compression);
    app.add_option("--threads", options.threads);
    app.add_option("--version", source.server_major_version)->default_val(17);
    app.add_flag("--page-checksums", source.page_checksums);
    bool without_hashes = false;
    std::vector<std::string> parents;
    app.add_flag("--no-block-hashes", without_hashes);
    app.add_option("--parent", parents, "of an incremental backup: the ids of its chain, nearest first");
    bool nothing_changed = false;
    app.add_flag("--nothing-changed", nothing_changed, "an incremental backup by summaries that name no block");
    CLI11_PARSE(app, argc, argv);
    try {
        bench::StandardErrorLog log;
        constexpr uint64_t kNoCluster = 1;
        source.start_lsn = Lsn{~uint64_t{0}};
        source.data_directory = std::filesystem::canonical(source.data_directory);
        options.block_hashes = !without_hashes;
        if (nothing_changed) {
            source.method = ChangeMethod::kSummaries;
            source.changes = std::make_shared<BlockChanges>();
        }
        options.compression = parse_compression(compression);
        const auto repository = bench::open_repository(url, credentials, kNoCluster, log);
        BackupProgress progress;
        const CancelToken never;
        AttemptDocument attempt;
        attempt.system_identifier = kNoCluster;
        attempt.started_ms = unix_time_ms();
        attempt.parents = parents;
        const bench::Cost cost;
        BackupWriter writer({repository}, options, progress, log);
        const std::string id = writer.begin(attempt, parents.empty(), never);
        writer.copy(source, never);
        const double copied = cost.seconds();
        CommitDocument commit;
        commit.wal_segment_size = 16 * kMiB;
        writer.commit(commit, never);
        const auto megabytes = [](uint64_t bytes) { return static_cast<double>(bytes) / 1e6; };
        fmt::print("{}: {} files, {:.1f} MB -> {:.1f} MB in {:.2f} s (copy {:.2f} s): {:.0f} MB/s, "
                   "processor {:.2f} s, memory {:.0f} MiB, {} damaged pages\n",
                   id, progress.files_done.load(), megabytes(progress.bytes_done), megabytes(progress.bytes_stored),
                   cost.seconds(), copied, megabytes(progress.bytes_done) / cost.seconds(), cost.cpu(),
                   bench::Cost::memory_mib(), progress.bad_pages.load());
        return 0;
    } catch (const Error &error) {
        fmt::print(stderr, "error: {}\n{}\n{}\n", error.message(), error.detail(), error.hint());
        return 1;
    }
}
