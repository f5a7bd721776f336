// Restores what backup_bench stored, and reads WAL as replay would ask for it, without PostgreSQL: the speed of the
// data plane alone.
#include "base/error.h"
#include "bench_support.h"
#include "repo/catalog.h"
#include "repo/file_table.h"
#include "transfer/restore_extents.h"
#include "transfer/restore_fetcher.h"
#include "transfer/wal_get_file.h"

#include <CLI/CLI.hpp>
#include <atomic>
#include <filesystem>
#include <thread>

using namespace pgvigil;

namespace {

struct Options {
    std::string url;
    std::string credentials;
    std::string backup;
    std::string directory;
    uint64_t cluster = 1;
    unsigned threads = 4;
    bool sync = false;
    std::string first_segment;
    uint64_t segments = 0;
};

double megabytes(uint64_t bytes) {
    return static_cast<double>(bytes) / 1e6;
}

void restore(const Options &options, const std::vector<std::shared_ptr<Repository>> &repositories, LogSink &log) {
    const CancelToken never;
    const bench::Cost cost;
    RestoreSources sources(repositories, options.backup, log, never);
    RestoreTree tree(options.directory, false);
    std::atomic<uint64_t> bytes{0};
    std::atomic<uint64_t> files{0};
    RestoreFetcher::Events events{[&](uint64_t more, uint64_t) { bytes += more; },
                                  [&](const RestoredFile &) { ++files; }};
    PackList packs;
    std::vector<FileTableReader> tables;
    for (size_t member = 0; member < sources.chain().size(); ++member) {
        packs.add(sources.layout(), sources.chain()[member]);
        tables.emplace_back([&sources, &never, member](const std::string &name, std::optional<ByteRange> range) {
            return sources.fetch_table(member, name, range, never);
        });
    }
    ChainTable table(std::move(tables), sources.commit().block_size);
    RestoreFetcher fetcher(sources, packs, tree, options.threads, std::move(events), never);
    std::vector<ExtentRead> reads;
    while (auto found = table.next()) {
        if (found->entry.kind == FileKind::kDirectory) {
            tree.make_directory(found->entry.path);
            continue;
        }
        const auto file = plan_file(std::move(*found), packs, sources.commit().block_size, reads);
        if (file->pieces.empty())
            fetcher.add_complete(*file);
    }
    fetcher.add(merge_reads(std::move(reads)));
    fetcher.finish();
    const double written = cost.seconds();
    if (options.sync)
        tree.sync_all(options.threads, never);
    fmt::print("{}: {} files, {:.1f} MB in {:.2f} s (written {:.2f} s): {:.0f} MB/s, processor {:.2f} s, "
               "memory {:.0f} MiB\n",
               options.backup, files.load(), megabytes(bytes), cost.seconds(), written,
               megabytes(bytes) / cost.seconds(), cost.cpu(), bench::Cost::memory_mib());
}

void read_wal(const Options &options, const std::vector<std::shared_ptr<Repository>> &repositories, LogSink &log) {
    const CancelToken never;
    const bench::Cost cost;
    WalReader reader(repositories, options.cluster, log);
    const WalFileName first = parse_wal_file_name(options.first_segment).value();
    constexpr uint64_t kSegment = 16 * kMiB;
    std::atomic<uint64_t> next{0};
    std::atomic<uint64_t> bytes{0};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < options.threads; ++i)
        threads.emplace_back([&, i] {
            const WalPath everything;
            for (uint64_t n = next++; n < options.segments; n = next++) {
                const std::string name = segment_name(first.timeline, segment_number(first, kSegment) + n, kSegment);
                WalFileSink sink(options.directory + "/wal" + std::to_string(i), name, everything);
                const auto found = reader.read(name, sink, never);
                if (!found) {
                    fmt::print(stderr, "{} is absent\n", name);
                    return;
                }
                sink.finish(options.sync);
                bytes += found->length;
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    fmt::print("{} segments, {:.1f} MB in {:.2f} s: {:.0f} MB/s, processor {:.2f} s, memory {:.0f} MiB\n",
               options.segments, megabytes(bytes), cost.seconds(), megabytes(bytes) / cost.seconds(), cost.cpu(),
               bench::Cost::memory_mib());
}

} // namespace

int main(int argc, char **argv) {
    CLI::App app("Restores a backup's files, or reads WAL, and prints the speed.");
    Options options;
    app.add_option("--repository", options.url, "repository URL")->required();
    app.add_option("--credentials", options.credentials, "shared-credentials file");
    app.add_option("--system-identifier", options.cluster)->capture_default_str();
    app.add_option("--backup", options.backup, "a backup's id: restore it");
    app.add_option("--wal", options.first_segment, "a segment's name: read it and those that follow");
    app.add_option("--segments", options.segments, "how many");
    app.add_option("--directory", options.directory, "where to; must be empty")->required();
    app.add_option("--threads", options.threads)->capture_default_str();
    app.add_flag("--sync", options.sync, "make everything durable");
    CLI11_PARSE(app, argc, argv);
    try {
        bench::StandardErrorLog log;
        const std::vector repositories{bench::open_repository(options.url, options.credentials, options.cluster, log)};
        if (!options.backup.empty())
            restore(options, repositories, log);
        if (!options.first_segment.empty())
            read_wal(options, repositories, log);
        return 0;
    } catch (const Error &error) {
        fmt::print(stderr, "error: {}\n{}\n{}\n", error.message(), error.detail(), error.hint());
        return 1;
    }
}
