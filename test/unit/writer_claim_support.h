// What the tests of the writer's claim share: a server as the claim sees it.
#pragma once

#include "base/wal_name.h"
#include "repo/writer_claim.h"

#include <filesystem>
#include <stdexcept>

namespace pgvigil::test {

inline constexpr uint64_t kClaimSegment = kMiB;
inline constexpr uint64_t kClaimSystem = 7321234567890123456;

// A server as the claim sees it: a data directory and a few facts.
class Server {
  public:
    explicit Server(const std::string &host) {
        // Thousands of identity files are synced here: in memory where there is such a place.
        const std::filesystem::path parent = std::filesystem::exists("/dev/shm")
                                                 ? std::filesystem::path("/dev/shm")
                                                 : std::filesystem::temp_directory_path();
        std::string pattern = (parent / "pgvigil-claim-XXXXXX").string();
        if (mkdtemp(pattern.data()) == nullptr)
            throw std::runtime_error("mkdtemp");
        input.data_directory = pattern;
        input.system_identifier = kClaimSystem;
        input.host = host;
        input.timeline = 1;
        input.wal_end = Lsn{10 * kClaimSegment + 100};
        input.segment_size = kClaimSegment;
        std::filesystem::create_directories(std::filesystem::path(pattern) / "pg_wal/archive_status");
    }
    ~Server() {
        std::error_code ignored;
        std::filesystem::remove_all(input.data_directory, ignored);
    }
    Server(const Server &) = delete;
    Server &operator=(const Server &) = delete;

    void copy_to(const Server &other) const {
        std::filesystem::copy_file(std::filesystem::path(input.data_directory) / kIdentityFileName,
                                   std::filesystem::path(other.input.data_directory) / kIdentityFileName,
                                   std::filesystem::copy_options::overwrite_existing);
    }
    void promote() {
        input.in_recovery = false;
        input.streaming = false;
        input.timeline += 1;
    }

    ClaimInput input;
};

} // namespace pgvigil::test
