// The kinds of work that run by schedule. Threading: pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pgvigil {

// The numbers index arrays; the order is the one in which due jobs are looked at.
enum class JobKind : uint8_t { kFull = 0, kIncremental = 1, kExpire = 2, kVerify = 3 };

inline constexpr size_t kJobKinds = 4;
inline constexpr std::array<JobKind, kJobKinds> kEveryJobKind = {JobKind::kFull, JobKind::kIncremental,
                                                                 JobKind::kExpire, JobKind::kVerify};

[[nodiscard]] constexpr std::string_view job_name(JobKind kind) noexcept {
    constexpr std::array<std::string_view, kJobKinds> kNames = {"full", "incremental", "expire", "verify"};
    return kNames[static_cast<size_t>(kind)];
}

[[nodiscard]] constexpr std::optional<JobKind> parse_job_name(std::string_view name) noexcept {
    for (const JobKind kind : kEveryJobKind)
        if (job_name(kind) == name)
            return kind;
    return std::nullopt;
}

[[nodiscard]] constexpr bool is_backup_job(JobKind kind) noexcept {
    return kind == JobKind::kFull || kind == JobKind::kIncremental;
}

} // namespace pgvigil
