// Rows on their way to SQL: every value as the text its column's type reads, so that a function says what it means and
// not how a Datum is made. Threading: rows may be built in any thread; return_rows() on the main thread.
#pragma once

#include "server/pg.h"

#include "base/lsn.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

using Cell = std::optional<std::string>;
using Row = std::vector<Cell>;
using Rows = std::vector<Row>;

[[nodiscard]] inline Cell cell(bool value) {
    return value ? "t" : "f";
}
template <class T>
    requires std::is_arithmetic_v<T>
[[nodiscard]] Cell cell(T value) {
    return std::to_string(value);
}
[[nodiscard]] inline Cell cell(Lsn lsn) {
    return lsn.is_valid() ? Cell(to_string(lsn)) : std::nullopt;
}
// Empty text is shown as null.
[[nodiscard]] inline Cell cell(const std::string &text) {
    return text.empty() ? std::nullopt : Cell(text);
}
[[nodiscard]] inline Cell cell(const char *text) {
    return *text == '\0' ? std::nullopt : Cell(text);
}
// 0 is shown as null.
[[nodiscard]] Cell timestamp_cell(TimestampTz time);
[[nodiscard]] Cell unix_ms_cell(int64_t unix_ms);
[[nodiscard]] Cell seconds_cell(double seconds);
[[nodiscard]] Cell text_array_cell(const std::vector<std::string> &items);

// Answers a set-returning call; `scalar` where it returns a set of single values.
Datum return_rows(FunctionCallInfo fcinfo, const Rows &rows, bool scalar = false);

// For functions that are not strict: a null would otherwise do nothing, without a word.
void require_argument(FunctionCallInfo fcinfo, int number, const char *name);
[[nodiscard]] std::string text_argument(FunctionCallInfo fcinfo, int number, const char *name);

} // namespace pgvigil
