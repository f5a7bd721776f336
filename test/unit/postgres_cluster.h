// A throw-away PostgreSQL cluster for tests that need the server's own bytes. Run by root, the server's programs run as
// an unprivileged user. Nothing listens but a unix socket below the cluster's own directory.
#pragma once

#include "base/bytes.h"

#include <filesystem>
#include <string>
#include <vector>

namespace pgvigil::test {

struct PostgresVersion {
    unsigned major = 0;
    std::filesystem::path bin;
};

// The installed versions that are tested (15, 17, 18), lowest first.
[[nodiscard]] std::vector<PostgresVersion> installed_postgres();

class PostgresCluster {
  public:
    // `initdb_options` are added to initdb's; throws std::runtime_error with the output of what fails.
    PostgresCluster(PostgresVersion version, const std::string &initdb_options);
    ~PostgresCluster(); // stops the server and removes the directory
    PostgresCluster(const PostgresCluster &) = delete;
    PostgresCluster &operator=(const PostgresCluster &) = delete;

    void start(const std::string &settings);
    void stop();
    // Runs a program of the version's bin directory (arguments are shell words) and returns its standard output.
    std::string run(const std::string &program, const std::string &arguments) const;
    std::string sql(const std::string &statement) const;

    [[nodiscard]] const std::filesystem::path &data() const noexcept { return data_; }
    [[nodiscard]] const std::filesystem::path &root() const noexcept { return root_; }
    [[nodiscard]] unsigned major() const noexcept { return version_.major; }

  private:
    PostgresVersion version_;
    std::filesystem::path root_;
    std::filesystem::path data_;
    bool running_ = false;
};

[[nodiscard]] Bytes read_whole_file(const std::filesystem::path &path);

} // namespace pgvigil::test
