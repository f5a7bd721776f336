// The rules of the streamed tail under random histories: crashes between any two requests, recovery that rewrites what
// had been shipped, merged pieces, take-overs, a fenced writer that goes on, expiry. Readers must always see one
// consistent life of the server, and never less than what was acknowledged.
#include "repo/tail.h"

#include "base/wal_name.h"
#include "repo/epochs.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <rapidcheck/gtest.h>
#include <set>
#include <tuple>

namespace pgvigil {
namespace {

constexpr uint64_t kSize = 8; // bytes of a segment: the rules do not care
constexpr uint64_t kPage = 4;

// Every byte tells which life of the server wrote it.
using Wal = std::vector<int>;

struct StoredPiece {
    TailPiece piece;
    Wal content;
};

class World {
  public:
    World() {
        epochs_.push_back({1, {}, "", 1, Lsn{0}, "", 0});
        begin_run();
    }

    void step(int what) {
        log_ += "step " + std::to_string(what) + "\n";
        switch (what) {
        case 0:
        case 1:
            return write();
        case 2:
        case 3:
        case 4:
            return ship();
        case 5:
            return complete_record();
        case 6:
            return archive();
        case 7:
            return merge();
        case 8:
            return crash();
        case 9:
            return clean_up();
        case 10:
            return take_over();
        case 11:
            return zombie();
        default:
            return;
        }
    }

    void check() {
        log_ += "WAL " + std::to_string(wal_.size()) + ", acknowledged " + std::to_string(acknowledged_) + "\n";
        RC_LOG() << log_;
        const Wal seen = read();
        RC_ASSERT(seen.size() >= acknowledged_);
        RC_ASSERT(std::equal(wal_.begin(), wal_.begin() + static_cast<ptrdiff_t>(acknowledged_), seen.begin()));
        // What is beyond belongs to one life: no mixture.
        RC_ASSERT(is_prefix(seen, wal_) ||
                  std::any_of(lives_.begin(), lives_.end(), [&](const Wal &life) { return is_prefix(seen, life); }));
    }

  private:
    static bool is_prefix(const Wal &part, const Wal &whole) {
        return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
    }
    static uint64_t below(uint64_t limit) { return *rc::gen::inRange<uint64_t>(0, limit); }

    [[nodiscard]] TimelineTail listing() const {
        TimelineTail tail;
        tail.timeline = 1;
        tail.segment_size = kSize;
        tail.runs = runs_;
        for (const StoredPiece &stored : pieces_)
            tail.segments[stored.piece.segment].push_back(stored.piece);
        for (auto &[segment, pieces] : tail.segments)
            std::sort(pieces.begin(), pieces.end(), [](const TailPiece &a, const TailPiece &b) {
                return std::tie(a.run, a.from, a.to) < std::tie(b.run, b.from, b.to);
            });
        return tail;
    }
    [[nodiscard]] const Wal *stored(uint64_t segment) const {
        const auto found = complete_.find(segment);
        if (found == complete_.end())
            return nullptr;
        const uint64_t lowest = lowest_accepted_epoch(epochs_, 1, segment, kSize);
        const Wal *content = nullptr;
        for (const auto &[epoch, wal] : found->second)
            if (epoch >= lowest)
                content = &wal;
        return content;
    }
    [[nodiscard]] TailContext context() const {
        return {epochs_, [this](uint64_t segment) { return stored(segment) != nullptr; }};
    }
    [[nodiscard]] Wal content(const TailCover &cover) const {
        Wal bytes;
        for (const TailPiece &piece : cover.pieces) {
            const auto found = std::find_if(pieces_.begin(), pieces_.end(), [&](const StoredPiece &one) {
                return one.piece.run == piece.run && one.piece.segment == piece.segment &&
                       one.piece.from == piece.from && one.piece.to == piece.to;
            });
            bytes.resize(piece.from);
            bytes.insert(bytes.end(), found->content.begin(), found->content.end());
        }
        RC_ASSERT(bytes.size() == cover.end);
        return bytes;
    }

