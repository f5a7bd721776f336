#include "server/pg.h"

#include "server/gap_recorder.h"

#include "server/waiting.h"
#include "server/wal_gaps.h"
#include "server/writer.h"

#include "repo/envelope.h"
#include "repo/gap_document.h"

namespace pgvigil {

namespace {

void store_gap(const Repository &repository, const GapDocument &document, uint64_t epoch, const CancelToken &cancel) {
    const Bytes object = encode_document(encode(document), epoch, random_uuid());
    const std::string key = repository.layout().gap(document.file, document.time_ms);
    PutRequest request;
    request.key = key;
    request.body = object;
    // A document of that name is this gap: a former try was cut off before it could be noted here.
    (void)repository.store().put_new(request, cancel);
}

} // namespace

void record_gaps(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop) {
    const std::vector<WalGap> gaps = read_gaps(facts.data_directory);
    size_t known = 0;
    while (known < gaps.size() && gaps[known].recorded)
        ++known;
    if (known == gaps.size())
        return;
    in_background(
        [&](const CancelToken &cancel) {
            const Claim claim = open_as_writer(settings, facts, cancel);
            for (size_t i = known; i < gaps.size(); ++i)
                for (const auto &repository : claim.repositories)
                    store_gap(*repository, {gaps[i].file, gaps[i].reason, gaps[i].time_ms, claim.instance, facts.host},
                              claim.epoch, cancel);
        },
        stop);
    mark_gaps_recorded(facts.data_directory, gaps.size());
}

} // namespace pgvigil
