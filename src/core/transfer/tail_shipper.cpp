#include "transfer/tail_shipper.h"

#include "base/error.h"
#include "base/time.h"
#include "base/wal_name.h"
#include "crypto/digest.h"
#include "repo/expired_wal.h"
#include "repo/stored_segments.h"
#include "repo/tail_piece.h"
#include "repo/wal_object.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <utility>

namespace pgvigil {

namespace {

// Up to this part of a segment is shipped without waiting for the archiver to store the whole.
constexpr uint64_t kShippedAnyway = 4;

int64_t steady_us() {
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

} // namespace

TailShipper::TailShipper(const TailWriterOptions &options, std::shared_ptr<Repository> repository)
    : options_(options), repository_(std::move(repository)),
      source_(options.wal_directory, options.system_identifier, options.segment_size, options.timeline),
      encoder_(options.compression), pieces_(kWalPartBytes) {}

void TailShipper::begin(const CancelToken &cancel) {
    const uint64_t size = options_.segment_size;
    epochs_ = list_epochs(*repository_, 0, cancel);
    const uint64_t last = segment_of(options_.wal_end, size);
    SegmentRuns stored = stored_segments(*repository_, epochs_, options_.timeline, size,
                                         {options_.first_segment, std::max(last, options_.first_segment)}, cancel);
    const TimelineTail tail = list_tail(*repository_, options_.timeline, size, options_.first_segment, cancel);
    const TailContext context{epochs_, [&](uint64_t segment) {
                                  return segment < options_.first_segment || find_run(stored, segment) != nullptr;
                              }};
    std::set<uint64_t> whole;
    for (const auto &entry : tail.segments) {
        // Where the WAL ends now, or behind, an earlier life may have written something else.
        if (entry.first >= last)
            break;
        const auto cover = tail_cover(tail, context, entry.first);
        if (cover && !cover->hole && cover->end == size && is_of_this_server(entry.first, *cover, cancel))
            whole.insert(entry.first);
    }
    // What expiry has taken away nobody wants back.
    const auto expired = expired_runs(list_expired_wal(*repository_, cancel), epochs_, size);
    const std::lock_guard lock(mutex_);
    counters_.requests += 4;
    for (const SegmentRun &run : stored)
        add_run(archived_, run);
    if (const auto here = expired.find(options_.timeline); here != expired.end())
        for (const SegmentRun &run : here->second)
            add_run(archived_, run);
    whole_tails_ = std::move(whole);
    segment_ = options_.first_segment;
    position_ = segment_start(segment_, size);
    begun_ = true;
}

// An earlier life may have streamed another history: the disk may have been put back since.
bool TailShipper::is_of_this_server(uint64_t segment, const TailCover &cover, const CancelToken &cancel) {
    try {
        for (const TailPiece &piece : cover.pieces) {
            const std::string key =
                tail_piece_key(repository_->layout(), options_.timeline, options_.segment_size, piece);
            const auto header = read_header(repository_->store(), key, cancel);
            if (!header || sha256(source_.read(segment, piece.from, piece.to, cancel)) != header->header.digest)
                return false;
        }
        return true;
    } catch (const Error &error) {
        // Of a file that is gone nothing can be said, nor shipped.
        if (error.code() != ErrorCode::kNotFound)
            throw;
        return true;
    }
}

TailShipper::Point TailShipper::point() const {
    const std::lock_guard lock(mutex_);
    return {position_, last_transaction_us_};
}

void TailShipper::segment_archived(uint64_t segment, bool everywhere) {
    const std::lock_guard lock(mutex_);
    if (everywhere)
        add_run(archived_, {segment, segment});
    else
        doubtful_.insert(segment);
}

bool TailShipper::is_stored(uint64_t segment, const CancelToken &cancel) {
    {
        const std::lock_guard lock(mutex_);
        if (find_run(archived_, segment) != nullptr)
            return true;
        ++counters_.requests;
    }
    const bool stored =
        is_segment_stored(*repository_, epochs_, options_.timeline, options_.segment_size, segment, cancel);
    const std::lock_guard lock(mutex_);
    doubtful_.erase(segment);
    if (stored)
        add_run(archived_, {segment, segment});
    return stored;
}

bool TailShipper::is_finished(uint64_t segment) {
    const std::lock_guard lock(mutex_);
    return find_run(archived_, segment) != nullptr || whole_tails_.contains(segment);
}

// Everything of the segment is there: on to the next.
void TailShipper::pass(uint64_t segment) {
    const std::lock_guard lock(mutex_);
    if (!keys_.empty())
        garbage_.push_back({segment, std::move(keys_)});
    keys_.clear();
    pieces_ = TailPieces(kWalPartBytes);
    segment_ = segment + 1;
    scan_ = PiecewiseScan();
    scanned_ = 0;
    position_ = segment_start(segment_, options_.segment_size);
}

TailStep TailShipper::step(const TailGoal &goal, const CancelToken &cancel) {
    if (!begun_)
        begin(cancel);
    const uint64_t size = options_.segment_size;
    const Lsn before = position();
    // Looks, without a request, past all that is finished.
    while (segment_start(segment_ + 1, size) <= goal.flushed && is_finished(segment_))
        pass(segment_);
    const Lsn at = position();
    if (at >= goal.flushed)
        return at > before ? TailStep::kAdvanced : TailStep::kIdle;

    const uint64_t start = segment_start(segment_, size).value;
    const uint64_t to = std::min(goal.flushed.value - start, size);
    if (to == size) {
        bool doubtful = false;
        {
            const std::lock_guard lock(mutex_);
            doubtful = doubtful_.contains(segment_);
        }
        const bool small = start + size - at.value <= size / kShippedAnyway;
        if ((doubtful || (goal.impatient && !small)) && is_stored(segment_, cancel)) {
            pass(segment_);
            return TailStep::kAdvanced;
        }
        if (!small && !goal.impatient)
            return at > before ? TailStep::kAdvanced : TailStep::kWaiting;
    }
    return ship(segment_, to, cancel);
}

TailStep TailShipper::ship(uint64_t segment, uint64_t to, const CancelToken &cancel) {
    ensure_run(cancel);
    const uint64_t start = segment_start(segment, options_.segment_size).value;
    const uint64_t from = position().value - start;
    // An earlier life may have had all of it: until this one has as much, that one holds the segment.
    const bool opening = from == 0 && start <= run_->from.value;
    if (opening && to > kWalPartBytes) {
        ship_backwards(segment, to, cancel);
    } else {
        to = std::min(to, from + kWalPartBytes);
        ship_piece(segment, from, to, cancel);
    }
    if (to == options_.segment_size) {
        pass(segment);
        const std::lock_guard lock(mutex_);
        last_transaction_us_ = std::max(last_transaction_us_, scanned_time_us_);
        return TailStep::kAdvanced;
    }
    const std::lock_guard lock(mutex_);
    last_transaction_us_ = std::max(last_transaction_us_, scanned_time_us_);
    position_ = Lsn{start + to};
    return TailStep::kAdvanced;
}

void TailShipper::ship_piece(uint64_t segment, uint64_t from, uint64_t to, const CancelToken &cancel) {
    const int64_t began = steady_us();
    // The scan goes on at the beginning of a page.
    const uint64_t read_from = std::min(from, scanned_);
    const ByteView bytes = source_.read(segment, read_from, to, cancel);
    TailRange range{static_cast<uint32_t>(from), static_cast<uint32_t>(to), extend_scan(segment, to, bytes, read_from)};
    put_piece(segment, range, bytes.subspan(from - read_from), encoder_, cancel);
    const std::lock_guard lock(mutex_);
    pieces_.add(std::move(range));
    counters_.last_put_us = steady_us() - began;
}

void TailShipper::ship_backwards(uint64_t segment, uint64_t to, const CancelToken &cancel) {
    std::vector<TailRange> ranges;
    scan_ = PiecewiseScan();
    scanned_ = 0;
    for (uint64_t from = 0; from < to; from += kWalPartBytes) {
        const uint64_t end = std::min(to, from + kWalPartBytes);
        const ByteView bytes = source_.read(segment, from, end, cancel);
        ranges.push_back(
            {static_cast<uint32_t>(from), static_cast<uint32_t>(end), extend_scan(segment, end, bytes, from)});
    }
    for (auto range = ranges.rbegin(); range != ranges.rend(); ++range)
        put_piece(segment, *range, source_.read(segment, range->from, range->to, cancel), encoder_, cancel);
    const std::lock_guard lock(mutex_);
    for (TailRange &range : ranges)
        pieces_.add(std::move(range));
}

// The facts of [0, to) as a header's extension. `bytes` are [bytes_from, to), bytes_from at or before what was scanned.
std::string TailShipper::extend_scan(uint64_t segment, uint64_t to, ByteView bytes, uint64_t bytes_from) {
    const uint64_t start = segment_start(segment, options_.segment_size).value;
    const uint64_t whole_pages = to - to % source_.block_size();
    if (whole_pages > scanned_) {
        scan_.add(bytes.subspan(scanned_ - bytes_from, whole_pages - scanned_), Lsn{start + scanned_});
        scanned_ = whole_pages;
    }
    PiecewiseScan with_rest = scan_;
    if (to > scanned_)
        with_rest.add(bytes.subspan(scanned_ - bytes_from), Lsn{start + scanned_});
    WalScanSummary summary = with_rest.finish();
    scanned_time_us_ = std::max(scanned_time_us_, summary.last_time_us.value_or(0));
    return encode_tail_facts({options_.segment_size, std::move(summary)});
}

void TailShipper::put_piece(uint64_t segment, const TailRange &range, ByteView plain, FrameEncoder &encoder,
                            const CancelToken &cancel) {
    TailPiece piece;
    piece.run = run_->id;
    piece.segment = segment;
    piece.from = range.from;
    piece.to = range.to;
    const std::string key = tail_piece_key(repository_->layout(), options_.timeline, options_.segment_size, piece);
    const Bytes body = encode_tail_piece(plain, options_.epoch, range.extension, encoder);
    PutRequest request;
    request.key = key;
    request.body = body;
    request.role = ObjectRole::kWal;
    count_request();
    if (repository_->store().put_new(request, cancel) == PutOutcome::kAlreadyExists) {
        // An earlier try whose answer never came, with other bytes around the same content.
        const auto there = read_header(repository_->store(), key, cancel);
        const ObjectHeader mine = parse_header(body, key).header;
        if (!there || there->header.kind != mine.kind || there->header.plain_length != mine.plain_length ||
            there->header.digest != mine.digest)
            throw Error(ErrorCode::kConflict, fmt::format("could not stream WAL to \"{}\": \"{}\" holds other content",
                                                          repository_->url(), key));
    }
    const std::lock_guard lock(mutex_);
    if (segment == segment_)
        keys_.push_back(key);
    else
        garbage_.push_back({segment, {key}});
    ++counters_.pieces;
    counters_.stored_bytes += body.size();
    counters_.plain_bytes += plain.size();
}

void TailShipper::ensure_run(const CancelToken &cancel) {
    if (run_)
        return;
    TailRun run;
    run.id.epoch = options_.epoch;
    run.instance = options_.instance;
    run.host = options_.host;
    run.timeline = options_.timeline;
    run.segment_size = options_.segment_size;
    run.from = segment_start(segment_of(options_.wal_end, options_.segment_size), options_.segment_size);
    count_request();
    claim_tail_run(*repository_, run, cancel);
    const std::lock_guard lock(mutex_);
    run_ = run;
}

std::optional<TailRange> TailShipper::begin_merge(uint64_t &segment) {
    const std::lock_guard lock(mutex_);
    segment = segment_;
    return pieces_.begin_merge();
}

void TailShipper::store_merged(uint64_t segment, const TailRange &range, TailSource &source, FrameEncoder &encoder,
                               const CancelToken &cancel) {
    put_piece(segment, range, source.read(segment, range.from, range.to, cancel), encoder, cancel);
}

void TailShipper::end_merge(uint64_t segment, const TailRange &range, bool stored) {
    const std::lock_guard lock(mutex_);
    if (segment == segment_)
        pieces_.end_merge(range, stored);
}

std::vector<TailGarbage> TailShipper::take_garbage() {
    const std::lock_guard lock(mutex_);
    return std::exchange(garbage_, {});
}

TailCounters TailShipper::counters() const {
    const std::lock_guard lock(mutex_);
    return counters_;
}

void TailShipper::count_request() noexcept {
    const std::lock_guard lock(mutex_);
    ++counters_.requests;
}

} // namespace pgvigil
