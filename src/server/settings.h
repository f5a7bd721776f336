// The settings pgvigil.*: what users may write, checked when it is written, and a copy of them that threads may read.
// Threading: define_settings() and current_settings() on the main thread; a Settings is an ordinary value.
#pragma once

#include "codec/compression.h"
#include "plan/retention.h"
#include "storage/repository_url.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace pgvigil {

inline constexpr unsigned kMaxRepositories = 8;

struct Settings {
    std::string repository_text; // as written, white space included
    std::vector<RepositoryUrl> repositories;
    std::string credentials_file;
    Compression compression;
    unsigned archive_look_ahead = 8;
    unsigned backup_threads = 2;
    uint64_t max_rate = 0;   // bytes a second; 0 = no limit
    unsigned chain_max = 50; // incremental backups in a row; 0 = no limit
    bool block_hashes = true;
    unsigned required = 0;  // repositories; 0 = all
    uint64_t queue_max = 0; // bytes; 0 = off
    RetentionRules retention;
    std::chrono::milliseconds request_timeout{30000};
    std::chrono::milliseconds retry_for{60000};
    int64_t writer_term_ms = 90000; // rules C4

    // Whether WAL is acknowledged only when every repository has it.
    [[nodiscard]] bool requires_all() const {
        return required == 0 || static_cast<size_t>(required) >= repositories.size();
    }
    // Whether what was opened with `other` must be opened again.
    [[nodiscard]] bool same_repositories(const Settings &other) const {
        return repository_text == other.repository_text && credentials_file == other.credentials_file &&
               required == other.required && request_timeout == other.request_timeout && retry_for == other.retry_for;
    }
    // Of what decides where WAL has to be; good within one run of the server.
    [[nodiscard]] uint64_t repositories_hash() const;
    // Whether an archiver made with `other` works differently.
    [[nodiscard]] bool differs(const Settings &other) const {
        return !same_repositories(other) || compression != other.compression ||
               archive_look_ahead != other.archive_look_ahead;
    }
};

// Called once, from _PG_init.
void define_settings();

// A copy of what holds now. The texts were checked when they were set.
[[nodiscard]] Settings current_settings();

// Single settings that only the main thread reads, at the moment it needs them.
[[nodiscard]] const char *repository_setting() noexcept;
[[nodiscard]] const char *also_archive_command() noexcept;
[[nodiscard]] const char *skip_wal_file() noexcept;
[[nodiscard]] bool auto_first_backup() noexcept;
[[nodiscard]] int backup_wal_timeout_s() noexcept;
[[nodiscard]] int archive_command_timeout_s() noexcept;

} // namespace pgvigil
