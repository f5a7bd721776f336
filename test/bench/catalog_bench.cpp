// How long the catalog of a large repository takes: 10 million segments by default, told by index objects, and 1,000
// backups. Reads it cold, again, from the local file, and makes windows and a plan, as views and planners do.
#include "base/error.h"
#include "base/time.h"
#include "base/wal_name.h"
#include "plan/chains.h"
#include "plan/restore_plan.h"
#include "repo/catalog_file.h"
#include "repo/commit_index.h"
#include "repo/envelope.h"
#include "storage/memory/memory_store.h"
#include "transfer/restore_facts.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

using namespace pgvigil;

namespace {

constexpr uint64_t kCluster = 7123456789012345678;
constexpr uint64_t kSegment = 16 * kMiB;
constexpr uint64_t kSpan = kWalIndexSpans.front();

struct Options {
    uint64_t segments = 10000000;
    size_t backups = 1000;
};

void put(ObjectStore &store, const std::string &key, const Bytes &body) {
    const CancelToken never;
    PutRequest request;
    request.key = key;
    request.body = body;
    (void)store.put_new(request, never);
}

void fill(const Repository &repository, const Options &options) {
    const ClusterLayout &layout = repository.layout();
    const auto us = [](uint64_t segment) { return static_cast<int64_t>(segment) * 1000000; };
    for (uint64_t start = 0; start + kSpan <= options.segments; start += kSpan) {
        WalBlock block;
        block.timeline = 1;
        block.span = kSpan;
        block.start = start;
        block.segment_size = kSegment;
        std::vector<IndexedSegment> segments;
        for (uint64_t segment = start; segment < start + kSpan; ++segment) {
            IndexedSegment entry{segment, 0, WalScanSummary{}};
            entry.scan->first_time_us = entry.scan->last_time_us = us(segment);
            entry.scan->first_xid = entry.scan->last_xid = static_cast<uint32_t>(segment + 3);
            entry.scan->end_of_records = segment_start(segment + 1, kSegment);
            segments.push_back(std::move(entry));
        }
        summarise(block, segments, nullptr);
        put(repository.store(), wal_block_key(layout, block), encode_wal_block(block, segments));
    }
    // What no index tells of yet.
    for (uint64_t segment = options.segments / kSpan * kSpan; segment < options.segments; ++segment)
        put(repository.store(), layout.wal_file(segment_name(1, segment, kSegment)), encode_document("{}", 1, Uuid{}));
    std::vector<CommitDocument> commits;
    for (size_t i = 0; i < options.backups; ++i) {
        CommitDocument document;
        document.id = make_backup_id(static_cast<int64_t>(i) * 86400000, true);
        document.system_identifier = kCluster;
        document.wal_segment_size = kSegment;
        document.start_timeline = document.stop_timeline = 1;
        document.start_lsn = Lsn{segment_start(1 + i * (options.segments / options.backups), kSegment).value + 40};
        document.stop_lsn = Lsn{document.start_lsn.value + 1000};
        document.wal_ranges = {{1, document.start_lsn, document.stop_lsn}};
        document.stopped_ms = us(segment_of(document.stop_lsn, kSegment)) / 1000;
        put(repository.store(), layout.commit(document.id), encode_document(encode(document), 1, Uuid{}));
        commits.push_back(std::move(document));
    }
    const CancelToken never;
    (void)write_due_commit_index(repository, commits, never);
}

template <class F> void measure(const char *what, F &&body) {
    const int64_t before = boot_time_ms();
    body();
    fmt::print("{:<44} {:>6} ms\n", what, boot_time_ms() - before);
}

// The segments are told by the index alone: one that may hold the transaction is looked for in the store.
void find_in_vain(const Catalog &catalog, const RestoreRequest &request, WalFactsSource &facts) {
    try {
        (void)plan_restore(catalog, request, facts);
    } catch (const Error &) {
        return;
    }
    throw Error(ErrorCode::kInternal, "a transaction was found that no segment holds");
}

int run(const Options &options) {
    const CancelToken never;
    const Repository repository(std::make_shared<MemoryStore>(), RepositoryDocument{}, "memory:", kCluster);
    measure("filling the repository", [&] { fill(repository, options); });
    std::vector<KnownCatalog> known(1);
    Catalog &catalog = known[0].catalog;
    measure("a cold catalog", [&] { catalog = load_catalog(repository, never); });
    measure("the same again", [&] { (void)load_catalog(repository, never, &catalog); });
    std::string text;
    measure("into the local file", [&] { text = encode_catalogs(known); });
    measure("out of it, as a view does", [&] { (void)decode_catalogs(text); });
    RepositoryWalFacts facts(repository, catalog, never);
    size_t windows = 0;
    measure("recovery windows", [&] { windows = recovery_windows(catalog, &facts).size(); });
    measure("chains", [&] { (void)backup_chains(catalog); });
    RestoreRequest request;
    request.target = TimeTarget{static_cast<int64_t>(options.segments / 2) * 1000000 + 1};
    measure("a plan to a moment in the middle", [&] { (void)plan_restore(catalog, request, facts); });
    request.target = XidTarget{static_cast<uint32_t>(options.segments / 2)};
    measure("looking in vain for a transaction", [&] { find_in_vain(catalog, request, facts); });
    fmt::print("{} segments in {} runs, {} backups, {} windows, {} bytes in the local file\n", options.segments,
               catalog.timelines.at(0).runs.size(), catalog.backups.size(), windows, text.size());
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    CLI::App program("Reads the catalog of a large repository.");
    program.add_option("--segments", options.segments, "Segments, a multiple of 4,096 is kept");
    program.add_option("--backups", options.backups, "Backups");
    CLI11_PARSE(program, argc, argv);
    try {
        return run(options);
    } catch (const Error &error) {
        fmt::print(stderr, "catalog_bench: {}: {}\n", error.message(), error.detail());
        return 1;
    }
}
