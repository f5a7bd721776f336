#include "pgdata/backup_manifest.h"

#include "base/error.h"
#include "base/utf8.h"
#include "crypto/digest.h"

#include <cstdio>
#include <ctime>
#include <string>
#include <utility>

namespace pgvigil {

namespace {

constexpr unsigned kFirstVersion2Server = 17;

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto code = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (code < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", code);
            out += escape;
        } else {
            out += c;
        }
    }
    return out + "\"";
}

// "2026-11-20 08:40:13 GMT"
std::string gmt_time(int64_t unix_ms) {
    const time_t seconds = unix_ms / 1000 - (unix_ms % 1000 < 0 ? 1 : 0);
    tm parts{};
    gmtime_r(&seconds, &parts);
    char text[64];
    if (std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S GMT", &parts) == 0)
        throw Error(ErrorCode::kInternal, "could not format a file's modification time");
    return text;
}

} // namespace

struct ManifestWriter::State {
    explicit State(Output sink) : output(std::move(sink)) {}

    void write(std::string_view text) {
        digest.update(as_view(text));
        output(as_view(text));
    }
    void open_ranges() {
        write(any_file ? "\n],\n" : "],\n");
        write("\"WAL-Ranges\": [\n");
        ranges_open = true;
    }

    Output output;
    Sha256 digest;
    bool any_file = false;
    bool ranges_open = false;
    bool any_range = false;
    bool finished = false;
};

ManifestWriter::ManifestWriter(unsigned server_major_version, uint64_t system_identifier, Output output)
    : state_(std::make_unique<State>(std::move(output))) {
    if (server_major_version >= kFirstVersion2Server)
        state_->write("{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": " +
                      std::to_string(system_identifier) + ",\n\"Files\": [");
    else
        state_->write("{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [");
}

ManifestWriter::~ManifestWriter() = default;

void ManifestWriter::add_file(std::string_view path, uint64_t size, int64_t mtime_ms, ByteView crc32c) {
    if (state_->ranges_open || crc32c.size() != 4)
        throw Error(ErrorCode::kInternal, "a file was added to a finished manifest, or without a CRC-32C");
    std::string line = state_->any_file ? ",\n" : "\n";
    line += is_utf8(path) ? "{ \"Path\": " + quoted(path) : "{ \"Encoded-Path\": \"" + to_hex(as_view(path)) + "\"";
    line += ", \"Size\": " + std::to_string(size);
    line += ", \"Last-Modified\": \"" + gmt_time(mtime_ms) + "\"";
    line += R"(, "Checksum-Algorithm": "CRC32C", "Checksum": ")" + to_hex(crc32c) + "\" }";
    state_->write(line);
    state_->any_file = true;
}

void ManifestWriter::add_wal_range(TimelineId timeline, Lsn start, Lsn end) {
    if (!state_->ranges_open)
        state_->open_ranges();
    state_->write(std::string(state_->any_range ? ",\n" : "") + "{ \"Timeline\": " + std::to_string(timeline) +
                  ", \"Start-LSN\": \"" + to_string(start) + "\", \"End-LSN\": \"" + to_string(end) + "\" }");
    state_->any_range = true;
}

void ManifestWriter::finish() {
    if (std::exchange(state_->finished, true))
        throw Error(ErrorCode::kInternal, "a manifest was finished twice");
    if (!state_->ranges_open)
        state_->open_ranges();
    state_->write("\n],\n");
    const std::string end = "\"Manifest-Checksum\": \"" + to_hex(state_->digest.finish()) + "\"}\n";
    state_->output(as_view(end));
}

} // namespace pgvigil
