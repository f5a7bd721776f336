#include "repo/catalog.h"

#include "base/error.h"
#include "base/parallel.h"
#include "repo/envelope.h"
#include "repo/tombstones.h"
#include "repo/wal_object.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>

namespace pgvigil {

namespace {

constexpr size_t kReaders = 8;
// How many segments behind the start of an epoch may carry an older epoch's bytes: what a writer that lost its role had
// on its way. Their headers decide whether they count.
constexpr uint64_t kSegmentsCheckedPerEpoch = 64;

std::vector<ObjectInfo> list_all(const Repository &repository, const std::string &prefix, const CancelToken &cancel) {
    std::vector<ObjectInfo> objects;
    for_each_page(repository.store(), {.prefix = prefix}, cancel, [&objects](const ListPage &page) {
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

// Reads every document under `prefix` with `decode`; what cannot be read is reported, what vanished meanwhile is
// skipped.
template <class Document, class Decode>
std::vector<Document> read_documents(const Repository &repository, const std::string &prefix, Decode decode,
                                     std::vector<UnreadableDocument> &unreadable, const CancelToken &cancel) {
    const std::vector<ObjectInfo> objects = list_all(repository, prefix, cancel);
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

// The segments of one timeline while its listing is read.
struct SegmentNames {
    uint64_t number = 0;
    bool plain = false;         // <segment> is there
    uint64_t highest_epoch = 0; // of <segment>~<epoch>, 0 for none
};

class TimelineListing {
  public:
    TimelineListing(const Repository &repository, TimelineId timeline, const CancelToken &cancel)
        : repository_(repository), timeline_(timeline), cancel_(cancel) {}

    void read() {
        const std::string prefix = repository_.layout().wal_prefix(timeline_);
        for_each_page(repository_.store(), {.prefix = prefix, .directories = true}, cancel_,
                      [this](const ListPage &page) {
                          directories_.insert(directories_.end(), page.directories.begin(), page.directories.end());
                          for (const ObjectInfo &object : page.objects)
                              if (object.key == repository_.layout().wal_file(history_name(timeline_)))
                                  has_history_ = true;
                      });
        for (const std::string &directory : directories_)
            for (const ObjectInfo &object : list_all(repository_, directory, cancel_))
                add(object);
    }

    [[nodiscard]] bool has_history() const { return has_history_; }
    [[nodiscard]] bool empty() const { return names_.empty(); }
    [[nodiscard]] int64_t newest_ms() const { return newest_ms_; }
    // Any segment's key, to learn the segment size from its header.
    [[nodiscard]] const std::string &sample_key() const { return sample_key_; }
    [[nodiscard]] const std::map<std::string, SegmentNames> &names() const { return names_; }

  private:
    void add(const ObjectInfo &object) {
        std::string_view name = std::string_view(object.key).substr(object.key.rfind('/') + 1);
        uint64_t epoch = 0;
        const size_t tilde = name.find('~');
        if (tilde != std::string_view::npos) {
            epoch = std::strtoull(std::string(name.substr(tilde + 1)).c_str(), nullptr, 10);
            name = name.substr(0, tilde);
        }
        const auto parsed = parse_wal_file_name(name);
        if (!parsed || parsed->kind != WalFileKind::kSegment || parsed->timeline != timeline_)
            return;
        SegmentNames &entry = names_[std::string(name)];
        if (tilde == std::string_view::npos)
            entry.plain = true;
        else
            entry.highest_epoch = std::max(entry.highest_epoch, epoch);
        sample_key_ = object.key;
        newest_ms_ = std::max(newest_ms_, object.modified_ms);
    }

    const Repository &repository_;
    TimelineId timeline_;
    const CancelToken &cancel_;
    std::vector<std::string> directories_;
    std::map<std::string, SegmentNames> names_;
    std::string sample_key_;
    bool has_history_ = false;
    int64_t newest_ms_ = 0;
};

// Takes out segments that only an epoch wrote which was not the writer there any more (rules C2).
void drop_fenced_segments(const Repository &repository, TimelineId timeline, const std::vector<EpochDocument> &epochs,
                          uint64_t segment_size, std::map<uint64_t, SegmentNames> &segments,
                          const CancelToken &cancel) {
    for (const EpochDocument &epoch : epochs) {
        if (epoch.timeline != timeline || epoch.number <= 1)
            continue;
        const uint64_t first = segment_of(epoch.lsn, segment_size);
        for (auto at = segments.lower_bound(first);
             at != segments.end() && at->first < first + kSegmentsCheckedPerEpoch;) {
            bool fenced = false;
            if (at->second.highest_epoch < epoch.number && at->second.plain) {
                const std::string key = repository.layout().wal_file(segment_name(timeline, at->first, segment_size));
                const auto parsed = read_header(repository.store(), key, cancel);
                fenced = parsed && parsed->header.epoch < epoch.number;
            }
            at = fenced ? segments.erase(at) : std::next(at);
        }
    }
}

std::vector<SegmentRun> make_runs(const std::map<uint64_t, SegmentNames> &segments) {
    std::vector<SegmentRun> runs;
    for (const auto &[number, names] : segments) {
        if (!runs.empty() && runs.back().last + 1 == number)
            runs.back().last = number;
        else
            runs.push_back({number, number});
    }
    return runs;
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

std::vector<TimelineSwitch> read_history(const Repository &repository, TimelineId timeline, const CancelToken &cancel) {
    const std::string key = repository.layout().wal_file(history_name(timeline));
    const auto object = repository.store().get(key, kMaxFramePlainBytes, cancel);
    if (!object)
        return {};
    const ParsedHeader parsed = parse_header(*object, key);
    Bytes text;
    FrameDecoder decoder;
    decode_wal_frames(*object, parsed, text, decoder, key);
    return parse_history_file(as_text(text), timeline);
}

uint64_t find_segment_size(const Repository &repository, const Catalog &catalog,
                           const std::vector<TimelineListing> &listings, const CancelToken &cancel) {
    for (auto backup = catalog.backups.rbegin(); backup != catalog.backups.rend(); ++backup)
        if (is_valid_segment_size(backup->wal_segment_size))
            return backup->wal_segment_size;
    for (const TimelineListing &listing : listings) {
        if (listing.empty())
            continue;
        const auto parsed = read_header(repository.store(), listing.sample_key(), cancel);
        if (parsed && is_valid_segment_size(parsed->header.plain_length))
            return parsed->header.plain_length;
    }
    return 0;
}

} // namespace

const TimelineWal *Catalog::timeline(TimelineId id) const noexcept {
    for (const TimelineWal &entry : timelines)
        if (entry.timeline == id)
            return &entry;
    return nullptr;
}

const CommitDocument *Catalog::backup(std::string_view id) const noexcept {
    for (const CommitDocument &document : backups)
        if (document.id == id)
            return &document;
    return nullptr;
}

Catalog load_catalog(const Repository &repository, const CancelToken &cancel) {
    Catalog catalog;
    const ClusterLayout &layout = repository.layout();
    catalog.system_identifier = std::strtoull(layout.root().c_str(), nullptr, 10);
    catalog.backups = read_documents<CommitDocument>(
        repository, layout.commits_prefix(),
        [](std::string_view json, const std::string &key) {
            CommitDocument document = decode_commit(json, key);
            if (document.id != document_name(key))
                throw Error(ErrorCode::kCorrupt, "\"" + key + "\" holds the commit of another backup");
            document.packs = {};
            document.table = {};
            return document;
        },
        catalog.unreadable, cancel);
    drop_tombstoned(repository, catalog.backups, cancel);
    catalog.epochs = read_documents<EpochDocument>(
        repository, layout.epochs_prefix(),
        [](std::string_view json, const std::string &key) { return decode_epoch(json, key); }, catalog.unreadable,
        cancel);

    std::vector<TimelineListing> listings;
    const std::vector<TimelineId> timelines = list_timelines(repository, cancel);
    listings.reserve(timelines.size());
    for (const TimelineId timeline : timelines)
        listings.emplace_back(repository, timeline, cancel).read();
    catalog.segment_size = find_segment_size(repository, catalog, listings, cancel);
    for (size_t i = 0; i < timelines.size(); ++i) {
        TimelineWal wal;
        wal.timeline = timelines[i];
        wal.has_history = listings[i].has_history();
        wal.newest_object_ms = listings[i].newest_ms();
        if (wal.has_history) {
            try {
                wal.ancestors = read_history(repository, timelines[i], cancel);
            } catch (const Error &error) {
                if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported)
                    throw;
                wal.has_history = false;
                catalog.unreadable.push_back({layout.wal_file(history_name(timelines[i])), error.message()});
            }
        }
        if (catalog.segment_size != 0) {
            std::map<uint64_t, SegmentNames> segments;
            for (const auto &[name, names] : listings[i].names())
                if (const auto parsed = parse_wal_file_name(name))
                    segments.emplace(segment_number(*parsed, catalog.segment_size), names);
            drop_fenced_segments(repository, wal.timeline, catalog.epochs, catalog.segment_size, segments, cancel);
            wal.runs = make_runs(segments);
        }
        catalog.timelines.push_back(std::move(wal));
    }
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
