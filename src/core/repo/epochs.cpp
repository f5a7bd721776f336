#include "repo/epochs.h"

#include "base/error.h"
#include "repo/envelope.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

namespace pgvigil {

namespace {

// nullopt for anything else that may lie below epochs/.
std::optional<uint64_t> number_of_key(const ClusterLayout &layout, std::string_view key) {
    std::string_view name = key.substr(std::min(layout.epochs_prefix().size(), key.size()));
    if (!name.ends_with(".json"))
        return std::nullopt;
    name.remove_suffix(5);
    uint64_t number = 0;
    const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (status != std::errc() || end != name.data() + name.size() || layout.epoch(number) != key)
        return std::nullopt;
    return number;
}

std::vector<uint64_t> list_numbers(const Repository &repository, uint64_t after, const CancelToken &cancel) {
    const ClusterLayout &layout = repository.layout();
    const std::string prefix = layout.epochs_prefix();
    const std::string start_after = after == 0 ? std::string() : layout.epoch(after);
    std::vector<uint64_t> numbers;
    ListRequest request;
    request.prefix = prefix;
    request.start_after = start_after;
    for_each_page(repository.store(), request, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects)
            if (const auto number = number_of_key(layout, object.key); number && *number > after)
                numbers.push_back(*number);
    });
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

EpochDocument read_epoch(const Repository &repository, uint64_t number, const CancelToken &cancel) {
    const std::string key = repository.layout().epoch(number);
    const std::optional<std::string> json = read_document(repository.store(), key, cancel);
    if (!json)
        throw Error(ErrorCode::kUnavailable,
                    fmt::format("\"{}\" lists \"{}\", but does not show it", repository.url(), key))
            .retryable();
    EpochDocument document = decode_epoch(*json, key);
    if (document.number != number)
        throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" is damaged", key))
            .detail(fmt::format("It speaks of epoch {}.", document.number));
    return document;
}

// Creates one epoch document; nullopt when it is the instance's own now, otherwise the one that is there.
std::optional<EpochDocument> create_epoch(const Repository &repository, const EpochDocument &document,
                                          const CancelToken &cancel) {
    const std::string key = repository.layout().epoch(document.number);
    const Bytes body = encode_document(encode(document), document.number, random_uuid());
    PutRequest request;
    request.key = key;
    request.body = body;
    if (repository.store().put_new(request, cancel) == PutOutcome::kStored)
        return std::nullopt;
    EpochDocument existing = read_epoch(repository, document.number, cancel);
    if (existing.instance == document.instance)
        return std::nullopt;
    return existing;
}

} // namespace

std::vector<EpochDocument> list_epochs(const Repository &repository, uint64_t after, const CancelToken &cancel) {
    std::vector<EpochDocument> epochs;
    for (const uint64_t number : list_numbers(repository, after, cancel))
        epochs.push_back(read_epoch(repository, number, cancel));
    return epochs;
}

std::optional<EpochDocument> highest_epoch(const Repository &repository, const CancelToken &cancel) {
    const std::vector<uint64_t> numbers = list_numbers(repository, 0, cancel);
    if (numbers.empty())
        return std::nullopt;
    return read_epoch(repository, numbers.back(), cancel);
}

std::optional<EpochDocument> claim_epoch(const Repository &repository, const EpochDocument &document,
                                         const CancelToken &cancel) {
    const std::vector<uint64_t> numbers = list_numbers(repository, 0, cancel);
    const uint64_t highest = numbers.empty() ? 0 : numbers.back();
    if (highest > document.number)
        return read_epoch(repository, highest, cancel);
    EpochDocument next = document;
    for (next.number = std::min(highest + 1, document.number); next.number <= document.number; ++next.number)
        if (auto other = create_epoch(repository, next, cancel))
            return other;
    return std::nullopt;
}

uint64_t lowest_accepted_epoch(const std::vector<EpochDocument> &epochs, TimelineId timeline, uint64_t segment,
                               uint64_t segment_size) noexcept {
    uint64_t lowest = 0;
    for (const EpochDocument &epoch : epochs)
        if (epoch.timeline == timeline && segment_of(epoch.lsn, segment_size) <= segment)
            lowest = std::max(lowest, epoch.number);
    return lowest;
}

std::optional<uint64_t> first_break(const std::vector<EpochDocument> &epochs, TimelineId timeline, uint64_t segment,
                                    uint64_t segment_size) noexcept {
    std::optional<uint64_t> first;
    for (const EpochDocument &epoch : epochs) {
        const uint64_t at = segment_of(epoch.lsn, segment_size);
        if (!epoch.breaks || epoch.timeline != timeline || at <= segment || (first && *first <= at))
            continue;
        if (lowest_accepted_epoch(epochs, timeline, at, segment_size) == epoch.number)
            first = at;
    }
    return first;
}

} // namespace pgvigil