    // What a recovery from the beginning gets.
    [[nodiscard]] Wal read() const {
        const TimelineTail tail = listing();
        Wal seen;
        for (uint64_t segment = 0;; ++segment) {
            if (const Wal *whole = stored(segment)) {
                seen.insert(seen.end(), whole->begin(), whole->end());
                continue;
            }
            const auto cover = tail_cover(tail, context(), segment);
            if (cover) {
                RC_ASSERT(!cover->hole);
                const Wal bytes = content(*cover);
                seen.insert(seen.end(), bytes.begin(), bytes.end());
            }
            if (!cover || cover->end < kSize) {
                RC_ASSERT(!has_later_tail(tail, context(), segment));
                return seen;
            }
        }
    }

    void begin_run() {
        TailRun run;
        run.id = {epochs_.back().number, 1};
        if (!runs_.empty() && runs_.back().id.epoch == run.id.epoch)
            run.id.number = runs_.back().id.number + 1;
        run.timeline = 1;
        run.from = segment_start(segment_of(Lsn{wal_.size()}, kSize), kSize);
        run.segment_size = kSize;
        runs_.push_back(run);
        shipped_.clear();
        opening_.clear();
        finished_.clear();
        // What an earlier run has whole needs nothing more; where the WAL ends now it may have been something else.
        const TimelineTail tail = listing();
        for (const auto &[segment, pieces] : tail.segments)
            if (const auto cover = tail_cover(tail, context(), segment);
                cover && cover->end == kSize && segment < segment_of(run.from, kSize))
                finished_.insert(segment);
    }

    [[nodiscard]] bool is_finished(uint64_t segment) const {
        const auto shipped = shipped_.find(segment);
        return stored(segment) != nullptr || finished_.contains(segment) ||
               (shipped != shipped_.end() && shipped->second == kSize);
    }

    void put(uint64_t segment, uint64_t from, uint64_t to) { put(runs_.back().id, wal_, segment, from, to); }
    void put(TailRunId run, const Wal &wal, uint64_t segment, uint64_t from, uint64_t to) {
        StoredPiece stored;
        stored.piece.run = run;
        stored.piece.segment = segment;
        stored.piece.from = static_cast<uint32_t>(from);
        stored.piece.to = static_cast<uint32_t>(to);
        const auto begin = wal.begin() + static_cast<ptrdiff_t>(segment * kSize);
        stored.content.assign(begin + static_cast<ptrdiff_t>(from), begin + static_cast<ptrdiff_t>(to));
        pieces_.push_back(stored);
        log_ += "put " + std::to_string(run.epoch) + "-" + std::to_string(run.number) + " " + std::to_string(segment) +
                ":" + std::to_string(from) + "-" + std::to_string(to) + "\n";
    }

    void write() {
        const uint64_t count = 1 + below(6);
        wal_.insert(wal_.end(), count, life_);
    }
    void complete_record() {
        record_end_ = wal_.size();
        acknowledge();
    }
    // What is there up to the end of the last complete record counts as committed and durable.
    void acknowledge() {
        uint64_t position = 0;
        for (uint64_t segment = 0;; ++segment) {
            const auto shipped = shipped_.find(segment);
            if (is_finished(segment)) {
                position = (segment + 1) * kSize;
                continue;
            }
            if (shipped != shipped_.end())
                position = segment * kSize + shipped->second;
            break;
        }
        acknowledged_ = std::max(acknowledged_, std::min(position, record_end_));
    }

    void ship() {
        uint64_t segment = 0;
        while (is_finished(segment))
            ++segment;
        const uint64_t start = segment * kSize;
        const uint64_t done = shipped_.contains(segment) ? shipped_.at(segment) : 0;
        const uint64_t end = std::min<uint64_t>(wal_.size(), start + kSize);
        if (end <= start + done)
            return;
        const uint64_t to = end - start;
        if (done == 0) {
            // The opening holds everything; a large one goes from its last piece to its first.
            const uint64_t last = opening_.contains(segment) ? opening_.at(segment) : to;
            const uint64_t from = last > 1 && below(3) == 0 ? 1 + below(last - 1) : 0;
            put(segment, from, last);
            if (!opening_.contains(segment))
                opening_end_[segment] = last;
            opening_[segment] = from;
            if (from == 0)
                shipped_[segment] = opening_end_[segment];
        } else {
            const uint64_t until = done + 1 + below(to - done);
            put(segment, done, until);
            shipped_[segment] = until;
        }
        acknowledge();
    }

