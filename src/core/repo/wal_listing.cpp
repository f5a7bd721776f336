#include "repo/wal_listing.h"

#include "base/error.h"
#include "base/parallel.h"
#include "base/wal_name.h"
#include "repo/envelope.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <limits>
#include <mutex>
#include <set>

namespace pgvigil {

namespace {

// How many segments behind the start of an epoch, or behind one with an older epoch's bytes, may carry such bytes as
// well: what a writer that lost its role had on its way. Their headers decide whether they count.
constexpr uint64_t kSegmentsCheckedPerEpoch = 64;
constexpr size_t kHeaderReaders = 8;
// Holes are looked into for what arrived late; of a cluster with very many, only the newest.
constexpr size_t kHolesListed = 64;
constexpr size_t kPageKeys = 1000;
constexpr size_t kFirstPageKeys = 16;

// One segment's names while its listing is read.
struct SegmentNames {
    bool plain = false;         // <segment> is there
    uint64_t highest_epoch = 0; // of <segment>~<epoch>, 0 for none
};

struct ListedName {
    uint64_t segment = 0;
    uint64_t epoch = 0; // 0 = the plain name
};

class WalListing {
  public:
    WalListing(const Repository &repository, const WalListingInput &input, TimelineWal &wal,
               std::vector<UnreadableDocument> &unreadable, const CancelToken &cancel)
        : repository_(repository), input_(input), wal_(wal), unreadable_(unreadable), cancel_(cancel),
          highest_(std::numeric_limits<uint64_t>::max() / input.segment_size) {
        if (input.known != nullptr)
            wal_.header_epochs = input.known->header_epochs;
    }

    void run() {
        choose_blocks();
        read_runs_of_blocks();
        list_open_ranges();
        drop_fenced_segments();
        for (const auto &[segment, names] : listed_) {
            add_run(wal_.runs, {segment, segment});
            if (names.highest_epoch != 0)
                wal_.epoch_names[segment] = names.highest_epoch;
        }
        for (const SegmentRun &run : input_.expired)
            cut_run(wal_.runs, run);
    }

  private:
    // An object that was written before a later epoch began within its range may speak of segments that do not count.
    [[nodiscard]] bool is_trusted(const WalBlock &block) const {
        return block.segment_size == input_.segment_size &&
               std::none_of(input_.epochs->begin(), input_.epochs->end(), [&](const EpochDocument &epoch) {
                   return epoch.timeline == wal_.timeline && epoch.number > block.epoch && epoch.number > 1 &&
                          segment_of(epoch.lsn, input_.segment_size) <= block.last;
               });
    }

    void add_newest(const std::vector<WalBlock> &blocks, std::vector<WalBlock> &chosen) const {
        std::map<uint64_t, WalBlock> newest;
        for (const WalBlock &block : blocks) {
            if (!is_trusted(block))
                continue;
            const auto [at, is_new] = newest.emplace(block.start, block);
            const auto rank = [](const WalBlock &b) { return std::tuple(b.epoch, b.count, b.generation); };
            if (!is_new && rank(at->second) < rank(block))
                at->second = block;
        }
        for (const auto &[start, block] : newest)
            chosen.push_back(block);
    }

    // The largest span everywhere it is there, the smaller one in between and behind.
    void choose_blocks() {
        std::vector<WalBlock> chosen;
        add_newest(input_.blocks, chosen);
        SegmentRuns covered = input_.expired;
        for (const WalBlock &block : chosen)
            add_run(covered, {block.start, block.end()});
        const uint64_t begin = chosen.empty() ? 0 : chosen.front().start;
        std::vector<WalBlock> small;
        for (const SegmentRun &open : holes_in(covered, {begin, highest_}))
            list_small_blocks(open, small);
        add_newest(small, chosen);
        std::erase_if(chosen, [this](const WalBlock &block) {
            const SegmentRun *run = find_run(input_.expired, block.first);
            return run != nullptr && block.last <= run->last;
        });
        std::sort(chosen.begin(), chosen.end(), [](const auto &a, const auto &b) { return a.start < b.start; });
        wal_.blocks = std::move(chosen);
    }

    void list_small_blocks(const SegmentRun &open, std::vector<WalBlock> &found) const {
        const uint64_t span = kWalIndexSpans.back();
        const uint64_t first = open.first - open.first % span;
        const std::string prefix = repository_.layout().walindex_prefix(span, wal_.timeline);
        std::string after = first == 0 ? std::string() : prefix + fmt::format("{:016X}", first);
        for (;;) {
            const ListPage page = repository_.store().list({.prefix = prefix, .start_after = after}, cancel_);
            for (const ObjectInfo &object : page.objects)
                if (const auto block = parse_wal_block_key(repository_.layout(), object.key)) {
                    if (block->start > open.last)
                        return;
                    found.push_back(*block);
                }
            if (!page.more)
                return;
            after = page.last;
        }
    }

