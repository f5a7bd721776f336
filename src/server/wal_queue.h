// What archive_status says of the files of pg_wal: those that wait for the archiver (.ready), in the order in which it
// asks for them, and those that are archived (.done). Threading: plain file operations, from any thread.
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

// The complete segments that are marked as archived (.done), in no order. Throws as waiting_files().
[[nodiscard]] std::vector<std::string> marked_segments(const std::string &wal_directory);

struct WalQueue {
    uint64_t files = 0;
    uint64_t bytes = 0;        // segments count with their full size
    int64_t oldest_unix_s = 0; // when the oldest became ready; 0 when none waits
};
[[nodiscard]] WalQueue measure_queue(const std::string &wal_directory, uint64_t segment_size);

} // namespace pgvigil
