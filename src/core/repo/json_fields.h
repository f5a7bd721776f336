// How the values of documents look in JSON: LSNs as "X/Y", times as ISO 8601 in UTC with milliseconds, 64-bit
// identifiers as decimal strings, bytes as lower-case hexadecimal, and text as a string, or as {"hex": "…"} where it is
// not UTF-8 (paths and host names need not be). Every reader throws kCorrupt naming the document and the member.
// Only .cpp files include this (it brings the JSON library). Threading: pure functions.
#pragma once

#include "base/bytes.h"
#include "base/json.h"
#include "base/lsn.h"
#include "base/random.h"

#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

namespace pgvigil::fields {

// The document's "format": throws kUnsupported for a newer one.
void check_format(const Json &document, std::string_view what);

[[nodiscard]] Error bad_member(const char *name, std::string_view what);
[[nodiscard]] const Json &member(const Json &object, const char *name, std::string_view what);

// An unsigned number that fits T; JSON's numbers would silently be cut to it otherwise.
template <class T> [[nodiscard]] T number(const Json &object, const char *name, std::string_view what) {
    static_assert(std::is_unsigned_v<T>);
    const Json &value = member(object, name, what);
    if (!value.is_number_unsigned() || value.get<uint64_t>() > std::numeric_limits<T>::max())
        throw bad_member(name, what);
    return static_cast<T>(value.get<uint64_t>());
}

[[nodiscard]] Json text_value(std::string_view text);
[[nodiscard]] std::string text(const Json &value, const char *name, std::string_view what);
[[nodiscard]] std::string text_member(const Json &object, const char *name, std::string_view what);

[[nodiscard]] Json identifier_value(uint64_t identifier);
[[nodiscard]] uint64_t identifier_member(const Json &object, const char *name, std::string_view what);

[[nodiscard]] Json time_value(int64_t unix_ms);
[[nodiscard]] int64_t time_member(const Json &object, const char *name, std::string_view what);

[[nodiscard]] Lsn lsn_member(const Json &object, const char *name, std::string_view what);
[[nodiscard]] Uuid uuid_member(const Json &object, const char *name, std::string_view what);
[[nodiscard]] bool bool_member(const Json &object, const char *name, std::string_view what);
[[nodiscard]] Bytes hex_member(const Json &object, const char *name, std::string_view what);

// A member that must be an array; every element is then read by the caller.
[[nodiscard]] const Json &array_member(const Json &object, const char *name, std::string_view what);
// A member that must be an object.
[[nodiscard]] const Json &object_member(const Json &object, const char *name, std::string_view what);

} // namespace pgvigil::fields
