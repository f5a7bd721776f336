#include "repo/file_table.h"

#include "base/error.h"
#include "repo/envelope.h"
#include "repo/table_records.h"

#include <algorithm>
#include <utility>

namespace pgvigil {

namespace {

// Plain bytes after which a frame is closed. One record adds at most kMaxRecordExtents extents on top.
constexpr size_t kFrameTargetBytes = 256 * kKiB;
constexpr size_t kLargestRecordBytes = 8 * kKiB + table::kMaxRecordExtents * table::kMaxExtentRecordBytes;
constexpr size_t kLargestFrameBytes = kFrameHeaderBytes + kFrameTargetBytes + kLargestRecordBytes;
constexpr size_t kIndexFrameBytes = kMiB;

} // namespace

int compare_paths(std::string_view a, std::string_view b) noexcept {
    const auto rank = [](char c) { return c == '/' ? 0 : static_cast<int>(static_cast<unsigned char>(c)) + 1; };
    const size_t common = std::min(a.size(), b.size());
    for (size_t i = 0; i < common; ++i)
        if (a[i] != b[i])
            return rank(a[i]) - rank(b[i]);
    return a.size() == b.size() ? 0 : a.size() < b.size() ? -1 : 1;
}

struct FileTableWriter::State {
    State(Compression compression, uint64_t writer_epoch, const Uuid &writer_attempt, Sink sink)
        : encoder(compression), epoch(writer_epoch), attempt(writer_attempt), store(std::move(sink)) {}

    void add_record(const FileEntry &entry, bool continues, std::span<const ExtentRef> extents) {
        // Closed only when another record follows, so that finish() always has one for the last frame.
        if (records.size() >= kFrameTargetBytes)
            close_frame(false);
        if (records.size() == 0)
            first = {entry.path, extents.empty() ? 0 : extents.front().offset, 0, 0, 0};
        table::append_record(records, entry, continues, extents);
    }

    void close_frame(bool finishing) {
        if (records.size() == 0)
            return;
        const size_t header_bytes = encoded_header_bytes({});
        const bool last =
            finishing ||
            header_bytes + frames.size() + kFrameHeaderBytes + records.size() + kLargestFrameBytes > kMaxTablePartBytes;
        first.part = part;
        first.offset = static_cast<uint32_t>(header_bytes + frames.size());
        encoder.append(frames, FrameType::kTableRecords, records.view(), frame_number++, last);
        first.length = static_cast<uint32_t>(header_bytes + frames.size()) - first.offset;
        plain_bytes += records.size();
        records = ByteWriter();
        index.push_back(std::move(first));
        if (last) {
            emit(table::part_name(part++), ObjectKind::kTablePart, plain_bytes, frames);
            frames.clear();
            frame_number = 0;
            plain_bytes = 0;
        }
    }

    void emit(const std::string &name, ObjectKind kind, uint64_t plain_length, const Bytes &body) {
        ObjectHeader header;
        header.kind = kind;
        header.digest_id = 0;
        header.epoch = epoch;
        header.attempt = attempt;
        header.plain_length = plain_length;
        Bytes object;
        append_header(object, header);
        object.insert(object.end(), body.begin(), body.end());
        store(name, std::move(object));
    }

    void write_index() {
        Bytes body;
        ByteWriter plain;
        uint64_t total = 0;
        uint32_t number = 0;
        plain.varint(part);
        plain.varint(entries);
        plain.varint(index.size());
        for (size_t i = 0; i < index.size(); ++i) {
            table::append_index_entry(plain, index[i]);
            if (plain.size() >= kIndexFrameBytes && i + 1 < index.size()) {
                total += plain.size();
                encoder.append(body, FrameType::kTableIndex, plain.view(), number++, false);
                plain = ByteWriter();
            }
        }
        total += plain.size();
        encoder.append(body, FrameType::kTableIndex, plain.view(), number, true);
        emit(std::string(table::kIndexName), ObjectKind::kTableIndex, total, body);
    }

    FrameEncoder encoder;
    uint64_t epoch;
    Uuid attempt;
    Sink store;
    ByteWriter records; // of the open frame
    table::IndexEntry first;
    Bytes frames; // of the open part
    uint32_t frame_number = 0;
    uint64_t plain_bytes = 0;
    uint32_t part = 0;
    uint64_t entries = 0;
    std::vector<table::IndexEntry> index;
    std::string previous;
    bool finished = false;
};

FileTableWriter::FileTableWriter(Compression compression, uint64_t epoch, const Uuid &attempt, Sink store)
    : state_(std::make_unique<State>(compression, epoch, attempt, std::move(store))) {}
FileTableWriter::~FileTableWriter() = default;

void FileTableWriter::add(const FileEntry &entry) {
    State &state = *state_;
    if (state.finished || !table::is_safe_path(entry.path) ||
        (state.entries > 0 && compare_paths(state.previous, entry.path) >= 0))
        throw Error(ErrorCode::kInternal,
                    "\"" + entry.path + "\" does not follow \"" + state.previous + "\" in a file table");
    state.previous = entry.path;
    ++state.entries;
    const std::span<const ExtentRef> extents(entry.extents);
    size_t at = 0;
    do {
        const size_t count = std::min(extents.size() - at, table::kMaxRecordExtents);
        state.add_record(entry, at > 0, extents.subspan(at, count));
        at += count;
    } while (at < extents.size());
}

void FileTableWriter::finish() {
    state_->close_frame(true);
    state_->write_index();
    state_->finished = true;
}

} // namespace pgvigil
