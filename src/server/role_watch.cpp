#include "server/pg.h"

#include "server/role_watch.h"

#include "server/shared_state.h"
#include "server/waiting.h"
#include "server/writer.h"

#include <unistd.h>

namespace pgvigil {

namespace {

void publish(WriterRole role, const OpenedWriter *writer, const char *message, const char *hint) {
    const uint64_t epoch = writer != nullptr ? writer->epoch : 0;
    const TimelineId timeline = writer != nullptr ? writer->epoch_timeline : 0;
    const uint64_t start = writer != nullptr ? writer->epoch_start.value : 0;
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        shared.writer.role = role;
        shared.writer.epoch = epoch;
        shared.writer.epoch_timeline = timeline;
        shared.writer.epoch_start = start;
        shared.writer.checked_at = GetCurrentTimestamp();
        set_text(shared.writer.message, message);
        set_text(shared.writer.hint, hint);
    });
}

} // namespace

void RoleWatch::publish_off() {
    may_write_ = false;
    settled_ = false;
    publish(WriterRole::kOff, nullptr, "", "");
}

void RoleWatch::settings_changed() {
    may_write_ = false;
}

bool RoleWatch::wants_look() {
    bool in_recovery = false;
    pg_section([&]() noexcept { in_recovery = RecoveryInProgress(); });
    const bool promoted = known_recovery_ && was_in_recovery_ && !in_recovery;
    was_in_recovery_ = in_recovery;
    known_recovery_ = true;
    return promoted;
}

bool RoleWatch::just_settled() noexcept {
    return std::exchange(settled_, false);
}

void RoleWatch::look(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop) {
    const bool before = may_write_;
    may_write_ = false;
    const OpenedWriter writer =
        in_background([&](const CancelToken &cancel) { return open_as_writer(settings, facts, cancel); }, stop);
    publish(facts.in_recovery ? WriterRole::kStandby : WriterRole::kWriter, &writer, "", "");
    may_write_ = true;
    settled_ = !before;
}

} // namespace pgvigil
