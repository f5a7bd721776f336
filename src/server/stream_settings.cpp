#include "server/pg.h"

#include "server/stream_settings.h"

#include "server/setting_check.h"

namespace pgvigil {

namespace {

constexpr int kShortestIntervalMs = 20;
constexpr int kLongestIntervalMs = 3600 * 1000;

int interval_ms = 1000;
int timeout_ms = 0;
bool synchronous = false;
bool cleanup = false;
char *user = nullptr;

bool check_interval(int *value, void ** /*extra*/, GucSource /*source*/) {
    return accept_setting([value] {
        if (*value != 0 && *value < kShortestIntervalMs)
            throw Error(ErrorCode::kInvalidArgument, std::to_string(*value) + " ms is too short an interval")
                .detail("Expected 0, which turns streaming off, or at least " + std::to_string(kShortestIntervalMs) +
                        " ms.");
    });
}

} // namespace

void define_streaming() {
    DefineCustomIntVariable("pgvigil.stream_interval", "How often WAL that is not yet a complete file is streamed.",
                            "What a lost machine takes with it is not older than this and the time of one request. 0 "
                            "stores complete WAL files only.",
                            &interval_ms, 1000, 0, kLongestIntervalMs, PGC_SIGHUP, GUC_UNIT_MS, check_interval, nullptr,
                            nullptr);
    DefineCustomBoolVariable("pgvigil.synchronous", "Makes pgvigil a synchronous standby of the name \"pgvigil\".",
                             "With synchronous_standby_names = 'pgvigil' a commit returns when the required "
                             "repositories have its WAL.",
                             &synchronous, false, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
    DefineCustomIntVariable("pgvigil.synchronous_timeout",
                            "How long commits wait for a store before pgvigil lets them go.",
                            "They wait again as soon as the store has what is missing. 0 lets them wait without limit.",
                            &timeout_ms, 0, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
    DefineCustomStringVariable("pgvigil.synchronous_user", "The role that synchronous mode connects as.",
                               "It needs the attributes LOGIN and REPLICATION. Empty means the name of the operating "
                               "system's user that runs the server.",
                               &user, "", PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
    DefineCustomBoolVariable("pgvigil.tail_cleanup", "Removes streamed WAL as soon as its complete file is stored.",
                             "Otherwise expiry removes it. Needs credentials that may delete.", &cleanup, false,
                             PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
}

StreamSettings current_stream_settings() {
    StreamSettings settings;
    settings.interval = std::chrono::milliseconds(interval_ms);
    settings.synchronous = synchronous;
    settings.synchronous_timeout = std::chrono::milliseconds(timeout_ms);
    settings.synchronous_user = user;
    settings.cleanup = cleanup;
    return settings;
}

bool streaming_is_on() noexcept {
    return interval_ms > 0 || synchronous;
}

void commit_without_waiting() noexcept {
    SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
}

} // namespace pgvigil
