// The names of relation files: base/5/16384, base/5/16384_vm.1, global/1262, pg_tblspc/16400/PG_15_202209061/5/16385.
// Source: common/relpath.c, storage/reinit.c (parse_filename_for_nontemp_relation), backup/basebackup.c
// (looks_like_temp_rel_name).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pgvigil {

enum class RelationFork : uint8_t { kMain, kFsm, kVm, kInit };

struct RelationFileName { // the last component only
    uint32_t number = 0;  // relfilenumber
    RelationFork fork = RelationFork::kMain;
    uint32_t segment = 0;
};

[[nodiscard]] std::optional<RelationFileName> parse_relation_file_name(std::string_view name) noexcept;
// t<backend>_<number>[_fork][.segment]
[[nodiscard]] bool is_temp_relation_name(std::string_view name) noexcept;

struct RelationPath {
    uint32_t tablespace = 0; // 1663 pg_default, 1664 pg_global
    uint32_t database = 0;   // 0 for global
    RelationFileName file;
};
// nullopt when `path` (relative to the data directory) is not a relation's file.
[[nodiscard]] std::optional<RelationPath> parse_relation_path(std::string_view path) noexcept;

} // namespace pgvigil
