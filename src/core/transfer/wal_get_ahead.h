// The directory where a read-ahead process keeps the next segments ready, as its clients see it.
//
//   pg_wal/pgvigil.ahead/<key>/lock        locked by the process for as long as it lives
//   pg_wal/pgvigil.ahead/<key>/<segment>   ready: complete and checked
//   pg_wal/pgvigil.ahead/<key>/<segment>.tmp    on its way
//   pg_wal/pgvigil.ahead/<key>/want.<segment>   a client says: this one will be asked for next
//
// <key> is a digest of everything that decides what a segment's bytes are (repositories, cluster, path), so a changed
// restore_command never sees files of an earlier one. Nothing in the directory is used unless the lock is held: what a
// crash left behind is not trusted. Taking a segment is one rename; this file needs neither a network nor a codec, so
// that the program's start is all that replay waits for.
// Threading: free functions; any number of processes.
#pragma once

#include <string>
#include <string_view>

namespace pgvigil {

inline constexpr std::string_view kAheadDirectory = "pgvigil.ahead";
inline constexpr std::string_view kAheadLock = "lock";
inline constexpr std::string_view kAheadGrowing = ".tmp";
inline constexpr std::string_view kAheadWanted = "want.";

// pg_wal/pgvigil.ahead/<key> beside `destination`; "" where no read-ahead belongs: the current directory is not a data
// directory with a server, or `destination` is not below it.
[[nodiscard]] std::string ahead_directory(std::string_view destination, std::string_view key);

// 16 hexadecimal digits for any text.
[[nodiscard]] std::string ahead_key(std::string_view text);

enum class AheadAnswer {
    kTaken,    // `destination` is the segment
    kNotReady, // a reader is there, the segment is not
    kNoReader,
};

// Takes the segment; waits while it is on its way, at most `patience_ms`.
[[nodiscard]] AheadAnswer take_ahead(const std::string &directory, std::string_view name,
                                     const std::string &destination, int patience_ms);

// Tells a living reader where replay stands; without effect when there is none.
void want_ahead(const std::string &directory, std::string_view name);

// Whether a process holds the directory's lock.
[[nodiscard]] bool ahead_reader_lives(const std::string &directory);

} // namespace pgvigil
