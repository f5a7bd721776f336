#include "transfer/wal_get_path.h"

#include "base/error.h"

#include <algorithm>
#include <charconv>
#include <fmt/core.h>

namespace pgvigil {

uint64_t WalPath::bytes_of(const WalFileName &segment) const noexcept {
    for (const TimelineStep &step : steps) {
        if (step.timeline != segment.timeline)
            continue;
        const uint64_t start = segment_start(segment_number(segment, segment_size), segment_size).value;
        if (start + segment_size <= step.start.value)
            return 0;
        if (!step.end.is_valid())
            return segment_size;
        return step.end.value <= start ? 0 : std::min(step.end.value - start, segment_size);
    }
    return 0;
}

bool WalPath::demands(const WalFileName &file) const noexcept {
    if (file.kind != WalFileKind::kSegment)
        return false;
    // A timeline that the plan enters with nothing of its own leaves the end to the one before.
    const auto last = std::find_if(steps.rbegin(), steps.rend(), [](const TimelineStep &step) {
        return !step.end.is_valid() || step.start < step.end;
    });
    const auto step = std::find_if(steps.rbegin(), steps.rend(),
                                   [&](const TimelineStep &candidate) { return candidate.timeline == file.timeline; });
    if (last == steps.rend() || step == steps.rend() || step < last || !step->end.is_valid())
        return false;
    const uint64_t bytes = bytes_of(file);
    return step == last ? bytes > 0 : bytes == segment_size;
}

std::string to_string(const TimelinePath &path) {
    std::string text;
    for (const TimelineStep &step : path) {
        text += fmt::format("{}{}", text.empty() ? "" : ",", step.timeline);
        if (step.end.is_valid())
            text += "@" + to_string(step.end);
    }
    return text;
}

TimelinePath parse_timeline_path(std::string_view text) {
    const auto bad = [&] {
        return Error(ErrorCode::kInvalidArgument, fmt::format("invalid timeline path \"{}\"", text))
            .detail("Timelines are expected in their order with the position where each one ends, such as "
                    "\"1@0/3000028,2\".");
    };
    TimelinePath path;
    for (std::string_view rest = text;;) {
        const std::string_view item = rest.substr(0, rest.find(','));
        const std::string_view number = item.substr(0, item.find('@'));
        const bool last = item.size() == rest.size();
        TimelineStep step;
        const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), step.timeline);
        if (error != std::errc() || end != number.data() + number.size() || step.timeline == 0)
            throw bad();
        if (number.size() != item.size()) {
            const auto lsn = parse_lsn(item.substr(number.size() + 1));
            if (!lsn || !lsn->is_valid())
                throw bad();
            step.end = *lsn;
        } else if (!last) {
            throw bad();
        }
        if (!path.empty()) {
            step.start = path.back().end;
            if (path.back().timeline >= step.timeline || (step.end.is_valid() && step.end < step.start))
                throw bad();
        }
        path.push_back(step);
        if (last)
            return path;
        rest.remove_prefix(item.size() + 1);
    }
}

} // namespace pgvigil
