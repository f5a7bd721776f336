// Fills a repository with small segments and deletes them by expiry: how fast batches of deletions are.
#include "base/error.h"
#include "base/parallel.h"
#include "base/time.h"
#include "base/wal_name.h"
#include "bench_support.h"
#include "repo/envelope.h"
#include "transfer/expire.h"

#include <CLI/CLI.hpp>

using namespace pgvigil;

namespace {

constexpr uint64_t kCluster = 7000000000000000001;
constexpr uint64_t kSegment = uint64_t{16} * 1024 * 1024;
constexpr size_t kWriters = 16;

// A backup whose WAL is the last two of `segments`: everything before may go.
CommitDocument newest_backup(uint64_t segments) {
    CommitDocument document;
    document.id = make_backup_id(unix_time_ms(), true);
    document.system_identifier = kCluster;
    document.wal_segment_size = kSegment;
    document.start_timeline = document.stop_timeline = 1;
    document.start_lsn = Lsn{(segments - 1) * kSegment + 100};
    document.stop_lsn = Lsn{segments * kSegment + 100};
    document.wal_ranges = {{1, document.start_lsn, document.stop_lsn}};
    document.stopped_ms = unix_time_ms();
    return document;
}

void put(const Repository &repository, const std::string &key, const Bytes &body) {
    static_cast<void>(repository.store().put_new({.key = key, .body = body}, CancelToken()));
}

void fill(const Repository &repository, uint64_t segments) {
    const ClusterLayout &layout = repository.layout();
    const Bytes body = encode_document("{}", 1, Uuid{});
    parallel_for(segments, kWriters,
                 [&](size_t index) { put(repository, layout.wal_file(segment_name(1, index + 1, kSegment)), body); });
    const CommitDocument backup = newest_backup(segments);
    put(repository, layout.commit(backup.id), encode_document(encode(backup), 1, Uuid{}));
    EpochDocument epoch;
    epoch.number = 1;
    epoch.timeline = 1;
    epoch.reason = "first";
    put(repository, layout.epoch(1), encode_document(encode(epoch), 1, Uuid{}));
}

} // namespace

int main(int argc, char **argv) {
    CLI::App program("Fills a repository with small WAL segments and lets expiry delete them.");
    std::string url;
    std::string credentials;
    uint64_t segments = 100000;
    unsigned threads = ExpireOptions{}.threads;
    program.add_option("--repository", url)->required();
    program.add_option("--credentials-file", credentials);
    program.add_option("--segments", segments);
    program.add_option("--threads", threads);
    CLI11_PARSE(program, argc, argv);
    try {
        bench::StandardErrorLog log;
        const auto repository = bench::open_repository(url, credentials, kCluster, log);
        fill(*repository, segments);
        ExpireOptions options;
        options.rules = {0, 0, 0, 0, 0, 0};
        options.threads = threads;
        options.dry_run = false;
        const bench::Cost cost;
        const ExpireReport report = expire_repository(*repository, options, log, CancelToken());
        fmt::print("expire segments={} deleted={} seconds={:.2f} cpu={:.2f} memory_mib={:.0f}\n", segments,
                   report.deleted_objects, cost.seconds(), cost.cpu(), bench::Cost::memory_mib());
        return report.failure ? 1 : 0;
    } catch (const Error &error) {
        fmt::print(stderr, "expire_bench: {}: {}\n", error.message(), error.detail());
        return 1;
    }
}
