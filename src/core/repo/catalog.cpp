#include "repo/catalog.h"

#include "base/error.h"
#include "base/parallel.h"
#include "repo/commit_index.h"
#include "repo/envelope.h"
#include "repo/expired_wal.h"
#include "repo/streamed_wal.h"
#include "repo/tombstones.h"
#include "repo/wal_listing.h"
#include "repo/wal_object.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>

namespace pgvigil {

namespace {

constexpr size_t kReaders = 8;
// Only the newest timelines of a known catalog are looked at again.
constexpr size_t kTimelinesThatChange = 2;

std::vector<ObjectInfo> list_all(const Repository &repository, const ListRequest &request, const CancelToken &cancel) {
    std::vector<ObjectInfo> objects;
    for_each_page(repository.store(), request, cancel, [&objects](const ListPage &page) {
        objects.insert(objects.end(), page.objects.begin(), page.objects.end());
    });
    return objects;
}

// The key of a `.json` document without directory and suffix.
std::string_view document_name(std::string_view key) {
    const size_t slash = key.rfind('/');
    std::string_view name = slash == std::string_view::npos ? key : key.substr(slash + 1);
    if (name.size() > 5 && name.substr(name.size() - 5) == ".json")
        name.remove_suffix(5);
    return name;
}

// Reads every document that `request` lists with `decode`; what cannot be read is reported, what vanished meanwhile is
// skipped.
template <class Document, class Decode>
std::vector<Document> read_documents(const Repository &repository, const ListRequest &request, Decode decode,
                                     std::vector<UnreadableDocument> &unreadable, const CancelToken &cancel) {
    const std::vector<ObjectInfo> objects = list_all(repository, request, cancel);
    std::vector<std::optional<Document>> read(objects.size());
    std::mutex mutex;
    parallel_for(objects.size(), kReaders, [&](size_t index) {
        const std::string &key = objects[index].key;
        try {
            if (const auto json = read_document(repository.store(), key, cancel))
                read[index] = decode(*json, key);
        } catch (const Error &error) {
            if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported)
                throw;
            const std::lock_guard lock(mutex);
            unreadable.push_back({key, error.message()});
        }
    });
    std::vector<Document> documents;
    for (auto &document : read)
        if (document)
            documents.push_back(std::move(*document));
    return documents;
}

std::vector<TimelineId> list_timelines(const Repository &repository, const CancelToken &cancel) {
    std::vector<TimelineId> timelines;
    const std::string root = repository.layout().wal_root();
    for_each_page(repository.store(), {.prefix = root, .directories = true}, cancel, [&](const ListPage &page) {
        for (const std::string &directory : page.directories) {
            const auto parsed = parse_wal_file_name(directory.substr(root.size(), 8) + ".history");
            if (parsed && directory.size() == root.size() + 9)
                timelines.push_back(parsed->timeline);
        }
    });
    return timelines;
}

std::vector<std::string> list_backup_ids(const Repository &repository, const CancelToken &cancel) {
    const std::string prefix = repository.layout().commits_prefix();
    std::vector<std::string> ids;
    for (const ObjectInfo &object : list_all(repository, {.prefix = prefix}, cancel))
        if (const std::string_view id = document_name(object.key); is_backup_id(id))
            ids.emplace_back(id);
    return ids;
}

class BackupsReader {
  public:
    BackupsReader(const Repository &repository, Catalog &catalog, const CancelToken &cancel)
        : repository_(repository), catalog_(catalog), cancel_(cancel) {}

    void read(const Catalog *known) {
        std::set<std::string> wanted;
        for (std::string &id : list_backup_ids(repository_, cancel_)) {
            const CommitDocument *document = known == nullptr ? nullptr : known->backup(id);
            if (document != nullptr)
                found_.emplace(id, *document);
            else
                wanted.insert(std::move(id));
        }
        if (wanted.size() > 2)
            read_index(wanted);
        read_commits(wanted);
        for (auto &[id, document] : found_)
            catalog_.backups.push_back(std::move(document));
        // After the commits: a tombstone comes before the first deletion.
        const auto tombstones = list_tombstones(repository_, cancel_);
        catalog_.keeps = load_keeps(repository_, catalog_.unreadable, cancel_);
        drop_tombstoned(catalog_.backups, tombstones, catalog_.keeps);
    }

