// The timelines a restore planned to replay, and where each one ends (rules B10), as a restore_command carries them.
// Without it replay could run along an ancestor past the point where the planned timeline left it, when the planned
// timeline's own segment is not there, or past the end that was planned.
// Threading: values.
#pragma once

#include "base/wal_name.h"
#include "plan/timeline_path.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgvigil {

struct WalPath {
    TimelinePath steps;        // empty: everything is on the path
    uint64_t segment_size = 0; // bytes; set when there are steps

    // How many of the first bytes of a segment lie on the path: all, some, or none.
    [[nodiscard]] uint64_t bytes_of(const WalFileName &segment) const noexcept;
    // True for a segment of which the plan needs bytes_of(): the path has them, up to where it ends or leaves the
    // segment's timeline in a later one. The segment that holds a switch is read from the child. Where the path is open
    // nothing is demanded.
    [[nodiscard]] bool demands(const WalFileName &file) const noexcept;
    // True for a segment that the plan does not replay at all.
    [[nodiscard]] bool excludes(const WalFileName &file) const noexcept {
        return !steps.empty() && file.kind == WalFileKind::kSegment && bytes_of(file) == 0;
    }
};

// "1@0/3000028,2": timeline 1 up to 0/3000028, then timeline 2. The first is not always 1: "2@0/5000000,3".
[[nodiscard]] std::string to_string(const TimelinePath &path);
// Throws kInvalidArgument unless `text` is what to_string() writes: ascending timelines, ends that do not go back.
[[nodiscard]] TimelinePath parse_timeline_path(std::string_view text);

} // namespace pgvigil
