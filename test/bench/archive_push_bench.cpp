// Archives every segment of a pg_wal directory once and says how fast: the archiver's data plane without PostgreSQL.
#include "base/error.h"
#include "base/wal_name.h"
#include "bench_support.h"
#include "pgdata/wal_page.h"
#include "transfer/wal_archiver.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <poll.h>

using namespace pgvigil;

namespace {

std::vector<std::string> segments_in(const std::string &directory) {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(directory)) {
        const std::string name = entry.path().filename();
        const auto parsed = parse_wal_file_name(name);
        if (parsed && parsed->kind == WalFileKind::kSegment)
            names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

WalSegmentHeader header_of(const std::string &path) {
    Bytes bytes(40);
    std::ifstream(path, std::ios::binary).read(reinterpret_cast<char *>(bytes.data()), 40);
    const auto header = parse_segment_header(bytes);
    if (!header)
        throw Error(ErrorCode::kCorrupt, "\"" + path + "\" is not a WAL segment");
    return *header;
}

void wait(WalArchiver &archiver) {
    pollfd event{archiver.event_fd(), POLLIN, 0};
    poll(&event, 1, 1000);
    archiver.clear_event();
}

// As the server's archiver does: the oldest first, as many ahead as the limits let through. Recycled segments, whose
// pages belong to an older place, are refused and counted apart.
size_t archive_all(WalArchiver &archiver, const std::vector<std::string> &names, bool one_by_one) {
    size_t ahead = 0;
    size_t refused = 0;
    for (size_t next = 0; next < names.size(); ++next) {
        for (;;) {
            while (ahead < names.size() && (!one_by_one || ahead == next) && archiver.submit(names[ahead]))
                ++ahead;
            const WalFileState state = archiver.state(names[next]);
            if (state == WalFileState::kFailed) {
                const Error error = archiver.failure(names[next]).value();
                if (error.code() != ErrorCode::kCorrupt)
                    throw error;
                ++refused;
                break;
            }
            if (state == WalFileState::kDone)
                break;
            wait(archiver);
        }
        archiver.forget(names[next]);
    }
    return refused;
}

} // namespace

int main(int argc, char **argv) {
    CLI::App app("Archives every segment of a pg_wal directory and prints segments a second.");
    std::string url;
    std::string directory;
    std::string credentials;
    std::string compression = "zstd:1";
    unsigned look_ahead = 8;
    bool one_by_one = false;
    app.add_option("--repository", url, "repository URL; must be empty")->required();
    app.add_option("--wal", directory, "directory with segments")->required();
    app.add_option("--credentials", credentials, "shared-credentials file");
    app.add_option("--compression", compression);
    app.add_option("--look-ahead", look_ahead);
    app.add_flag("--one-by-one", one_by_one, "each segment only after the one before, as on an idle server");
    CLI11_PARSE(app, argc, argv);
    try {
        bench::StandardErrorLog log;
        const std::vector<std::string> names = segments_in(directory);
        if (names.empty())
            throw Error(ErrorCode::kNotFound, "no segments in \"" + directory + "\"");
        const WalSegmentHeader header = header_of(directory + "/" + names.front());
        WalArchiverOptions options;
        options.system_identifier = header.system_identifier;
        options.segment_size = header.segment_size;
        options.wal_directory = directory;
        options.compression = parse_compression(compression);
        options.look_ahead = look_ahead;
        options.epoch = 1;
        const auto repository = bench::open_repository(url, credentials, header.system_identifier, log);
        const bench::Cost cost;
        WalArchiver archiver(options, {repository}, log);
        const size_t refused = archive_all(archiver, names, one_by_one);
        const WalArchiverCounters counters = archiver.counters();
        fmt::print("{} segments ({} refused) in {:.2f} s: {:.1f} segments/s, {:.1f} MB -> {:.1f} MB, "
                   "processor {:.1f} ms a segment, memory {:.0f} MiB\n",
                   counters.files, refused, cost.seconds(), static_cast<double>(counters.files) / cost.seconds(),
                   static_cast<double>(counters.plain_bytes) / 1e6, static_cast<double>(counters.stored_bytes) / 1e6,
                   cost.cpu() * 1e3 / static_cast<double>(counters.files), bench::Cost::memory_mib());
        return 0;
    } catch (const Error &error) {
        fmt::print(stderr, "error: {}\n{}\n{}\n", error.message(), error.detail(), error.hint());
        return 1;
    }
}
