#include "server/pg.h"

#include "server/role_watch.h"

#include "server/shared_state.h"
#include "server/waiting.h"
#include "server/writer.h"

#include <unistd.h>
#include <utility>

namespace pgvigil {

namespace {

WriterRole role_of(WriterStanding standing) noexcept {
    switch (standing) {
    case WriterStanding::kWriter:
        return WriterRole::kWriter;
    case WriterStanding::kStandby:
        return WriterRole::kStandby;
    case WriterStanding::kInRecovery:
        return WriterRole::kInRecovery;
    case WriterStanding::kDetached:
        return WriterRole::kDetached;
    case WriterStanding::kStaleCopy:
        return WriterRole::kStale;
    case WriterStanding::kFenced:
        return WriterRole::kFenced;
    }
    return WriterRole::kUnknown;
}

void publish_writer(const std::optional<EpochDocument> &writer) {
    const std::string instance = writer ? to_string(writer->instance) : std::string();
    const char *id = instance.c_str();
    const char *host = writer ? writer->host.c_str() : "";
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        set_text(shared.writer.writer_instance, id);
        set_text(shared.writer.writer_host, host);
    });
}

void publish(WriterRole role, const std::optional<Claim> &claim, const std::optional<Error> &error) {
    const bool claimed = claim.has_value();
    const uint64_t epoch = claim ? claim->epoch : 0;
    const TimelineId timeline = claim ? claim->epoch_timeline : 0;
    const uint64_t start = claim ? claim->epoch_start.value : 0;
    std::string text = error ? error->message() : std::string();
    if (error && !error->detail().empty())
        text += ": " + error->detail();
    const char *message = text.c_str();
    const char *hint = error ? error->hint().c_str() : "";
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        shared.writer.role = role;
        if (role == WriterRole::kFenced)
            shared.writer.fenced = true;
        else if (role == WriterRole::kWriter)
            shared.writer.fenced = false;
        if (claimed) {
            shared.writer.epoch = epoch;
            shared.writer.epoch_timeline = timeline;
            shared.writer.epoch_start = start;
        }
        shared.writer.checked_at = GetCurrentTimestamp();
        set_text(shared.writer.message, message);
        set_text(shared.writer.hint, hint);
    });
}

// The one thing an operator has to know: said in the log when it begins, and again after each restart.
void say(const Error &refusal) {
    ErrorReport report;
    describe_error(refusal, report);
    warn(report, "pgvigil writes nothing");
}

} // namespace

void RoleWatch::publish_off() {
    claim_.reset();
    is_writer_ = false;
    settled_ = false;
    publish(WriterRole::kOff, std::nullopt, std::nullopt);
    publish_writer(std::nullopt);
}

void RoleWatch::settings_changed() {
    is_writer_ = false;
    last_refusal_.clear();
}

bool RoleWatch::wants_look() {
    bool in_recovery = false;
    bool streaming = false;
    uint64_t decisions = 0;
    pg_section([&]() noexcept {
        in_recovery = RecoveryInProgress();
        streaming = in_recovery && WalRcvStreaming();
    });
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { decisions = shared.writer.decisions; });
    const bool promoted = was_in_recovery_ && !in_recovery;
    const bool connected = streaming && !was_streaming_;
    const bool decided = decisions != decisions_;
    was_in_recovery_ = in_recovery;
    was_streaming_ = streaming;
    decisions_ = decisions;
    return promoted || connected || decided ||
           (!is_writer_ && !in_recovery && ::access(std::string(kTakeOverFileName).c_str(), F_OK) == 0);
}

bool RoleWatch::just_settled() noexcept {
    return std::exchange(settled_, false);
}

void RoleWatch::look(const Settings &settings, const std::function<bool()> &stop) {
    // In which epoch; another one is settled anew even if the loss of this one was never noticed.
    const bool before = std::exchange(is_writer_, false);
    const uint64_t held = before && claim_ ? claim_->epoch : 0;
    ClaimResult result;
    try {
        result = settle_role_now(settings, stop);
    } catch (const Error &error) {
        if (error.code() != ErrorCode::kCancelled)
            publish(error.code() == ErrorCode::kForeign ? WriterRole::kForeign : WriterRole::kUnreachable, std::nullopt,
                    error);
        throw;
    }
    publish(role_of(result.standing), result.claim, result.refusal);
    publish_writer(result.writer);
    is_writer_ = result.standing == WriterStanding::kWriter;
    claim_ = is_writer_ ? result.claim : std::nullopt;
    settled_ = claim_ && claim_->epoch != held;
    if (result.refusal && result.refusal->message() != last_refusal_)
        say(*result.refusal);
    last_refusal_ = result.refusal ? result.refusal->message() : std::string();
}

} // namespace pgvigil
