// Keeps the answer to "may this server write?" current (rules C): claims the role where that is allowed, registers a
// standby that really streams, and shows the rest to the operator. Threading: the keeper's main thread.
#pragma once

#include "server/settings.h"

#include "repo/writer_claim.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace pgvigil {

class RoleWatch {
  public:
    static constexpr int64_t kPeriodMs = 30000;

    // Settles the role and publishes it; throws where the stores cannot say.
    void look(const Settings &settings, const std::function<bool()> &stop);
    // The setting is empty.
    void publish_off();
    void settings_changed();

    // Whether something happened that makes a new look worth while at once: a promotion, a file pgvigil.take_over.
    [[nodiscard]] bool wants_look();
    // Whether this server is the writer.
    [[nodiscard]] bool is_writer() const noexcept { return is_writer_; }
    // What this server holds as the writer; null when it is not. Still there while look() asks anew.
    [[nodiscard]] const Claim *claim() const noexcept { return claim_ ? &*claim_ : nullptr; }
    // True once after the role was settled: the archiver may go on.
    [[nodiscard]] bool just_settled() noexcept;

  private:
    std::optional<Claim> claim_;
    bool is_writer_ = false;
    bool settled_ = false;
    bool was_in_recovery_ = false;
    bool was_streaming_ = false;
    uint64_t decisions_ = 0;
    std::string last_refusal_;
};

} // namespace pgvigil
