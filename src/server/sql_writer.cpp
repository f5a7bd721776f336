// pgv_take_over() and pgv_accept_repository(): what an operator decides about who writes where (rules C).
#include "server/pg.h"

#include "server/boundary.h"
#include "server/shared_state.h"
#include "server/sql_rows.h"
#include "server/waiting.h"
#include "server/writer.h"

#include "base/time.h"
#include "repo/epochs.h"
#include "repo/identity.h"
#include "repo/writer_lease.h"

#include <algorithm>

namespace pgvigil {

namespace {

// The keeper looks at the role again, and the archiver tries again, at once.
void wake_others() {
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept {
        ++shared.writer.decisions;
        shared.keeper.catalog_requested = true;
        if (shared.keeper.latch != nullptr)
            SetLatch(shared.keeper.latch);
    });
    pg_section([]() noexcept { PgArchWakeup(); });
}

Settings settings_with_repository() {
    Settings settings = current_settings();
    if (settings.repositories.empty())
        throw no_repository_error();
    return settings;
}

// What holds a repository; what is new is the claim's affair. What does not answer as well, unless `all` have to: a
// writer that is not seen is no silent one.
std::vector<std::shared_ptr<Repository>> repositories_there(const Settings &settings, const ServerFacts &facts,
                                                            bool all, const CancelToken &cancel) {
    std::vector<std::shared_ptr<Repository>> repositories;
    for (const OpenedStore &opened : open_stores(settings, facts, cancel))
        if (opened.problem && all)
            throw Error(*opened.problem);
        else if (opened.document)
            repositories.push_back(
                std::make_shared<Repository>(opened.store, *opened.document, opened.url, facts.system_identifier));
    return repositories;
}

std::vector<WriterSight> look_at_repositories(const std::vector<std::shared_ptr<Repository>> &repositories) {
    return in_background([&](const CancelToken &cancel) {
        std::vector<WriterSight> sights;
        for (const auto &repository : repositories)
            sights.push_back(look_at_writer(*repository, cancel));
        return sights;
    });
}

// The other server that is the writer; nullopt: nobody is, or this server.
std::optional<EpochDocument> other_writer(const std::vector<std::shared_ptr<Repository>> &repositories,
                                          const ServerFacts &facts) {
    const LocalIdentity local = read_identity(facts.data_directory);
    const auto highest = in_background([&](const CancelToken &cancel) {
        std::optional<EpochDocument> found;
        for (const auto &repository : repositories)
            if (auto epoch = highest_epoch(*repository, cancel); epoch && (!found || found->number < epoch->number))
                found = std::move(epoch);
        return found;
    });
    const bool own = highest && local.state == IdentityState::kOwn && highest->instance == local.identity.instance;
    return own ? std::nullopt : highest;
}

std::string name_of(const EpochDocument &writer) {
    return "Instance " + to_string(writer.instance) + " on host \"" + writer.host + "\" is the writer (epoch " +
           std::to_string(writer.number) + ")";
}

// Returns what was seen once the other writer was silent for a whole term of this server's clock (rules C4).
std::vector<WriterSight> wait_for_silence(const std::vector<std::shared_ptr<Repository>> &repositories,
                                          const EpochDocument &writer, int64_t term_ms) {
    SilenceWatch watch(term_ms);
    for (;;) {
        const std::vector<WriterSight> sights = look_at_repositories(repositories);
        const int64_t now = boot_time_ms();
        switch (watch.look(sights, now)) {
        case SilenceWatch::Verdict::kSilent:
            return sights;
        case SilenceWatch::Verdict::kAlive:
            throw Error(ErrorCode::kNotWriter, "the writer of the repository is alive")
                .detail(name_of(writer) + ", and it has shown a sign of life while it was watched.")
                .hint("End it first, or take over without only_if_silent.");
        case SilenceWatch::Verdict::kWaiting:
            wait_on_latch(-1, static_cast<long>(std::clamp<int64_t>(watch.remaining_ms(now), 100, term_ms / 9)));
        }
    }
}

// By the store's clock alone; nobody waits for it.
void warn_of_life(const std::vector<std::shared_ptr<Repository>> &repositories, const EpochDocument &writer,
                  int64_t term_ms) {
    int64_t youngest_ms = term_ms;
    for (const WriterSight &sight : look_at_repositories(repositories))
        if (sight.epoch == writer.number && !sight.released)
            youngest_ms = std::min(youngest_ms, sight.store_now_ms - sight.modified_ms);
    if (youngest_ms >= term_ms)
        return;
    const std::string detail = name_of(writer) + ".";
    const char *text = detail.c_str();
    const auto seconds = static_cast<long long>(std::max<int64_t>(youngest_ms, 0) / 1000);
    pg_section([=]() noexcept {
        ereport(WARNING, (errmsg("the server that is taken over from has shown a sign of life %lld s ago", seconds),
                          errdetail_internal("%s", text),
                          errhint("It can write no more, but end it: what it still commits is in no repository.")));
    });
}

// The last look and the new epoch are not one step: a sign of life between them comes too late to stop the take-over.
void warn_of_late_life(const std::vector<std::shared_ptr<Repository>> &repositories,
                       const std::vector<WriterSight> &seen, const EpochDocument &writer) {
    std::string detail;
    try {
        detail = in_background([&](const CancelToken &cancel) {
            std::string found;
            for (size_t i = 0; i < seen.size() && found.empty(); ++i)
                if (const uint64_t late = renewal_since(*repositories[i], seen[i], cancel); late != 0)
                    found = name_of(writer) + ", and its renewal " + std::to_string(late) + " stands in \"" +
                            repositories[i]->url() + "\".";
            return found;
        });
    } catch (const Error &error) {
        if (error.code() == ErrorCode::kCancelled)
            throw;
        detail = "Whether it has is not known: " + error.message(); // the take-over itself has succeeded
    }
    if (detail.empty())
        return;
    const char *text = detail.c_str();
    pg_section([=]() noexcept {
        ereport(WARNING, (errmsg("the server that is taken over from may have shown a sign of life meanwhile"),
                          errdetail_internal("%s", text),
                          errhint("It can write no more, but it may have acknowledged WAL that is given up now: "
                                  "end it, and compare its data.")));
    });
}

int64_t take_over_now(const std::string &reason, bool only_if_silent) {
    if (reason.find_first_not_of(" \t\r\n") == std::string::npos)
        throw Error(ErrorCode::kInvalidArgument, "the reason for taking over is empty")
            .detail("It is kept in the repository beside this server's name.");
    const Settings settings = settings_with_repository();
    const ServerFacts facts = server_facts();
    if (facts.in_recovery)
        throw Error(ErrorCode::kNotWriter, "a server in recovery cannot take over")
            .hint("Promote it first. A standby that streamed from the writer takes over by itself then.");
    const auto repositories = in_background(
        [&](const CancelToken &cancel) { return repositories_there(settings, facts, only_if_silent, cancel); });
    const auto writer = other_writer(repositories, facts);
    std::optional<uint64_t> only_after;
    std::vector<WriterSight> seen;
    if (writer && only_if_silent) {
        seen = wait_for_silence(repositories, *writer, settings.writer_term_ms);
        only_after = writer->number;
    } else if (writer) {
        warn_of_life(repositories, *writer, settings.writer_term_ms);
    }
    const uint64_t epoch = in_background(
        [&](const CancelToken &cancel) { return order_take_over(settings, facts, reason, only_after, cancel); });
    wake_others();
    if (!seen.empty())
        warn_of_late_life(repositories, seen, *writer);
    return static_cast<int64_t>(epoch);
}

Rows accept_now() {
    const Settings settings = settings_with_repository();
    const ServerFacts facts = server_facts();
    Rows rows;
    for (std::string &line :
         in_background([&](const CancelToken &cancel) { return order_acceptance(settings, facts, cancel); }))
        rows.push_back({Cell(std::move(line))});
    wake_others();
    return rows;
}

} // namespace

} // namespace pgvigil

extern "C" {
PG_FUNCTION_INFO_V1(pgv_take_over);
PG_FUNCTION_INFO_V1(pgv_accept_repository);

Datum pgv_take_over(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] {
        const std::string reason = pgvigil::text_argument(fcinfo, 0, "reason");
        const bool only_if_silent = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
        return Int64GetDatum(pgvigil::take_over_now(reason, only_if_silent));
    });
}

Datum pgv_accept_repository(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::return_rows(fcinfo, pgvigil::accept_now(), true); });
}
}
