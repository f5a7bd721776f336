#include "transfer/restore_files.h"

#include "base/error.h"
#include "transfer/restore_fetcher.h"

#include <fmt/core.h>
#include <set>
#include <utility>

namespace pgvigil {

namespace {

// Extents planned at a time: they are read in the order of the packs.
constexpr size_t kWindowReads = 100000;
// With --delta the files of a window are compared before the first of them is fetched.
constexpr size_t kDeltaWindowReads = 8192;
constexpr size_t kDeltaWindowFiles = 8192;

// Written by the restore itself: in a file table they would decide how the server starts.
const std::set<std::string_view> &written_by_restore() {
    static const std::set<std::string_view> names = {"global/pg_control", "backup_label",    "tablespace_map",
                                                     "backup_manifest",   "recovery.signal", "standby.signal",
                                                     "postmaster.pid",    "postmaster.opts", kControlTemporary};
    return names;
}

} // namespace

RestoreFiles::RestoreFiles(RestoreSources &sources, RestoreTree &tree, const Locations &locations,
                           const RestoreOptions &options, RestoreProgress &progress, OnFile on_file,
                           const CancelToken &cancel)
    : sources_(sources), tree_(tree), locations_(locations), options_(options), progress_(progress),
      on_file_(std::move(on_file)), cancel_(cancel) {}

void RestoreFiles::use_delta(RestoreDelta &delta, RestorePrune &prune) {
    delta_ = &delta;
    prune_ = &prune;
}

void RestoreFiles::run() {
    std::vector<FileTableReader> tables;
    for (size_t member = 0; member < sources_.chain().size(); ++member) {
        const CommitDocument &commit = sources_.chain()[member];
        packs_.add(sources_.layout(), commit);
        tables.emplace_back(
            [this, member](const std::string &name, std::optional<ByteRange> range) {
                return sources_.fetch_table(member, name, range, cancel_);
            },
            sources_.layout().files_prefix(commit.id), commit.table);
    }
    ChainTable table(std::move(tables), sources_.commit().block_size);

    RestoreFetcher::Events events;
    events.on_bytes = [this](uint64_t plain, uint64_t stored) {
        progress_.bytes_done += plain;
        progress_.bytes_fetched += stored;
    };
    events.on_file = [this](const RestoredFile &file) {
        on_file_(file);
        ++progress_.files_done;
    };
    RestoreFetcher fetcher(sources_, packs_, tree_, options_.threads, std::move(events), cancel_);
    while (auto found = table.next()) {
        cancel_.check();
        check_entry(found->entry);
        if (prune_ != nullptr)
            prune_->visit(found->entry.path, found->entry.kind);
        if (found->entry.kind == FileKind::kDirectory)
            tree_.make_directory(found->entry.path);
        else
            add(std::move(*found), fetcher);
    }
    if (prune_ != nullptr)
        prune_->finish();
    flush(fetcher);
    fetcher.finish();
}

void RestoreFiles::check_entry(const FileEntry &entry) {
    check_restore_path(entry.path);
    const auto wrong = [&](const char *why) {
        return Error(ErrorCode::kCorrupt,
                     fmt::format("the backup's table holds \"{}\", which no backup holds", entry.path))
            .detail(why);
    };
    if (!previous_.empty() && compare_paths(previous_, entry.path) >= 0)
        throw wrong("Its files are out of order.");
    previous_ = entry.path;
    // An identity, or an order to take over, must not come from a backup: the copy would write as the original.
    if (written_by_restore().count(entry.path) != 0 || entry.path.rfind("pgvigil.", 0) == 0)
        throw wrong("The restore makes this file itself.");
    if (entry.inherit_below != 0 && sources_.commit().full)
        throw wrong("It refers to a parent, which a full backup has not.");
    // Outside of the data directory only what PostgreSQL itself puts there is created.
    for (const auto &[oid, location] : locations_) {
        const std::string below = fmt::format("pg_tblspc/{}/", oid);
        if (entry.path.rfind(below, 0) == 0 && entry.path.compare(below.size(), 3, "PG_") != 0)
            throw wrong("A tablespace holds only directories of server versions.");
    }
}

void RestoreFiles::add(ChainEntry &&found, RestoreFetcher &fetcher) {
    auto file = plan_file(std::move(found), packs_, sources_.commit().block_size, window_);
    if (delta_ != nullptr)
        files_.push_back(std::move(file));
    else if (file->pieces.empty())
        fetcher.add_complete(*file);
    if (window_.size() >= (delta_ != nullptr ? kDeltaWindowReads : kWindowReads) || files_.size() >= kDeltaWindowFiles)
        flush(fetcher);
}

void RestoreFiles::flush(RestoreFetcher &fetcher) {
    if (delta_ != nullptr) {
        const uint64_t before = delta_->kept_bytes();
        delta_->keep_equal(files_);
        progress_.bytes_kept += delta_->kept_bytes() - before;
        progress_.bytes_done += delta_->kept_bytes() - before;
        std::erase_if(window_, [](const ExtentRead &read) { return read.file->pieces[read.piece].kept; });
        for (const auto &file : std::exchange(files_, {}))
            if (file->missing == 0)
                fetcher.add_complete(*file);
    }
    fetcher.add(merge_reads(std::exchange(window_, {})));
}

} // namespace pgvigil
