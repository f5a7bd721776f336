#include "transfer/backup_rules.h"

#include "pgdata/relation_path.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace pgvigil {

namespace {

bool all_digits(std::string_view text) noexcept {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

template <size_t N> bool is_one_of(std::string_view name, const std::array<std::string_view, N> &names) noexcept {
    return std::find(names.begin(), names.end(), name) != names.end();
}

// "pg_tblspc/<oid>/<version directory>"
bool is_tablespace_version(std::string_view path, std::string_view version_directory) noexcept {
    constexpr std::string_view kPrefix = "pg_tblspc/";
    if (!path.starts_with(kPrefix))
        return false;
    const std::string_view rest = path.substr(kPrefix.size());
    const size_t slash = rest.find('/');
    return slash != std::string_view::npos && all_digits(rest.substr(0, slash)) &&
           rest.substr(slash + 1) == version_directory;
}

// 15 and 16 check every file below these directories but the few that hold no pages.
bool is_checked_by_path(std::string_view path, std::string_view name) noexcept {
    constexpr std::array<std::string_view, 4> kWithoutChecksums = {"pg_control", "pg_filenode.map", "PG_VERSION",
                                                                   "config_exec_params"};
    if (!path.starts_with("global/") && !path.starts_with("base/") && !path.starts_with("pg_tblspc/"))
        return false;
    return !is_one_of(name, kWithoutChecksums) && !name.starts_with("pg_internal.init");
}

} // namespace

DirectoryRole directory_role(std::string_view path, std::string_view version_directory) noexcept {
    if (path.empty())
        return DirectoryRole::kRoot;
    if (path == "global")
        return DirectoryRole::kGlobal;
    if (path == "pg_tblspc")
        return DirectoryRole::kTablespaces;
    const size_t slash = path.rfind('/');
    if (slash == std::string_view::npos || !all_digits(path.substr(slash + 1)))
        return DirectoryRole::kOther;
    const std::string_view parent = path.substr(0, slash);
    return parent == "base" || is_tablespace_version(parent, version_directory) ? DirectoryRole::kDatabase
                                                                                : DirectoryRole::kOther;
}

bool is_left_out(std::string_view name, DirectoryRole parent) noexcept {
    constexpr std::array<std::string_view, 8> kNames = {
        ".DS_Store",      "postgresql.auto.conf.tmp", "current_logfiles.tmp", "backup_label",
        "tablespace_map", "backup_manifest",          "postmaster.pid",       "postmaster.opts"};
    if (name.starts_with("pgsql_tmp") || name.starts_with("pg_internal.init") || is_one_of(name, kNames))
        return true;
    if (parent == DirectoryRole::kDatabase && is_temp_relation_name(name))
        return true;
    // The server's main thread reads it itself, last of all.
    if (parent == DirectoryRole::kGlobal && name == "pg_control")
        return true;
    // A standby's signal file would make a standby of every restore.
    return parent == DirectoryRole::kRoot &&
           (name.starts_with("pgvigil.") || name == "standby.signal" || name == "recovery.signal");
}

bool looks_for_unlogged(DirectoryRole parent, unsigned major_version) noexcept {
    return parent == DirectoryRole::kDatabase || (parent == DirectoryRole::kGlobal && major_version >= 17);
}

bool is_kept_empty(std::string_view name) noexcept {
    constexpr std::array<std::string_view, 7> kNames = {"pg_stat_tmp", "pg_replslot",  "pg_dynshmem", "pg_notify",
                                                        "pg_serial",   "pg_snapshots", "pg_subtrans"};
    return is_one_of(name, kNames);
}

std::optional<uint32_t> first_checksummed_block(std::string_view path, unsigned major_version,
                                                uint32_t relation_segment_blocks) noexcept {
    if (const auto relation = parse_relation_path(path))
        return relation->file.segment * relation_segment_blocks;
    if (major_version >= 17)
        return std::nullopt;
    const std::string_view name = path.substr(path.rfind('/') + 1);
    if (!is_checked_by_path(path, name))
        return std::nullopt;
    const size_t dot = name.find('.');
    if (dot == std::string_view::npos)
        return 0;
    uint32_t segment = 0;
    const char *const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + dot + 1, end, segment);
    if (error != std::errc() || stop != end || segment == 0)
        return std::nullopt;
    return segment * relation_segment_blocks;
}

} // namespace pgvigil
