// The settings of streaming and of synchronous mode, checked when they are written. Threading: the main thread;
// StreamSettings is a value.
#pragma once

#include <chrono>
#include <string>

namespace pgvigil {

struct StreamSettings {
    std::chrono::milliseconds interval{1000}; // 0: off
    bool synchronous = false;
    std::chrono::milliseconds synchronous_timeout{0}; // 0: commits wait for ever
    std::string synchronous_user;                     // empty: libpq's default
    bool cleanup = false;

    [[nodiscard]] bool is_on() const noexcept { return interval.count() > 0 || synchronous; }
    // Whether what was begun with `other` streams in the same way; the rest matters to the connection only.
    [[nodiscard]] bool streams_like(const StreamSettings &other) const noexcept {
        return interval == other.interval && synchronous == other.synchronous && cleanup == other.cleanup;
    }
};

// Called once, by define_settings().
void define_streaming();

[[nodiscard]] StreamSettings current_stream_settings();
// Whether the WAL's tail is to be streamed by the writer.
[[nodiscard]] bool streaming_is_on() noexcept;

// For pgvigil's own workers, before anything else: what one of them commits must not wait until another one has stored
// it.
void commit_without_waiting() noexcept;

} // namespace pgvigil
