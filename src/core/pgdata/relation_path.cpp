#include "pgdata/relation_path.h"

#include <charconv>

namespace pgvigil {

namespace {

constexpr uint32_t kDefaultTablespace = 1663;
constexpr uint32_t kGlobalTablespace = 1664;

// Takes a positive decimal number without leading zeroes off the front of `text`.
std::optional<uint32_t> take_number(std::string_view &text) noexcept {
    if (text.empty() || text.front() < '1' || text.front() > '9')
        return std::nullopt;
    uint32_t value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (status != std::errc())
        return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    return value;
}

bool take(std::string_view &text, std::string_view prefix) noexcept {
    if (!text.starts_with(prefix))
        return false;
    text.remove_prefix(prefix.size());
    return true;
}

std::string_view take_component(std::string_view &path) noexcept {
    const size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    return component;
}

std::optional<uint32_t> whole_number(std::string_view text) noexcept {
    const auto number = take_number(text);
    return text.empty() ? number : std::nullopt;
}

} // namespace

std::optional<RelationFileName> parse_relation_file_name(std::string_view name) noexcept {
    RelationFileName file;
    const auto number = take_number(name);
    if (!number)
        return std::nullopt;
    file.number = *number;
    if (take(name, "_fsm"))
        file.fork = RelationFork::kFsm;
    else if (take(name, "_vm"))
        file.fork = RelationFork::kVm;
    else if (take(name, "_init"))
        file.fork = RelationFork::kInit;
    if (take(name, ".")) {
        const auto segment = take_number(name);
        if (!segment)
            return std::nullopt;
        file.segment = *segment;
    }
    if (!name.empty())
        return std::nullopt;
    return file;
}

bool is_temp_relation_name(std::string_view name) noexcept {
    // The backend's number may have leading zeroes in PostgreSQL's own check, and be 0.
    if (!take(name, "t"))
        return false;
    const size_t digits = name.find_first_not_of("0123456789");
    if (digits == 0 || digits == std::string_view::npos)
        return false;
    name.remove_prefix(digits);
    return take(name, "_") && parse_relation_file_name(name).has_value();
}

std::optional<RelationPath> parse_relation_path(std::string_view path) noexcept {
    RelationPath relation;
    const std::string_view top = take_component(path);
    if (top == "global") {
        relation.tablespace = kGlobalTablespace;
    } else if (top == "base" || top == "pg_tblspc") {
        relation.tablespace = kDefaultTablespace;
        if (top == "pg_tblspc") {
            const auto tablespace = whole_number(take_component(path));
            if (!tablespace || !take_component(path).starts_with("PG_"))
                return std::nullopt;
            relation.tablespace = *tablespace;
        }
        const auto database = whole_number(take_component(path));
        if (!database)
            return std::nullopt;
        relation.database = *database;
    } else {
        return std::nullopt;
    }
    const auto file = parse_relation_file_name(path);
    if (!file)
        return std::nullopt;
    relation.file = *file;
    return relation;
}

} // namespace pgvigil
