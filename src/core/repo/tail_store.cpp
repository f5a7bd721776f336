// The tail's names, listings and run documents in a repository.
#include "repo/tail.h"

#include "base/error.h"
#include "base/time.h"
#include "base/wal_name.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <set>
#include <tuple>

namespace pgvigil {

namespace {

constexpr uint32_t kMaxClaims = 1000;

// The number that fills `text` exactly; nullopt for anything else.
template <class T> std::optional<T> number_in(std::string_view text, int base) {
    T value{};
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (status != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

std::string run_name(TailRunId run) {
    return fmt::format("{:010}-{:06}", run.epoch, run.number);
}

// "<10 digits>-<6 digits>", the whole text.
std::optional<TailRunId> parse_run(std::string_view text) {
    if (text.size() != 17 || text[10] != '-')
        return std::nullopt;
    const auto epoch = number_in<uint64_t>(text.substr(0, 10), 10);
    const auto number = number_in<uint32_t>(text.substr(11), 10);
    if (!epoch || !number)
        return std::nullopt;
    return TailRunId{*epoch, *number};
}

std::string piece_name(const TailPiece &piece) {
    return run_name(piece.run) + fmt::format("-{:08X}-{:08X}", piece.from, piece.to);
}

// "<run>-<from>-<to>"; nullopt for a name that speaks of no bytes, or that nobody writes so.
std::optional<TailPiece> parse_piece(std::string_view text) {
    if (text.size() != 35 || text[17] != '-' || text[26] != '-')
        return std::nullopt;
    const auto run = parse_run(text.substr(0, 17));
    const auto from = number_in<uint32_t>(text.substr(18, 8), 16);
    const auto to = number_in<uint32_t>(text.substr(27), 16);
    if (!run || !from || !to || *from >= *to || *to > kGiB)
        return std::nullopt;
    TailPiece piece;
    piece.run = *run;
    piece.from = *from;
    piece.to = *to;
    return piece_name(piece) == text ? std::optional(piece) : std::nullopt;
}

// One timeline's keys, put into order once the size of its segments is known.
class TailListing {
  public:
    TailListing(const Repository &repository, TimelineId timeline, const CancelToken &cancel)
        : repository_(repository), cancel_(cancel) {
        tail_.timeline = timeline;
    }

    TimelineTail run(uint64_t segment_size, std::string_view first_segment, const TimelineTail *known) {
        const std::string prefix = repository_.layout().tail_prefix(tail_.timeline);
        const std::string after = first_segment.empty() ? std::string() : prefix + std::string(first_segment);
        ListRequest request;
        request.prefix = prefix;
        request.start_after = after;
        for_each_page(repository_.store(), request, cancel_, [&](const ListPage &page) {
            for (const ObjectInfo &object : page.objects)
                take(object, std::string_view(object.key).substr(prefix.size()));
        });
        read_runs(known);
        tail_.segment_size = segment_size;
        if (segment_size == 0 && !tail_.runs.empty())
            tail_.segment_size = tail_.runs.back().segment_size;
        if (tail_.segment_size != 0) {
            sort_pieces();
            if (!first_segment.empty())
                add_beginnings(segment_number(parse_wal_file_name(first_segment).value(), tail_.segment_size));
        }
        return std::move(tail_);
    }

  private:
    void take(const ObjectInfo &object, std::string_view name) {
        constexpr std::string_view kRuns = "runs/";
        constexpr std::string_view kJson = ".json";
        if (name.starts_with(kRuns)) {
            if (name.ends_with(kJson))
                if (const auto id = parse_run(name.substr(kRuns.size(), name.size() - kRuns.size() - kJson.size())))
                    run_ids_.push_back(*id);
            return;
        }
        const size_t slash = name.find('/');
        const auto segment = parse_wal_file_name(name.substr(0, slash));
        if (slash == std::string_view::npos || !segment || segment->kind != WalFileKind::kSegment ||
            segment->timeline != tail_.timeline)
            return;
        auto piece = parse_piece(name.substr(slash + 1));
        if (!piece)
            return;
        piece->stored_bytes = object.size;
        piece->modified_ms = object.modified_ms;
        pieces_.emplace_back(*segment, *piece);
    }

    void read_runs(const TimelineTail *known) {
        for (const TailRunId id : run_ids_) {
            if (known != nullptr) {
                const auto found = std::find_if(known->runs.begin(), known->runs.end(),
                                                [id](const TailRun &run) { return run.id == id; });
                if (found != known->runs.end()) {
                    tail_.runs.push_back(*found);
                    continue;
                }
            }
            const std::string key = tail_run_key(repository_.layout(), tail_.timeline, id);
            if (const auto json = read_document(repository_.store(), key, cancel_))
                tail_.runs.push_back(decode_tail_run(*json, key));
        }
        std::sort(tail_.runs.begin(), tail_.runs.end(), [](const auto &a, const auto &b) { return a.id < b.id; });
    }

    void sort_pieces() {
        for (auto &[name, piece] : pieces_) {
            piece.segment = segment_number(name, tail_.segment_size);
            if (piece.to <= tail_.segment_size)
                tail_.segments[piece.segment].push_back(piece);
        }
        for (auto &[segment, pieces] : tail_.segments)
            std::sort(pieces.begin(), pieces.end(), precedes);
    }

    // A run that began before the listing ends others in it; whether it is open, its first piece may tell alone.
    void add_beginnings(uint64_t first_listed) {
        std::optional<TailRunId> lowest;
        std::set<TailRunId> listed;
        for (const auto &[segment, pieces] : tail_.segments)
            for (const TailPiece &piece : pieces) {
                listed.insert(piece.run);
                if (piece.from == 0 && (!lowest || piece.run < *lowest))
                    lowest = piece.run;
            }
        for (const TailRun &run : tail_.runs) {
            const uint64_t segment = segment_of(run.from, tail_.segment_size);
            if (lowest && *lowest < run.id && segment < first_listed && !listed.contains(run.id))
                add_beginning(run.id, segment);
        }
    }

    void add_beginning(TailRunId run, uint64_t segment) {
        const std::string directory =
            repository_.layout().tail_segment_prefix(segment_name(tail_.timeline, segment, tail_.segment_size));
        const std::string prefix = directory + run_name(run) + "-00000000-";
        ListRequest request;
        request.prefix = prefix;
        request.limit = 1;
        for (const ObjectInfo &object : repository_.store().list(request, cancel_).objects)
            if (auto piece = parse_piece(std::string_view(object.key).substr(directory.size()))) {
                piece->segment = segment;
                piece->stored_bytes = object.size;
                piece->modified_ms = object.modified_ms;
                std::vector<TailPiece> &pieces = tail_.segments[segment];
                pieces.push_back(*piece);
                std::sort(pieces.begin(), pieces.end(), precedes);
            }
    }

    static bool precedes(const TailPiece &a, const TailPiece &b) {
        return std::tie(a.run, a.from, a.to) < std::tie(b.run, b.from, b.to);
    }

    const Repository &repository_;
    const CancelToken &cancel_;
    TimelineTail tail_;
    std::vector<TailRunId> run_ids_;
    std::vector<std::pair<WalFileName, TailPiece>> pieces_;
};

uint32_t highest_number(const Repository &repository, const TailRun &run, const CancelToken &cancel) {
    const std::string prefix = repository.layout().tail_runs_prefix(run.timeline);
    // Behind everything of earlier epochs.
    const std::string after = prefix + fmt::format("{:010}-", run.id.epoch);
    uint32_t highest = 0;
    ListRequest request;
    request.prefix = prefix;
    request.start_after = after;
    for_each_page(repository.store(), request, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects) {
            const auto id = parse_run(std::string_view(object.key).substr(prefix.size(), 17));
            if (id && id->epoch == run.id.epoch)
                highest = std::max(highest, id->number);
        }
    });
    return highest;
}

} // namespace

TimelineTail list_tail(const Repository &repository, TimelineId timeline, uint64_t segment_size, uint64_t first_segment,
                       const CancelToken &cancel, const TimelineTail *known) {
    const std::string first = first_segment == 0 ? "" : segment_name(timeline, first_segment, segment_size);
    return TailListing(repository, timeline, cancel).run(segment_size, first, known);
}

TimelineTail list_tail_from(const Repository &repository, TimelineId timeline, std::string_view first_segment,
                            const CancelToken &cancel) {
    return TailListing(repository, timeline, cancel).run(0, first_segment, nullptr);
}

std::vector<TimelineId> list_tail_timelines(const Repository &repository, const CancelToken &cancel) {
    const std::string prefix = repository.layout().tail_prefix();
    std::vector<TimelineId> timelines;
    ListRequest request;
    request.prefix = prefix;
    request.directories = true;
    for_each_page(repository.store(), request, cancel, [&](const ListPage &page) {
        for (const std::string &directory : page.directories)
            if (directory.size() == prefix.size() + 9)
                if (const auto timeline =
                        number_in<TimelineId>(std::string_view(directory).substr(prefix.size(), 8), 16))
                    timelines.push_back(*timeline);
    });
    return timelines;
}

void claim_tail_run(const Repository &repository, TailRun &run, const CancelToken &cancel) {
    run.id.number = highest_number(repository, run, cancel);
    for (uint32_t tries = 0; tries < kMaxClaims; ++tries) {
        ++run.id.number;
        run.created_ms = unix_time_ms();
        const std::string key = tail_run_key(repository.layout(), run.timeline, run.id);
        const Bytes body = encode_document(encode(run), run.id.epoch, random_uuid());
        PutRequest request;
        request.key = key;
        request.body = body;
        if (repository.store().put_new(request, cancel) == PutOutcome::kStored)
            return;
    }
    throw Error(ErrorCode::kUnavailable, fmt::format("could not begin to stream WAL to \"{}\": every name of a run is "
                                                     "taken",
                                                     repository.url()))
        .retryable();
}

std::string tail_piece_key(const ClusterLayout &layout, TimelineId timeline, uint64_t segment_size,
                           const TailPiece &piece) {
    return layout.tail_segment_prefix(segment_name(timeline, piece.segment, segment_size)) + piece_name(piece);
}

std::string tail_run_key(const ClusterLayout &layout, TimelineId timeline, TailRunId run) {
    return layout.tail_runs_prefix(timeline) + run_name(run) + ".json";
}

std::string encode(const TailRun &run) {
    const Json document = {{"format", kRepositoryFormat},
                           {"epoch", run.id.epoch},
                           {"run", run.id.number},
                           {"instance", to_string(run.instance)},
                           {"host", fields::text_value(run.host)},
                           {"timeline", run.timeline},
                           {"from", to_string(run.from)},
                           {"segment_size", run.segment_size},
                           {"created", fields::time_value(run.created_ms)}};
    return document.dump(1, ' ') + "\n";
}

TailRun decode_tail_run(std::string_view json, std::string_view key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    TailRun run;
    run.id.epoch = fields::number<uint64_t>(source, "epoch", key);
    run.id.number = fields::number<uint32_t>(source, "run", key);
    run.instance = fields::uuid_member(source, "instance", key);
    run.host = fields::text_member(source, "host", key);
    run.timeline = fields::number<TimelineId>(source, "timeline", key);
    run.from = fields::lsn_member(source, "from", key);
    run.segment_size = fields::number<uint64_t>(source, "segment_size", key);
    run.created_ms = fields::time_member(source, "created", key);
    if (!is_valid_segment_size(run.segment_size) || run.from.value % run.segment_size != 0)
        throw fields::bad_member("from", key);
    return run;
}

} // namespace pgvigil