    void read_runs_of_blocks() {
        std::vector<WalBlock> readable;
        for (const WalBlock &block : wal_.blocks) {
            if (block.is_whole()) {
                add_run(wal_.runs, {block.first, block.last});
            } else if (is_known(block)) {
                add_known_runs(block);
            } else if (!read_runs(block)) {
                continue;
            }
            readable.push_back(block);
        }
        wal_.blocks = std::move(readable);
    }

    [[nodiscard]] bool is_known(const WalBlock &block) const {
        return input_.known != nullptr &&
               std::find(input_.known->blocks.begin(), input_.known->blocks.end(), block) != input_.known->blocks.end();
    }

    void add_known_runs(const WalBlock &block) {
        for (const SegmentRun &run : input_.known->runs)
            if (run.first <= block.last && block.first <= run.last)
                add_run(wal_.runs, {std::max(run.first, block.first), std::min(run.last, block.last)});
    }

    bool read_runs(const WalBlock &block) {
        try {
            const auto segments = read_wal_block(repository_, block, cancel_);
            if (!segments)
                return false;
            for (const SegmentRun &run : runs_of(*segments))
                add_run(wal_.runs, run);
            return true;
        } catch (const Error &error) {
            if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported)
                throw;
            unreadable_.push_back({wal_block_key(repository_.layout(), block), error.message()});
            return false;
        }
    }

    void list_open_ranges() {
        SegmentRuns covered = input_.expired;
        for (const SegmentRun &run : wal_.runs)
            add_run(covered, run);
        SegmentRuns open = holes_in(covered, {0, highest_});
        // Where the WAL begins is known from before: what is older only goes.
        const bool begins_known = input_.known != nullptr && !input_.known->runs.empty();
        if (begins_known && open.size() > 1 && open.front().last < input_.known->runs.front().first)
            open.erase(open.begin());
        if (open.empty())
            return;
        // From the last stored segment on, that one included: its time is the newest.
        if (!wal_.runs.empty() && open.back().first == wal_.runs.back().last + 1)
            --open.back().first;
        if (open.size() > kHolesListed)
            open.erase(open.begin(), open.end() - kHolesListed);
        for (const SegmentRun &range : open)
            list_range(range);
    }

    void list_range(const SegmentRun &range) {
        const std::string prefix = repository_.layout().wal_prefix(wal_.timeline);
        std::string after;
        if (range.first > 0)
            // '~' sorts behind everything that may follow a segment's name.
            after =
                repository_.layout().wal_file(segment_name(wal_.timeline, range.first - 1, input_.segment_size)) + "~~";
        // Mostly a hole is empty: what comes first then lies behind it.
        size_t limit = range.last == highest_ ? kPageKeys : kFirstPageKeys;
        for (;; limit = kPageKeys) {
            const ListPage page =
                repository_.store().list({.prefix = prefix, .start_after = after, .limit = limit}, cancel_);
            for (const ObjectInfo &object : page.objects) {
                const auto name = parse(object.key);
                if (!name)
                    continue;
                if (name->segment > range.last)
                    return;
                add(*name, object.modified_ms);
            }
            if (!page.more)
                return;
            after = page.last;
        }
    }

    [[nodiscard]] std::optional<ListedName> parse(std::string_view key) const {
        std::string_view name = key.substr(key.rfind('/') + 1);
        ListedName listed;
        const size_t tilde = name.find('~');
        if (tilde != std::string_view::npos) {
            const std::string_view number = name.substr(tilde + 1);
            const auto [end, status] = std::from_chars(number.data(), number.data() + number.size(), listed.epoch);
            if (status != std::errc() || end != number.data() + number.size() || listed.epoch == 0)
                return std::nullopt;
            name = name.substr(0, tilde);
        }
        const auto parsed = parse_wal_file_name(name);
        if (!parsed || parsed->kind != WalFileKind::kSegment || parsed->timeline != wal_.timeline)
            return std::nullopt;
        listed.segment = segment_number(*parsed, input_.segment_size);
        return listed;
    }

    void add(const ListedName &name, int64_t modified_ms) {
        SegmentNames &entry = listed_[name.segment];
        if (name.epoch == 0)
            entry.plain = true;
        else
            entry.highest_epoch = std::max(entry.highest_epoch, name.epoch);
        wal_.newest_object_ms = std::max(wal_.newest_object_ms, modified_ms);
    }

    // Takes out segments that only an epoch wrote which was not the writer there any more (rules C2).
    void drop_fenced_segments() {
        std::erase_if(wal_.header_epochs, [this](const auto &entry) { return !listed_.contains(entry.first); });
        for (const EpochDocument &epoch : *input_.epochs)
            if (epoch.timeline == wal_.timeline && epoch.number > 1)
                for (const uint64_t segment : fenced_by(epoch))
                    listed_.erase(segment);
    }

