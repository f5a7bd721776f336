#include "transfer/expire_guard.h"

#include "base/time.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"

#include <cstdlib>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr int64_t kClockLimitMs = int64_t{5} * 60 * 1000;
constexpr const char *kConfirmHint =
    "Look at what a dry run says. If it is what you want, run SELECT * FROM pgv_expire(dry_run => false, confirm => "
    "true), or pgvigil expire --yes --confirm.";

// The epoch that an operator gave to another server than the one before; 0 when there was none.
uint64_t newest_takeover(const std::vector<EpochDocument> &epochs) {
    uint64_t newest = 0;
    for (size_t i = 1; i < epochs.size(); ++i)
        if (epochs[i].instance != epochs[i - 1].instance && epochs[i].reason != "promotion")
            newest = epochs[i].number;
    return newest;
}

} // namespace

void check_clocks(int64_t store_ms, int64_t host_ms, const std::string &store) {
    // Either may be anything.
    const bool ahead = store_ms > host_ms;
    const uint64_t apart = ahead ? static_cast<uint64_t>(store_ms) - static_cast<uint64_t>(host_ms)
                                 : static_cast<uint64_t>(host_ms) - static_cast<uint64_t>(store_ms);
    if (apart <= static_cast<uint64_t>(kClockLimitMs))
        return;
    throw Error(ErrorCode::kRefused, fmt::format("expiry refuses: the clock of \"{}\" is {} seconds {} this host's",
                                                 store, apart / 1000, ahead ? "ahead of" : "behind"))
        .detail(fmt::format("The store says {}, this host {}.", iso_time_ms(store_ms), iso_time_ms(host_ms)))
        .hint("Set the clock that is wrong: with ages that are not known nothing is deleted.");
}

std::optional<Error> refuse_share(size_t going, size_t listed, const std::string &store) {
    if (going * 2 <= listed)
        return std::nullopt;
    return Error(ErrorCode::kRefused,
                 fmt::format("expiry refuses: it would delete {} of the {} backups in \"{}\"", going, listed, store))
        .detail("One run deletes at most half of the backups, unless that is confirmed.")
        .hint(kConfirmHint);
}

std::optional<Error> refuse_foreign(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                    const CancelToken &cancel) {
    const uint64_t takeover = newest_takeover(epochs);
    if (takeover == 0 && !epochs.empty())
        return std::nullopt;
    bool confirmed = false;
    const std::string prefix = repository.layout().confirmations_prefix();
    for_each_page(repository.store(), {.prefix = prefix}, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects)
            confirmed |= std::strtoull(object.key.c_str() + prefix.size(), nullptr, 10) >= takeover;
    });
    if (confirmed)
        return std::nullopt;
    Error error(ErrorCode::kRefused,
                fmt::format("expiry refuses: \"{}\" was filled by another server", repository.store().display_name()));
    if (takeover == 0)
        return std::move(error).detail("No server has ever been its writer.").hint(kConfirmHint);
    return std::move(error)
        .detail(fmt::format("The writer was changed by an order (epoch {}), and nobody has confirmed an expiry since.",
                            takeover))
        .hint(kConfirmHint);
}

void remember_confirmation(const Repository &repository, const std::vector<EpochDocument> &epochs,
                           const std::string &host, int64_t now_ms, const CancelToken &cancel) {
    const uint64_t epoch = epochs.empty() ? 0 : epochs.back().number;
    const Json json = {{"format", kRepositoryFormat},
                       {"epoch", epoch},
                       {"host", fields::text_value(host)},
                       {"created", fields::time_value(now_ms)}};
    const std::string key = repository.layout().confirmation(epoch);
    const Bytes body = encode_document(json.dump(1, ' ') + "\n", epoch, random_uuid());
    static_cast<void>(repository.store().put_new({.key = key, .body = body}, cancel));
}

} // namespace pgvigil
