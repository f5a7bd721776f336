#include "cli/report.h"

#include "base/json.h"

#include <cstdio>
#include <fmt/core.h>
#include <unistd.h>

namespace pgvigil::cli {

namespace {

void line(const char *word, const std::string &text) noexcept {
    if (!text.empty())
        std::fprintf(stderr, "pgvigil: %s: %s\n", word, text.c_str());
}

} // namespace

void report_error(const Error &error) noexcept {
    line("error", error.message());
    line("detail", error.detail());
    line("hint", error.hint());
}

std::string error_json(const Error &error) {
    Json out = {{"error", error_class(error.code()).word}, {"message", error.message()}};
    if (!error.detail().empty())
        out["detail"] = error.detail();
    if (!error.hint().empty())
        out["hint"] = error.hint();
    return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

void StandardErrorLog::emit(LogLevel level, const std::string &message, const std::string &detail) noexcept {
    if (level == LogLevel::kDebug)
        return;
    flockfile(stderr);
    line(level == LogLevel::kWarning ? "warning" : "info", message);
    line("detail", detail);
    funlockfile(stderr);
}

ProgressLine::ProgressLine(bool enabled) noexcept : enabled_(enabled && isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
    clear();
}

void ProgressLine::show(const std::string &text) noexcept {
    if (!enabled_)
        return;
    const std::lock_guard lock(mutex_);
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
    std::fflush(stderr);
    shown_ = true;
}

void ProgressLine::clear() noexcept {
    const std::lock_guard lock(mutex_);
    if (!shown_)
        return;
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
    shown_ = false;
}

std::string pretty_bytes(uint64_t bytes) {
    constexpr const char *kUnits[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
    double value = static_cast<double>(bytes);
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < std::size(kUnits)) {
        value /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string pretty_seconds(uint64_t seconds) {
    if (seconds < 60)
        return fmt::format("{} s", seconds);
    if (seconds < 3600)
        return fmt::format("{} min {:02} s", seconds / 60, seconds % 60);
    return fmt::format("{} h {:02} min", seconds / 3600, seconds % 3600 / 60);
}

} // namespace pgvigil::cli