    // A server that was put back to an earlier state may have given up any number of segments. Where it has not got
    // beyond them, the newest of all is one: then every header is read. Else only those are that follow the epoch's
    // start, and what it wrote beside an older epoch's.
    std::vector<uint64_t> fenced_by(const EpochDocument &epoch) {
        const uint64_t start = segment_of(epoch.lsn, input_.segment_size);
        uint64_t window = start + kSegmentsCheckedPerEpoch;
        const auto last = std::find_if(listed_.rbegin(), listed_.rend(),
                                       [&](const auto &entry) { return may_be_fenced(entry, epoch); });
        if (last != listed_.rend() && last->first >= window) {
            if (!wal_.header_epochs.contains(last->first))
                read_header_epochs({last->first});
            if (epoch_in_header(last->first) < epoch.number)
                window = std::numeric_limits<uint64_t>::max();
        }
        for (;;) {
            std::vector<uint64_t> fenced;
            std::vector<uint64_t> unknown;
            uint64_t end = window;
            for (auto at = listed_.lower_bound(start); at != listed_.end(); ++at) {
                const uint64_t segment = at->first;
                bool is_fenced = false;
                if (segment < end && may_be_fenced(*at, epoch)) {
                    if (!wal_.header_epochs.contains(segment) && !vanished_.contains(segment))
                        unknown.push_back(segment);
                    is_fenced = epoch_in_header(segment) < epoch.number;
                }
                if (is_fenced)
                    fenced.push_back(segment);
                if (is_fenced || (at->second.plain && at->second.highest_epoch >= epoch.number))
                    end = std::max(end, segment + 1 + kSegmentsCheckedPerEpoch);
            }
            if (unknown.empty())
                return fenced;
            read_header_epochs(unknown);
        }
    }

    [[nodiscard]] bool may_be_fenced(const std::pair<const uint64_t, SegmentNames> &entry,
                                     const EpochDocument &epoch) const {
        return entry.second.plain && entry.second.highest_epoch < epoch.number &&
               find_run(wal_.runs, entry.first) == nullptr;
    }

    // One that is not known, or vanished meanwhile, is taken for the newest epoch's.
    [[nodiscard]] uint64_t epoch_in_header(uint64_t segment) const {
        const auto known = wal_.header_epochs.find(segment);
        return known == wal_.header_epochs.end() ? std::numeric_limits<uint64_t>::max() : known->second;
    }

    void read_header_epochs(const std::vector<uint64_t> &segments) {
        std::mutex mutex;
        parallel_for(segments.size(), kHeaderReaders, [&](size_t index) {
            const uint64_t segment = segments[index];
            const std::string key =
                repository_.layout().wal_file(segment_name(wal_.timeline, segment, input_.segment_size));
            const auto parsed = read_header(repository_.store(), key, cancel_);
            const std::lock_guard lock(mutex);
            if (parsed)
                wal_.header_epochs[segment] = parsed->header.epoch;
            else
                vanished_.insert(segment);
        });
    }

    const Repository &repository_;
    const WalListingInput &input_;
    TimelineWal &wal_;
    std::vector<UnreadableDocument> &unreadable_;
    const CancelToken &cancel_;
    const uint64_t highest_; // no segment has a higher number
    std::map<uint64_t, SegmentNames> listed_;
    std::set<uint64_t> vanished_;
};

} // namespace

void list_wal(const Repository &repository, const WalListingInput &input, TimelineWal &wal,
              std::vector<UnreadableDocument> &unreadable, const CancelToken &cancel) {
    WalListing(repository, input, wal, unreadable, cancel).run();
}

uint64_t sample_segment_size(const Repository &repository, TimelineId timeline, const CancelToken &cancel) {
    const std::string prefix = repository.layout().wal_prefix(timeline);
    std::string after;
    for (;;) {
        const ListPage page = repository.store().list({.prefix = prefix, .start_after = after}, cancel);
        for (const ObjectInfo &object : page.objects) {
            const auto name = parse_wal_file_name(std::string_view(object.key).substr(object.key.rfind('/') + 1));
            if (!name || name->kind != WalFileKind::kSegment)
                continue;
            const auto parsed = read_header(repository.store(), object.key, cancel);
            if (parsed && is_valid_segment_size(parsed->header.plain_length))
                return parsed->header.plain_length;
        }
        if (!page.more)
            return 0;
        after = page.last;
    }
}

std::optional<std::vector<IndexedSegment>> read_wal_block(const Repository &repository, const WalBlock &block,
                                                          const CancelToken &cancel) {
    const std::string key = wal_block_key(repository.layout(), block);
    const auto object = repository.store().get(key, kMaxWalIndexBytes, cancel);
    if (!object)
        return std::nullopt;
    return decode_wal_block(block, *object, key);
}

} // namespace pgvigil
