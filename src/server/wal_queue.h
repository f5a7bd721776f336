// The files of pg_wal that wait for the archiver: archive_status/*.ready, in the order in which the archiver asks for
// them. Threading: plain file operations, from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

// Timeline histories first, then by name: PostgreSQL's order (postmaster/pgarch.c, ready_file_comparator).
[[nodiscard]] bool archives_before(std::string_view a, std::string_view b) noexcept;

struct ArchiveOrder {
    using is_transparent = void; // NOLINT(readability-identifier-naming): the standard's name
    bool operator()(std::string_view a, std::string_view b) const noexcept { return archives_before(a, b); }
};

// The first `limit` names after `after` ("" for all). Throws when the directory cannot be read.
[[nodiscard]] std::vector<std::string> waiting_files(const std::string &wal_directory, std::string_view after,
                                                     size_t limit);

struct WalQueue {
    uint64_t files = 0;
    uint64_t bytes = 0;        // segments count with their full size
    int64_t oldest_unix_s = 0; // when the oldest became ready; 0 when none waits
};
[[nodiscard]] WalQueue measure_queue(const std::string &wal_directory, uint64_t segment_size);

} // namespace pgvigil
