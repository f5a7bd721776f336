#include "server/pg.h"

#include "server/expire_job.h"

#include "server/catalog_store.h"

#include "server/log_queue.h"
#include "server/repositories.h"
#include "server/server_facts.h"
#include "server/settings.h"
#include "server/waiting.h"
#include "server/writer.h"

namespace pgvigil {

namespace {

Claim claim_for_expiry(const Settings &settings, const std::function<bool()> &stop) {
    if (settings.repositories.empty())
        throw no_repository_error();
    ClaimResult result = settle_role_now(settings, stop);
    if (result.standing == WriterStanding::kStandby)
        throw Error(ErrorCode::kNotWriter, "a standby does not expire backups").hint("Run it on the primary.");
    return result.value();
}

struct Outcome {
    ExpireResult result;
    std::optional<Error> failure;
};

Outcome expire_all(const Claim &claim, const ExpireOptions &options, const CancelToken &cancel) {
    Outcome outcome;
    for (const auto &repository : claim.repositories) {
        try {
            ExpireReport report = expire_repository(*repository, options, process_log(), cancel);
            if (report.failure && !outcome.failure)
                outcome.failure = report.failure;
            outcome.result.repositories.push_back({repository->store().display_name(), std::move(report)});
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            if (!outcome.failure)
                outcome.failure = error;
            else
                process_log().emit(LogLevel::kWarning, error.message(), error.detail());
        }
    }
    for (const UnreachableRepository &lost : claim.unreachable)
        process_log().emit(LogLevel::kWarning, "repository \"" + lost.url + "\" is not expired now",
                           lost.error.message());
    return outcome;
}

} // namespace

uint64_t ExpireResult::deleted_objects() const {
    uint64_t sum = 0;
    for (const RepositoryExpiry &entry : repositories)
        sum += entry.report.deleted_objects;
    return sum;
}

uint64_t ExpireResult::deleted_bytes() const {
    uint64_t sum = 0;
    for (const RepositoryExpiry &entry : repositories)
        sum += entry.report.deleted_bytes;
    return sum;
}

std::string ExpireResult::summary() const {
    return std::to_string(deleted_objects()) + " objects were deleted";
}

ExpireResult run_expire_job(const ExpireOrder &order, const std::function<bool()> &stop) {
    const Settings settings = current_settings();
    const Claim claim = claim_for_expiry(settings, stop);
    ExpireOptions options;
    options.rules = settings.retention;
    options.dry_run = order.dry_run;
    options.confirm = order.confirm;
    options.host = server_facts().host;
    options.epoch = claim.epoch;
    options.check_writer = [&claim](const CancelToken &cancel) { check_still_writer(claim, cancel); };
    Outcome outcome =
        in_background([&](const CancelToken &cancel) { return expire_all(claim, options, cancel); }, stop);
    process_log().flush();
    if (!order.dry_run)
        refresh_catalog_file();
    if (outcome.failure)
        throw *std::move(outcome.failure);
    return std::move(outcome.result);
}

} // namespace pgvigil