  private:
    void read_index(std::set<std::string> &wanted) {
        std::vector<CommitIndexName> names = list_commit_index(repository_, cancel_);
        std::erase_if(names, [&](const CommitIndexName &name) {
            const auto first = wanted.lower_bound(name.first);
            return first == wanted.end() || *first > name.last;
        });
        std::mutex mutex;
        parallel_for(names.size(), kReaders, [&](size_t index) {
            const std::string key = commit_index_key(repository_.layout(), names[index]);
            std::vector<CommitDocument> documents;
            try {
                if (const auto json = read_document(repository_.store(), key, cancel_))
                    documents = decode_commit_index(*json, key);
            } catch (const Error &error) {
                // The commits themselves say the same.
                note(key, error);
            }
            const std::lock_guard lock(mutex);
            for (CommitDocument &document : documents)
                if (wanted.erase(document.id) > 0)
                    found_.emplace(document.id, std::move(document));
        });
    }

    void read_commits(const std::set<std::string> &wanted) {
        const std::vector<std::string> ids(wanted.begin(), wanted.end());
        std::vector<std::optional<CommitDocument>> read(ids.size());
        parallel_for(ids.size(), kReaders, [&](size_t index) {
            try {
                read[index] = load_commit(repository_, ids[index], cancel_);
            } catch (const Error &error) {
                note(repository_.layout().commit(ids[index]), error);
            }
        });
        for (auto &document : read)
            if (document) {
                summarise(*document);
                found_.emplace(document->id, std::move(*document));
            }
    }

    void note(const std::string &key, const Error &error) {
        if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported)
            throw Error(error);
        const std::lock_guard lock(unreadable_mutex_);
        catalog_.unreadable.push_back({key, error.message()});
    }

    const Repository &repository_;
    Catalog &catalog_;
    const CancelToken &cancel_;
    std::map<std::string, CommitDocument> found_;
    std::mutex unreadable_mutex_;
};

void read_epochs(const Repository &repository, Catalog &catalog, const Catalog *known, const CancelToken &cancel) {
    const std::string prefix = repository.layout().epochs_prefix();
    std::string after;
    if (known != nullptr && !known->epochs.empty()) {
        catalog.epochs = known->epochs;
        after = repository.layout().epoch(known->epochs.back().number);
    }
    std::vector<EpochDocument> read = read_documents<EpochDocument>(
        repository, {.prefix = prefix, .start_after = after},
        [](std::string_view json, const std::string &key) { return decode_epoch(json, key); }, catalog.unreadable,
        cancel);
    std::move(read.begin(), read.end(), std::back_inserter(catalog.epochs));
}

// The names of index objects of the largest span, and marks of what is expired: both of all timelines in one listing.
struct IndexNames {
    std::map<TimelineId, std::vector<WalBlock>> blocks;
    std::vector<ExpiredWal> marks;
};

IndexNames list_index_names(const Repository &repository, const CancelToken &cancel) {
    IndexNames names;
    const ClusterLayout &layout = repository.layout();
    // "4096/" and "expired/" follow each other; what stands below "256/" is not worth listing as a whole.
    const std::string prefix = layout.walindex_prefix();
    const std::string after = prefix + std::to_string(kWalIndexSpans.front());
    for_each_page(repository.store(), {.prefix = prefix, .start_after = after}, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects) {
            if (const auto mark = parse_expired_wal_key(layout, object.key))
                names.marks.push_back(*mark);
            else if (const auto block = parse_wal_block_key(layout, object.key))
                names.blocks[block->timeline].push_back(*block);
        }
    });
    return names;
}