    void merge() {
        const TailRunId own = runs_.back().id;
        for (const auto &[segment, end] : shipped_) {
            std::vector<TailPiece> mine;
            for (const StoredPiece &stored : pieces_)
                if (stored.piece.run == own && stored.piece.segment == segment)
                    mine.push_back(stored.piece);
            if (mine.size() < 2)
                continue;
            const TailPiece first = mine[below(mine.size())];
            const TailPiece last = mine[below(mine.size())];
            if (first.from < last.to)
                put(segment, first.from, last.to);
            return;
        }
    }

    void archive() {
        uint64_t segment = 0;
        while (stored(segment) != nullptr)
            ++segment;
        if ((segment + 1) * kSize > wal_.size())
            return;
        const auto begin = wal_.begin() + static_cast<ptrdiff_t>(segment * kSize);
        complete_[segment][epochs_.back().number] = Wal(begin, begin + static_cast<ptrdiff_t>(kSize));
        acknowledge();
    }

    // Recovery ends with the last complete record, or later. A record whose end was not flushed is written over from
    // the page on that lacks it: pages that were flushed whole stay as they are.
    void crash() {
        lives_.push_back(wal_);
        const uint64_t lowest = std::max<uint64_t>(record_end_, wal_.size() / kPage * kPage);
        wal_.resize(lowest + below(wal_.size() - lowest + 1));
        ++life_;
        begin_run();
    }

    void take_over() {
        lives_.push_back(wal_);
        zombie_ = {runs_.back().id, wal_};
        const uint64_t segment = below(wal_.size() / kSize + 1);
        wal_.resize(segment * kSize);
        ++life_;
        epochs_.push_back({epochs_.back().number + 1, {}, "", 1, segment_start(segment, kSize), "", 0});
        acknowledged_ = std::min<uint64_t>(acknowledged_, wal_.size());
        record_end_ = std::min<uint64_t>(record_end_, wal_.size());
        begin_run();
    }

    // The writer that lost its role stores what it had on its way.
    void zombie() {
        if (!zombie_)
            return;
        const auto &[run, wal] = *zombie_;
        const uint64_t lsn = epochs_.back().lsn.value;
        const uint64_t segment = lsn / kSize + below(3);
        if (segment * kSize >= wal.size())
            return;
        const uint64_t to = std::min<uint64_t>(wal.size() - segment * kSize, kSize);
        if (to == kSize && below(2) == 0)
            complete_[segment][run.epoch] = Wal(wal.begin() + static_cast<ptrdiff_t>(segment * kSize),
                                                wal.begin() + static_cast<ptrdiff_t>((segment + 1) * kSize));
        else
            put(run, wal, segment, 0, to);
    }

    void clean_up() {
        std::erase_if(pieces_, [this](const StoredPiece &stored) {
            return this->stored(stored.piece.segment) != nullptr && below(2) == 0;
        });
        // A run's document goes when nothing is left that it decides about.
        const TailRunId highest = runs_.back().id;
        std::erase_if(runs_, [&](const TailRun &run) {
            const uint64_t first = segment_of(run.from, kSize);
            return run.id != highest && std::none_of(pieces_.begin(), pieces_.end(), [&](const StoredPiece &stored) {
                       return stored.piece.run == run.id || (stored.piece.run < run.id && stored.piece.segment > first);
                   });
        });
    }

    std::string log_;
    Wal wal_;
    std::vector<Wal> lives_;
    int life_ = 1;
    uint64_t record_end_ = 0;
    uint64_t acknowledged_ = 0;

    std::vector<EpochDocument> epochs_;
    std::map<uint64_t, std::map<uint64_t, Wal>> complete_; // by segment and epoch
    std::vector<StoredPiece> pieces_;
    std::vector<TailRun> runs_;

    // The present run: how far each segment is shipped, and what of its opening is there.
    std::map<uint64_t, uint64_t> shipped_;
    std::map<uint64_t, uint64_t> opening_;
    std::map<uint64_t, uint64_t> opening_end_;
    std::set<uint64_t> finished_;
    std::optional<std::pair<TailRunId, Wal>> zombie_;
};

RC_GTEST_PROP(TailProperty, readers_see_one_life_and_all_that_was_acknowledged, ()) {
    World world;
    const size_t steps = *rc::gen::inRange<size_t>(1, 60);
    for (size_t i = 0; i < steps; ++i) {
        world.step(*rc::gen::inRange(0, 12));
        world.check();
    }
}

} // namespace
} // namespace pgvigil
