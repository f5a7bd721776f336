#include "transfer/expire_wal.h"

#include "base/error.h"
#include "base/parallel.h"
#include "repo/envelope.h"
#include "repo/wal_object.h"
#include "transfer/expire_inventory.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <set>

namespace pgvigil {

namespace {

constexpr size_t kListers = 8;
constexpr size_t kSegmentNameBytes = 24;
// A writer that lost its role may have stored so many segments behind the start of the next epoch.
constexpr uint64_t kSegmentsCheckedPerEpoch = 64;
constexpr uint64_t kBytesOfADirectory = uint64_t{1} << 32; // of WAL: the names' first half

// A stored object of a segment, as its name tells.
struct NamedObject {
    ObjectInfo info;
    uint64_t segment = 0;
    std::optional<uint64_t> epoch; // of <segment>~<epoch>
    bool is_part = false;
    bool is_segment = false; // <segment> itself, whatever the epoch
};

std::string_view last_component(std::string_view key) {
    return key.substr(key.rfind('/') + 1);
}

// nullopt for what is no name that a writer gives.
std::optional<NamedObject> parse_object(const ObjectInfo &info, TimelineId timeline, uint64_t segment_size) {
    const std::string_view name = last_component(info.key);
    const auto parsed = parse_wal_file_name(name.substr(0, kSegmentNameBytes));
    if (!parsed || parsed->kind != WalFileKind::kSegment || parsed->timeline != timeline)
        return std::nullopt;
    NamedObject object;
    object.info = info;
    object.segment = segment_number(*parsed, segment_size);
    const std::string_view rest = name.substr(kSegmentNameBytes);
    object.is_segment = rest.empty() || rest.front() == '~';
    object.is_part = rest.starts_with(".part") && !rest.starts_with(".partial");
    if (rest.starts_with('~'))
        object.epoch = std::strtoull(std::string(rest.substr(1)).c_str(), nullptr, 10);
    return object;
}

class Finder {
  public:
    Finder(const Repository &repository, const Catalog &catalog, const RetentionPlan &plan, int64_t oldest_ms,
           const CancelToken &cancel)
        : repository_(repository), catalog_(catalog), plan_(plan), segment_size_(catalog.segment_size),
          oldest_ms_(oldest_ms), cancel_(cancel) {}

    WalRemains find() {
        if (segment_size_ == 0)
            return {};
        for (const TimelineWal &wal : catalog_.timelines)
            look_at_timeline(wal);
        parallel_for(directories_.size(), kListers, [&](size_t index) { look_at_directory(directories_[index]); });
        make_ranges();
        find_gaps();
        return std::move(remains_);
    }

  private:
    struct Directory {
        std::string prefix;
        TimelineId timeline;
    };

    void look_at_timeline(const TimelineWal &wal) {
        const std::string prefix = repository_.layout().wal_prefix(wal.timeline);
        const std::string history = repository_.layout().wal_file(history_name(wal.timeline));
        const uint64_t per_directory = kBytesOfADirectory / segment_size_;
        for_each_page(repository_.store(), {.prefix = prefix, .directories = true}, cancel_, [&](const ListPage &page) {
            for (const ObjectInfo &object : page.objects)
                if (object.key == history && wal.timeline < plan_.lowest_history)
                    remains_.histories.push_back({object.key, object.size});
            for (const std::string &directory : page.directories) {
                const uint64_t high = std::strtoull(directory.c_str() + prefix.size(), nullptr, 16) * per_directory;
                if (!plan_.keeps_segments(wal.timeline, high, high + per_directory - 1) ||
                    may_hold_leftovers(wal.timeline, high, high + per_directory - 1))
                    directories_.push_back({directory, wal.timeline});
            }
        });
    }

    [[nodiscard]] bool may_hold_leftovers(TimelineId timeline, uint64_t first, uint64_t last) const {
        if (segment_size_ > kWalPartBytes)
            return true;
        return std::any_of(catalog_.epochs.begin(), catalog_.epochs.end(), [&](const EpochDocument &epoch) {
            const uint64_t start = segment_of(epoch.lsn, segment_size_);
            return epoch.number > 1 && epoch.timeline == timeline && start <= last &&
                   first < start + kSegmentsCheckedPerEpoch;
        });
    }

