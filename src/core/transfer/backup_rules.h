// Which names of a data directory a backup takes, and how: PostgreSQL's own rules for base backups, per major version.
// Source: backup/basebackup.c (sendDir, excludeFiles, excludeDirContents, is_checksummed_file).
// Threading: pure functions. Paths are relative to the data directory, tablespaces below pg_tblspc/<oid>.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pgvigil {

// What the directory that holds a file says about it.
enum class DirectoryRole : uint8_t {
    kOther,
    kRoot,        // the data directory itself
    kGlobal,      // global
    kDatabase,    // base/<oid>, pg_tblspc/<oid>/<version>/<oid>
    kTablespaces, // pg_tblspc
};

[[nodiscard]] DirectoryRole directory_role(std::string_view path, std::string_view version_directory) noexcept;

// Whether a name is passed over whatever it is: scratch files, files of the running server, pgvigil's own state.
[[nodiscard]] bool is_left_out(std::string_view name, DirectoryRole parent) noexcept;

// Whether relation files without an init fork's protection matter here: unlogged relations are only looked for in
// database directories, from 17 on in global as well.
[[nodiscard]] bool looks_for_unlogged(DirectoryRole parent, unsigned major_version) noexcept;

// A directory that is recorded, but whose contents are made anew at every start.
[[nodiscard]] bool is_kept_empty(std::string_view name) noexcept;

// The file whose pages carry checksums, and the number of its first block within the relation; nullopt for others.
[[nodiscard]] std::optional<uint32_t> first_checksummed_block(std::string_view path, unsigned major_version,
                                                              uint32_t relation_segment_blocks) noexcept;

} // namespace pgvigil
