#include "repo/json_fields.h"

#include "base/time.h"
#include "base/utf8.h"
#include "repo/envelope.h"

#include <charconv>

namespace pgvigil::fields {

void check_format(const Json &document, std::string_view what) {
    const auto format = number<uint32_t>(document, "format", what);
    if (format == 0)
        throw bad_member("format", what);
    if (format > kRepositoryFormat)
        throw Error(ErrorCode::kUnsupported, "\"" + std::string(what) + "\" cannot be read by this version")
            .detail("It has format " + std::to_string(format) + "; formats up to " + std::to_string(kRepositoryFormat) +
                    " are known.")
            .hint("Use the version that wrote it, or a newer one.");
}

Error bad_member(const char *name, std::string_view what) {
    return {ErrorCode::kCorrupt, "\"" + std::string(what) + "\" has no usable member \"" + name + "\""};
}

const Json &member(const Json &object, const char *name, std::string_view what) {
    if (!object.is_object())
        throw bad_member(name, what);
    const auto found = object.find(name);
    if (found == object.end())
        throw bad_member(name, what);
    return *found;
}

Json text_value(std::string_view text) {
    if (is_utf8(text))
        return std::string(text);
    return Json{{"hex", to_hex(as_view(text))}};
}

std::string text(const Json &value, const char *name, std::string_view what) {
    if (value.is_string())
        return value.get<std::string>();
    return std::string(as_text(hex_member(value, "hex", std::string(what) + ": " + name)));
}

std::string text_member(const Json &object, const char *name, std::string_view what) {
    return text(member(object, name, what), name, what);
}

Json identifier_value(uint64_t identifier) {
    return std::to_string(identifier);
}

uint64_t identifier_member(const Json &object, const char *name, std::string_view what) {
    const std::string digits = text_member(object, name, what);
    uint64_t identifier = 0;
    const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), identifier);
    if (status != std::errc() || end != digits.data() + digits.size())
        throw bad_member(name, what);
    return identifier;
}

Json time_value(int64_t unix_ms) {
    return iso_time_ms(unix_ms);
}

int64_t time_member(const Json &object, const char *name, std::string_view what) {
    const std::string value = text_member(object, name, what);
    const auto time_us = value.ends_with('Z') ? parse_time_us(value) : std::nullopt;
    if (!time_us)
        throw bad_member(name, what);
    return *time_us / 1000 - (*time_us % 1000 < 0 ? 1 : 0);
}

Lsn lsn_member(const Json &object, const char *name, std::string_view what) {
    const auto lsn = parse_lsn(text_member(object, name, what));
    if (!lsn)
        throw bad_member(name, what);
    return *lsn;
}

Uuid uuid_member(const Json &object, const char *name, std::string_view what) {
    try {
        return parse_uuid(text_member(object, name, what));
    } catch (const Error &) {
        throw bad_member(name, what);
    }
}

bool bool_member(const Json &object, const char *name, std::string_view what) {
    const Json &value = member(object, name, what);
    if (!value.is_boolean())
        throw bad_member(name, what);
    return value.get<bool>();
}

Bytes hex_member(const Json &object, const char *name, std::string_view what) {
    const Json &value = member(object, name, what);
    if (!value.is_string())
        throw bad_member(name, what);
    try {
        return from_hex(value.get_ref<const std::string &>());
    } catch (const Error &) {
        throw bad_member(name, what);
    }
}

const Json &array_member(const Json &object, const char *name, std::string_view what) {
    const Json &value = member(object, name, what);
    if (!value.is_array())
        throw bad_member(name, what);
    return value;
}

const Json &object_member(const Json &object, const char *name, std::string_view what) {
    const Json &value = member(object, name, what);
    if (!value.is_object())
        throw bad_member(name, what);
    return value;
}

} // namespace pgvigil::fields