    void look_at_directory(const Directory &directory) {
        std::map<uint64_t, std::vector<NamedObject>> kept;
        std::map<uint64_t, std::vector<DoomedObject>> doomed;
        for (const ObjectInfo &info : list_objects(repository_, directory.prefix, cancel_)) {
            auto object = parse_object(info, directory.timeline, segment_size_);
            if (!object)
                continue;
            if (plan_.keeps_segment(directory.timeline, object->segment))
                kept[object->segment].push_back(*std::move(object));
            else
                doomed[object->segment].push_back({info.key, info.size});
        }
        std::vector<DoomedObject> leftovers;
        for (const auto &[segment, objects] : kept) {
            find_replaced(objects, leftovers);
            find_lost_parts(objects, leftovers);
        }
        const std::lock_guard lock(mutex_);
        for (auto &[segment, objects] : doomed)
            doomed_[directory.timeline].emplace(segment, std::move(objects));
        remains_.leftovers.insert(remains_.leftovers.end(), leftovers.begin(), leftovers.end());
    }

    // Of several objects with an epoch in their names readers take the highest. The one under the plain name stays as
    // long as the segment: readers begin there, and only its header tells whose it is.
    void find_replaced(const std::vector<NamedObject> &objects, std::vector<DoomedObject> &leftovers) const {
        uint64_t highest = 0;
        for (const NamedObject &object : objects)
            if (object.is_segment)
                highest = std::max(highest, object.epoch.value_or(0));
        for (const NamedObject &object : objects)
            if (object.is_segment && object.epoch && *object.epoch < highest && object.info.modified_ms < oldest_ms_)
                leftovers.push_back({object.info.key, object.info.size});
    }

    // Parts that no segment names: another attempt's, or of one that never got its last part.
    void find_lost_parts(const std::vector<NamedObject> &objects, std::vector<DoomedObject> &leftovers) const {
        if (std::none_of(objects.begin(), objects.end(), [&](const NamedObject &object) {
                return object.is_part && object.info.modified_ms < oldest_ms_;
            }))
            return;
        std::set<std::string> named;
        for (const NamedObject &object : objects) {
            if (!object.is_segment)
                continue;
            const auto header = read_header(repository_.store(), object.info.key, cancel_);
            if (!header)
                return; // it is going; the next run sees what is left
            for (const WalPart &part : decode_wal_facts(header->header.extension, object.info.key).parts)
                named.insert(part.key);
        }
        for (const NamedObject &object : objects)
            if (object.is_part && object.info.modified_ms < oldest_ms_ && !named.contains(object.info.key))
                leftovers.push_back({object.info.key, object.info.size});
    }

    void make_ranges() {
        for (auto &[timeline, segments] : doomed_)
            for (auto &[segment, objects] : segments) {
                DoomedWal *range = remains_.segments.empty() ? nullptr : &remains_.segments.back();
                if (range == nullptr || range->timeline != timeline || stays_between(timeline, range->last, segment)) {
                    remains_.segments.push_back({timeline, segment, segment, {}});
                    range = &remains_.segments.back();
                }
                range->last = segment;
                std::move(objects.begin(), objects.end(), std::back_inserter(range->objects));
            }
    }

    [[nodiscard]] bool stays_between(TimelineId timeline, uint64_t before, uint64_t after) const {
        const auto kept = plan_.kept.find(timeline);
        return kept != plan_.kept.end() &&
               std::any_of(kept->second.begin(), kept->second.end(),
                           [&](const KeptWal &wal) { return wal.first < after && wal.last > before; });
    }

    void find_gaps() {
        for (const ObjectInfo &object : list_objects(repository_, repository_.layout().gaps_prefix(), cancel_)) {
            const auto parsed = parse_wal_file_name(last_component(object.key).substr(0, kSegmentNameBytes));
            if (parsed && parsed->kind == WalFileKind::kSegment && object.modified_ms < oldest_ms_ &&
                !plan_.keeps_segment(parsed->timeline, segment_number(*parsed, segment_size_)))
                remains_.gaps.push_back({object.key, object.size});
        }
    }

    const Repository &repository_;
    const Catalog &catalog_;
    const RetentionPlan &plan_;
    const uint64_t segment_size_;
    const int64_t oldest_ms_;
    const CancelToken &cancel_;
    std::vector<Directory> directories_;
    std::mutex mutex_;
    std::map<TimelineId, std::map<uint64_t, std::vector<DoomedObject>>> doomed_;
    WalRemains remains_;
};

} // namespace

WalRemains find_wal_remains(const Repository &repository, const Catalog &catalog, const RetentionPlan &plan,
                            int64_t now_ms, int64_t grace_ms, const CancelToken &cancel) {
    return Finder(repository, catalog, plan, now_ms - grace_ms, cancel).find();
}

} // namespace pgvigil
