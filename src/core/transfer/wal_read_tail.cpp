// What was streamed of a segment, from whichever repository has most of it.
#include "transfer/wal_read.h"

#include "base/error.h"
#include "repo/epochs.h"
#include "transfer/tail_read.h"

#include <algorithm>
#include <fmt/core.h>

namespace pgvigil {

namespace {

// Pieces vanish when their segment becomes complete, which happens once.
constexpr unsigned kMaxLooks = 3;

} // namespace

struct WalReader::TailOffer {
    Source *source = nullptr;
    TailFinding finding;
};

// One for each repository; a repository that cannot answer may have the longest.
std::vector<WalReader::TailOffer> WalReader::tail_offers(std::string_view name, const CancelToken &cancel) {
    const WalFileName file = parse_wal_file_name(name).value();
    std::vector<TailOffer> offers;
    uint64_t lowest = 0;
    for (Source &source : sources_) {
        try {
            confirm(source, cancel);
            const std::vector<EpochDocument> epochs = epochs_of(source, cancel);
            TailOffer offer{&source, look_for_tail(*source.repository, epochs, name, cancel)};
            if (const uint64_t size = offer.finding.segment_size; size != 0)
                lowest =
                    std::max(lowest, lowest_accepted_epoch(epochs, file.timeline, segment_number(file, size), size));
            offers.push_back(std::move(offer));
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            throw error.with_context(fmt::format("could not find out what was streamed of \"{}\" to \"{}\"", name,
                                                 source.repository->store().display_name()));
        }
    }
    // A repository that was away does not know of a later writer yet.
    for (TailOffer &offer : offers)
        if (offer.finding.cover && offer.finding.cover->run.epoch < lowest)
            offer.finding.cover.reset();
    return offers;
}

std::optional<WalFileFacts> WalReader::read_tail(std::string_view name, WalSink &sink, const CancelToken &cancel) {
    for (unsigned looks = 0; looks < kMaxLooks; ++looks) {
        const std::vector<TailOffer> offers = tail_offers(name, cancel);
        if (std::none_of(offers.begin(), offers.end(), [](const TailOffer &offer) { return offer.finding.streamed; }))
            return std::nullopt;
        const auto rank = [](const TailOffer &offer) {
            return offer.finding.cover ? std::pair(offer.finding.cover->run.epoch, offer.finding.cover->known_end)
                                       : std::pair(uint64_t{0}, uint32_t{0});
        };
        const auto best = *std::max_element(offers.begin(), offers.end(),
                                            [&](const auto &a, const auto &b) { return rank(a) < rank(b); });
        // Its pieces go when a segment is complete: without any, look for that once more.
        if (!best.finding.cover)
            return read(name, sink, cancel);
        std::optional<Error> failure;
        bool vanished = false;
        for (const TailOffer &offer : offers) {
            if (rank(offer) != rank(best))
                continue;
            Repository &repository = *offer.source->repository;
            const TailCover &cover = *offer.finding.cover;
            if (cover.hole) {
                failure = Error(ErrorCode::kCorrupt, fmt::format("a piece of what was streamed of \"{}\" to \"{}\" is "
                                                                 "missing",
                                                                 name, repository.store().display_name()))
                              .detail(fmt::format("{} bytes are there, and others up to byte {}.", cover.end,
                                                  cover.known_end))
                              .retryable();
                continue;
            }
            try {
                if (copy_tail(repository, offer.finding, name, system_identifier_, sink, cancel))
                    return WalFileFacts{offer.finding.segment_size,
                                        cover.end,
                                        repository.store().display_name(),
                                        "",
                                        cover.run.epoch,
                                        true};
                vanished = true;
            } catch (const Error &error) {
                if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kForeign)
                    throw;
                failure = error;
                log_.emit(LogLevel::kWarning, error.message(), error.detail());
            }
        }
        if (!vanished)
            throw Error(failure.value());
        if (auto complete = read(name, sink, cancel))
            return complete;
    }
    throw Error(ErrorCode::kNotFound,
                fmt::format("pieces of what was streamed of \"{}\" vanish while they are read", name))
        .retryable();
}

} // namespace pgvigil
