// The streamer's way to the repositories: claimed, with a TailWriter. A session lives as long as this server is the
// writer in one epoch and on one timeline with one set of settings; then a new one begins.
//
// Guarantees: durable() covers only what readers can use: it says nothing before the timeline's history file and the
// ancestors' segments are stored (rules B10), and nothing that the lease does not allow to be acknowledged (rules C4).
// Threading: the streamer's main thread; the TailWriter has threads of its own.
#pragma once

#include "server/flush_watch.h"
#include "server/server_facts.h"
#include "server/settings.h"
#include "server/shared_stream.h"
#include "server/stream_settings.h"
#include "server/writer.h"

#include "transfer/tail_writer.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pgvigil {

// The first segment that streaming has to do with: those before are on another timeline, of an earlier epoch, or gone.
[[nodiscard]] uint64_t first_streamed_segment(const ServerFacts &facts, const Claim &claim);
[[nodiscard]] TailWriterOptions tail_options(const Settings &settings, const StreamSettings &stream,
                                             const ServerFacts &facts, const Claim &claim);

class StreamSession {
  public:
    // Waits for the stores, and for the archiver to store what comes before in as many of them as are required; the
    // others get nothing of this session. `progress` is told what is waited for.
    // Throws the refusal where this server may not write, kCancelled once `stop` returned true, what the stores throw.
    StreamSession(const Settings &settings, const StreamSettings &stream, const std::function<bool()> &stop,
                  const std::function<void(const std::string &what)> &progress);

    // Whether a session made now had more repositories that work than this one, `bad` of whose are not coming back.
    // Asks the stores, for a few seconds at the most. Throws the refusal where this server may not write any more.
    [[nodiscard]] bool could_have_more(size_t bad, const std::function<bool()> &stop) const;
    // Whether there are repositories that get nothing.
    [[nodiscard]] bool is_partial() const noexcept { return repositories_ < settings_.repositories.size(); }

    // Whether a session made now would be the same. Not so once the archiver has let WAL go: the next one begins
    // behind.
    [[nodiscard]] bool fits(const Settings &settings, const StreamSettings &stream, const FlushPosition &now) const;

    // Tells the writer what was flushed and what the archiver has stored since the last call.
    void advance(Lsn flushed);
    // Acknowledges what has become durable, if the lease allows it now. Throws kNotWriter once another server has taken
    // over.
    void take_durable();
    // The same; what is held back for long makes it ask for the lease. `stop` is asked while that is waited for.
    void acknowledge(const Settings &settings, const std::function<bool()> &stop);

    [[nodiscard]] Lsn durable() const noexcept { return durable_; }
    // When a transaction ended last before durable(), µs since 1970; 0: none is known.
    [[nodiscard]] int64_t last_transaction_us() const noexcept { return last_transaction_us_; }
    // From here on everything up to durable() is there.
    [[nodiscard]] Lsn first() const noexcept { return first_; }
    // Something is durable that may not be acknowledged yet.
    [[nodiscard]] bool is_held_back() const { return writer_->durable() > durable_; }
    // Whether the required repositories are there when `failing` of all fail.
    [[nodiscard]] bool has_enough_without(size_t failing) const noexcept {
        return settings_.required != 0 && repositories_ >= settings_.required + failing;
    }
    [[nodiscard]] StreamBasis basis() const noexcept { return basis_; }
    // How many WAL files the archiver had let go when it began.
    [[nodiscard]] uint64_t let_go() const noexcept { return let_go_; }
    [[nodiscard]] TimelineId timeline() const noexcept { return timeline_; }
    [[nodiscard]] const Claim &claim() const noexcept { return claim_; }
    [[nodiscard]] TailWriter &writer() const noexcept { return *writer_; }

  private:
    [[nodiscard]] std::vector<std::shared_ptr<Repository>>
    wait_for_history(const std::function<bool()> &stop, const std::function<void(const std::string &what)> &progress);
    void pass_on_acknowledged();

    Settings settings_;
    StreamSettings stream_;
    Claim claim_;
    TimelineId timeline_ = 0;
    StreamBasis basis_{};
    size_t repositories_ = 0; // that are streamed to
    Lsn first_;
    Lsn durable_;
    int64_t last_transaction_us_ = 0;
    uint64_t acknowledged_ = 0;  // of the archiver's, by number of order
    uint64_t let_go_ = 0;        // WAL files, when the session began
    bool is_behind_gap_ = false; // since then one more
    int64_t held_back_since_ms_ = 0;
    std::unique_ptr<TailWriter> writer_;
};

} // namespace pgvigil