uint64_t find_segment_size(const Repository &repository, const Catalog &catalog, const IndexNames &names,
                           const std::vector<TimelineId> &timelines, const CancelToken &cancel) {
    for (auto backup = catalog.backups.rbegin(); backup != catalog.backups.rend(); ++backup)
        if (is_valid_segment_size(backup->wal_segment_size))
            return backup->wal_segment_size;
    for (const auto &[timeline, blocks] : names.blocks)
        if (!blocks.empty())
            return blocks.back().segment_size;
    for (const TimelineId timeline : timelines)
        if (const uint64_t size = sample_segment_size(repository, timeline, cancel); size != 0)
            return size;
    for (const TimelineId timeline : timelines)
        if (const uint64_t size = segment_size_of_tail(repository, timeline, cancel); size != 0)
            return size;
    return 0;
}

class TimelinesReader {
  public:
    TimelinesReader(const Repository &repository, Catalog &catalog, const Catalog *known, const CancelToken &cancel)
        : repository_(repository), catalog_(catalog), known_(known), cancel_(cancel) {}

    void read() {
        streamed_ = list_tail_timelines(repository_, cancel_);
        const std::vector<TimelineId> stored = list_timelines(repository_, cancel_);
        std::vector<TimelineId> timelines;
        std::set_union(stored.begin(), stored.end(), streamed_.begin(), streamed_.end(), std::back_inserter(timelines));
        names_ = list_index_names(repository_, cancel_);
        catalog_.segment_size = known_ != nullptr ? known_->segment_size : 0;
        if (catalog_.segment_size == 0)
            catalog_.segment_size = find_segment_size(repository_, catalog_, names_, timelines, cancel_);
        expired_ = expired_runs(names_.marks, catalog_.epochs, catalog_.segment_size);
        catalog_.timelines.resize(timelines.size());
        parallel_for(timelines.size(), kReaders, [&](size_t index) {
            const TimelineWal *known = known_ == nullptr ? nullptr : known_->timeline(timelines[index]);
            const bool is_writers =
                !catalog_.epochs.empty() && catalog_.epochs.back().timeline == timelines[index]; // taken back to
            const bool is_old = !is_writers && index + kTimelinesThatChange < timelines.size();
            if (known != nullptr && is_old && known_->epochs.size() == catalog_.epochs.size()) {
                catalog_.timelines[index] = *known;
                leave_out_expired(catalog_.timelines[index]);
                return;
            }
            catalog_.timelines[index] = read_timeline(timelines[index], known);
        });
    }

  private:
    void leave_out_expired(TimelineWal &wal) const {
        const auto found = expired_.find(wal.timeline);
        if (found == expired_.end())
            return;
        for (const SegmentRun &run : found->second)
            cut_run(wal.runs, run);
        std::erase_if(wal.streamed, [&](const auto &entry) { return find_run(found->second, entry.first) != nullptr; });
    }

    TimelineWal read_timeline(TimelineId timeline, const TimelineWal *known) {
        TimelineWal wal;
        wal.timeline = timeline;
        read_history(wal, known);
        if (catalog_.segment_size == 0)
            return wal;
        WalListingInput input;
        input.segment_size = catalog_.segment_size;
        input.epochs = &catalog_.epochs;
        // Behind a new epoch's start anything may have changed, also what lies before the first segment known so far.
        input.known = known_ != nullptr && known_->epochs.size() == catalog_.epochs.size() ? known : nullptr;
        if (const auto found = names_.blocks.find(timeline); found != names_.blocks.end())
            input.blocks = found->second;
        if (const auto found = expired_.find(timeline); found != expired_.end())
            input.expired = found->second;
        std::vector<UnreadableDocument> unreadable;
        TimelineWal listed = wal;
        list_wal(repository_, input, listed, unreadable, cancel_);
        if (std::binary_search(streamed_.begin(), streamed_.end(), timeline)) {
            const auto list_tail_of = [&] {
                list_streamed(repository_, catalog_.epochs, catalog_.segment_size, input.expired, known, listed,
                              unreadable, cancel_);
            };
            list_tail_of();
            // What became complete between the two listings, and lost its pieces with that, is in neither.
            if (!listed.runs.empty() && !listed.streamed.empty() &&
                listed.streamed.begin()->first > listed.runs.back().last + 1) {
                unreadable.clear();
                listed = wal;
                list_wal(repository_, input, listed, unreadable, cancel_);
                list_tail_of();
            }
        }
        wal = std::move(listed);
        const std::lock_guard lock(mutex_);
        std::move(unreadable.begin(), unreadable.end(), std::back_inserter(catalog_.unreadable));
        return wal;
    }

