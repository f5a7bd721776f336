#include "postgres_cluster.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

namespace pgvigil::test {

namespace {

std::string run_shell(const std::string &command) {
    const std::string whole = (geteuid() == 0 ? "setpriv --reuid=nobody --regid=nogroup --clear-groups " : "") +
                              std::string("sh -c '") + command + "' 2>&1";
    FILE *pipe = popen(whole.c_str(), "r");
    if (pipe == nullptr)
        throw std::runtime_error("could not run: " + whole);
    std::string output;
    std::array<char, 65536> buffer{};
    for (size_t got = 0; (got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
        output.append(buffer.data(), got);
    if (const int status = pclose(pipe); status != 0)
        throw std::runtime_error("failed: " + whole + "\n" + output);
    return output;
}

} // namespace

std::vector<PostgresVersion> installed_postgres() {
    std::vector<PostgresVersion> found;
    const char *cache = std::getenv("PGVIGIL_CACHE");
    const char *home = std::getenv("HOME");
    for (const unsigned major : {15U, 17U, 18U}) {
        std::vector<std::filesystem::path> places;
        if (cache != nullptr)
            places.push_back(std::filesystem::path(cache) / ("postgresql-" + std::to_string(major)) / "bin");
        if (home != nullptr)
            places.push_back(std::filesystem::path(home) / ".cache/pgvigil" / ("postgresql-" + std::to_string(major)) /
                             "bin");
        places.push_back("/var/cache/pgvigil/postgresql-" + std::to_string(major) + "/bin");
        places.push_back("/usr/lib/postgresql/" + std::to_string(major) + "/bin");
        for (const auto &place : places) {
            if (std::error_code ignored; std::filesystem::exists(place / "initdb", ignored)) {
                found.push_back({major, place});
                break;
            }
        }
    }
    return found;
}

PostgresCluster::PostgresCluster(PostgresVersion version, const std::string &initdb_options)
    : version_(std::move(version)) {
    std::string pattern = (std::filesystem::temp_directory_path() / "pgvigil-cluster-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr)
        throw std::runtime_error("could not create " + pattern);
    root_ = pattern;
    std::filesystem::permissions(root_, std::filesystem::perms::all);
    data_ = root_ / "data";
    run("initdb", "-A trust -U postgres --no-sync --no-locale -E UTF8 " + initdb_options + " -D " + data_.string());
}

PostgresCluster::~PostgresCluster() {
    try {
        stop();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
    }
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
}

void PostgresCluster::start(const std::string &settings) {
    std::ofstream(data_ / "postgresql.conf", std::ios::app)
        << "\nlisten_addresses = ''\nunix_socket_directories = '" << root_.string() << "'\nfsync = off\n"
        << "logging_collector = off\nshared_buffers = 16MB\n"
        << settings << "\n";
    run("pg_ctl", "-w -D " + data_.string() + " -l " + (root_ / "log").string() + " start >/dev/null");
    running_ = true;
}

void PostgresCluster::stop() {
    if (!running_)
        return;
    running_ = false;
    run("pg_ctl", "-w -m fast -D " + data_.string() + " stop");
}

std::string PostgresCluster::run(const std::string &program, const std::string &arguments) const {
    return run_shell("cd " + root_.string() + " && TZ=UTC PGHOST=" + root_.string() +
                     " PGUSER=postgres PGDATABASE=postgres " + (version_.bin / program).string() + " " + arguments);
}

std::string PostgresCluster::sql(const std::string &statement) const {
    const std::filesystem::path file = root_ / "statement.sql";
    std::ofstream(file) << statement << "\n";
    std::string output = run("psql", "-XAtq -v ON_ERROR_STOP=1 -f " + file.string());
    while (!output.empty() && output.back() == '\n')
        output.pop_back();
    return output;
}

Bytes read_whole_file(const std::filesystem::path &path) {
    std::ifstream in(path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    return to_bytes(text);
}

} // namespace pgvigil::test
