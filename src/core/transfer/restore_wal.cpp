#include "transfer/restore_wal.h"

#include "base/error.h"
#include "base/signal_mask.h"
#include "transfer/wal_get_file.h"
#include "transfer/wal_read.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <fmt/core.h>
#include <mutex>
#include <thread>

namespace pgvigil {

namespace {

constexpr unsigned kMaxWalThreads = 4;

std::vector<std::string> needed_files(const CommitDocument &commit) {
    std::vector<std::string> names;
    const uint64_t size = commit.wal_segment_size;
    if (!is_valid_segment_size(size))
        throw Error(ErrorCode::kCorrupt, fmt::format("backup \"{}\" has an impossible WAL segment size", commit.id))
            .detail(fmt::format("It is {} bytes.", size));
    for (const WalRange &range : commit.wal_ranges) {
        if (range.start.value == 0 || range.end <= range.start)
            throw Error(ErrorCode::kCorrupt, fmt::format("backup \"{}\" has an impossible WAL range", commit.id))
                .detail(fmt::format("{} to {} on timeline {}.", to_string(range.start), to_string(range.end),
                                    range.timeline));
        for (uint64_t segment = segment_of(range.start, size); segment <= segment_before(range.end, size); ++segment)
            names.push_back(segment_name(range.timeline, segment, size));
        if (range.timeline > 1)
            names.push_back(history_name(range.timeline));
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

void fetch_file(WalReader &reader, const std::string &name, RestoreTree &tree, const CancelToken &cancel) {
    const std::string path = "pg_wal/" + name;
    if (!tree.file_exists(path)) { // a backup that brings its own WAL has put it there (rules E6)
        const WalPath everything;
        WalFileSink sink(tree.absolute(path), name, everything);
        if (!reader.read(name, sink, cancel))
            throw Error(ErrorCode::kNotFound, fmt::format("WAL file \"{}\", which the backup needs, is missing", name))
                .detail("It is in none of the repositories.");
        sink.finish(false);
        // The file was made outside of the tree's own rules for modes.
        const FileHandle file = tree.open_file(path);
        if (fchmod(file.get(), tree.file_mode()) != 0)
            throw posix_error("set the mode of", tree.absolute(path), errno);
    }
    tree.write_file("pg_wal/archive_status/" + name + ".done", "");
}

} // namespace

void restore_wal(const std::vector<std::shared_ptr<Repository>> &repositories, const CommitDocument &commit,
                 RestoreTree &tree, unsigned threads, LogSink &log, const CancelToken &cancel) {
    const std::vector<std::string> names = needed_files(commit);
    WalReader reader(repositories, commit.system_identifier, log);
    std::atomic<size_t> next{0};
    std::mutex mutex;
    std::exception_ptr failure;
    const auto work = [&] {
        try {
            for (size_t i = next++; i < names.size(); i = next++) {
                cancel.check();
                fetch_file(reader, names[i], tree, cancel);
            }
        } catch (...) {
            const std::lock_guard lock(mutex);
            failure = std::current_exception();
            next = names.size();
        }
    };
    std::vector<std::thread> workers;
    {
        const SignalsBlocked blocked;
        for (unsigned i = 0; i < std::min(threads, kMaxWalThreads); ++i)
            workers.emplace_back(work);
    }
    for (std::thread &worker : workers)
        worker.join();
    if (failure)
        std::rethrow_exception(failure);
}

} // namespace pgvigil