    void read_history(TimelineWal &wal, const TimelineWal *known) {
        if (known != nullptr && known->has_history) {
            wal.has_history = true;
            wal.ancestors = known->ancestors;
            return;
        }
        const std::string key = repository_.layout().wal_file(history_name(wal.timeline));
        try {
            const auto object = repository_.store().get(key, kMaxFramePlainBytes, cancel_);
            if (!object)
                return;
            const ParsedHeader parsed = parse_header(*object, key);
            Bytes text;
            FrameDecoder decoder;
            decode_wal_frames(*object, parsed, text, decoder, key);
            wal.ancestors = parse_history_file(as_text(text), wal.timeline);
            wal.has_history = true;
        } catch (const Error &error) {
            if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported)
                throw;
            const std::lock_guard lock(mutex_);
            catalog_.unreadable.push_back({key, error.message()});
        }
    }

    const Repository &repository_;
    Catalog &catalog_;
    const Catalog *known_;
    const CancelToken &cancel_;
    IndexNames names_;
    std::vector<TimelineId> streamed_; // timelines that have a tail
    std::map<TimelineId, SegmentRuns> expired_;
    std::mutex mutex_;
};

} // namespace

const TimelineWal *Catalog::timeline(TimelineId id) const noexcept {
    for (const TimelineWal &entry : timelines)
        if (entry.timeline == id)
            return &entry;
    return nullptr;
}

const CommitDocument *Catalog::backup(std::string_view id) const noexcept {
    const auto found =
        std::lower_bound(backups.begin(), backups.end(), id,
                         [](const CommitDocument &document, std::string_view value) { return document.id < value; });
    return found == backups.end() || found->id != id ? nullptr : &*found;
}

bool Catalog::has_whole_chain(const CommitDocument &backup) const noexcept {
    return std::all_of(backup.parents.begin(), backup.parents.end(),
                       [this](const std::string &parent) { return this->backup(parent) != nullptr; });
}

Catalog load_catalog(const Repository &repository, const CancelToken &cancel, const Catalog *known) {
    Catalog catalog;
    catalog.system_identifier = std::strtoull(repository.layout().root().c_str(), nullptr, 10);
    BackupsReader(repository, catalog, cancel).read(known);
    read_epochs(repository, catalog, known, cancel);
    TimelinesReader(repository, catalog, known, cancel).read();
    return catalog;
}

std::optional<CommitDocument> load_commit(const Repository &repository, std::string_view id,
                                          const CancelToken &cancel) {
    if (!is_backup_id(id))
        throw Error(ErrorCode::kInvalidArgument, "invalid backup id \"" + std::string(id.substr(0, 80)) + "\"")
            .detail("A backup id looks like 20261120T084013F.");
    const std::string key = repository.layout().commit(id);
    const auto json = read_document(repository.store(), key, cancel);
    if (!json)
        return std::nullopt;
    CommitDocument document = decode_commit(*json, key);
    if (document.id != id)
        throw Error(ErrorCode::kCorrupt, "\"" + key + "\" holds the commit of another backup");
    return document;
}

} // namespace pgvigil
