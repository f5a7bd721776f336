// Bounded JSON for small documents. Only .cpp files include this (the library is heavy); file lists never go through
// it.
#pragma once

#include "base/error.h"

#include <nlohmann/json.hpp>
#include <string_view>

namespace pgvigil {

using Json = nlohmann::json;

inline constexpr size_t kMaxDocumentBytes = size_t{16} * 1024 * 1024;
inline constexpr int kMaxDocumentDepth = 32;

// Parses a document of at most kMaxDocumentBytes and kMaxDocumentDepth levels whose top is an object; throws kCorrupt
// naming `what` otherwise.
[[nodiscard]] Json parse_json(std::string_view text, std::string_view what);

// The member `name` converted to T; throws kCorrupt naming `what` when it is absent or of another type.
template <class T> [[nodiscard]] T json_member(const Json &object, const char *name, std::string_view what) {
    const auto found = object.find(name);
    if (found != object.end()) {
        try {
            return found->get<T>();
        } catch (const nlohmann::json::exception &) {
        }
    }
    throw Error(ErrorCode::kCorrupt, "\"" + std::string(what) + "\" has no usable member \"" + name + "\"");
}

// The member converted to T, or `fallback` when it is absent or null; throws kCorrupt when it is of another type.
template <class T>
[[nodiscard]] T json_member_or(const Json &object, const char *name, T fallback, std::string_view what) {
    const auto found = object.find(name);
    if (found == object.end() || found->is_null())
        return fallback;
    return json_member<T>(object, name, what);
}

} // namespace pgvigil
