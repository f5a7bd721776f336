// Timeline history files. Source: access/timeline.c (readTimeLineHistory).
#pragma once

#include "base/lsn.h"

#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

// One line: `timeline` ends where its child begins.
struct TimelineSwitch {
    TimelineId timeline = 0;
    Lsn end;
    std::string reason;
};

// The ancestors listed by `<timeline>.history`, oldest first; throws kCorrupt naming the file.
[[nodiscard]] std::vector<TimelineSwitch> parse_history_file(std::string_view text, TimelineId timeline);

} // namespace pgvigil
