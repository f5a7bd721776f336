#include "repo/file_table.h"

#include "base/error.h"
#include "repo/envelope.h"
#include "repo/table_records.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace pgvigil {

namespace {

// Plain bytes after which a frame is closed. One record adds at most kMaxRecordExtents extents on top.
constexpr size_t kFrameTargetBytes = 256 * kKiB;
constexpr size_t kLargestRecordBytes = 8 * kKiB + table::kMaxRecordExtents * table::kMaxExtentRecordBytes;
constexpr size_t kLargestFrameBytes = kFrameHeaderBytes + kFrameTargetBytes + kLargestRecordBytes;
constexpr size_t kIndexFrameBytes = kMiB;
constexpr std::string_view kIndexName = "index";

std::string part_name(uint32_t number) {
    char text[16];
    std::snprintf(text, sizeof text, "%06u", number);
    return text;
}

Error damaged(std::string_view what, const std::string &why) {
    return Error(ErrorCode::kCorrupt, "\"" + std::string(what) + "\" is damaged").detail(why);
}

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
            emit(part_name(part++), ObjectKind::kTablePart, plain_bytes, frames);
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
        emit(std::string(kIndexName), ObjectKind::kTableIndex, total, body);
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

struct FileTableReader::State {
    explicit State(Fetch source) : fetch(std::move(source)) {}

    // The index, read once.
    void load_index() {
        if (loaded)
            return;
        const Bytes object = fetch(std::string(kIndexName), std::nullopt);
        const ParsedHeader parsed = parse_header(object, kIndexName);
        if (parsed.header.kind != ObjectKind::kTableIndex)
            throw damaged(kIndexName, "It is not the index of a file table.");
        Bytes plain;
        ByteView rest = ByteView(object).subspan(parsed.length);
        bool last = false;
        for (uint32_t number = 0; !last; ++number) {
            FrameHeader frame;
            const Bytes bytes = decoder.decode(rest, frame, kIndexName);
            if (frame.type != FrameType::kTableIndex || frame.number != number)
                throw damaged(kIndexName, "Its frames are out of order.");
            plain.insert(plain.end(), bytes.begin(), bytes.end());
            rest = rest.subspan(kFrameHeaderBytes + frame.stored_length);
            last = frame.last;
        }
        if (!rest.empty() || plain.size() != parsed.header.plain_length)
            throw damaged(kIndexName, "It does not end where it should.");
        parse_index(plain);
        loaded = true;
    }

    void parse_index(const Bytes &plain) {
        ByteReader in(plain);
        uint64_t count = 0;
        try {
            parts = in.varint();
            entries = in.varint();
            count = in.varint();
        } catch (const Error &) {
            throw damaged(kIndexName, "It ends early.");
        }
        for (uint64_t i = 0; i < count; ++i) {
            frames.push_back(table::read_index_entry(in, kIndexName));
            const bool first = frames.size() == 1;
            const bool in_order =
                first ? frames[0].part == 0
                      : compare_paths(frames[i - 1].path, frames[i].path) <= 0 &&
                            (frames[i].part == frames[i - 1].part || frames[i].part == frames[i - 1].part + 1);
            if (!in_order)
                throw damaged(kIndexName, "Its entries are out of order.");
        }
        if (!in.at_end() || parts != (frames.empty() ? 0 : uint64_t{frames.back().part} + 1))
            throw damaged(kIndexName, "It does not end where it should.");
    }

    // Decodes one frame's records and hands them on.
    template <class Visit> void read_frame(ByteView frame, const std::string &name, const Visit &visit) {
        FrameHeader header;
        const Bytes plain = decoder.decode(frame, header, name);
        if (header.type != FrameType::kTableRecords)
            throw damaged(name, "It holds a frame that has no place in a file table.");
        ByteReader in(plain);
        while (!in.at_end())
            visit(table::read_record(in, name));
    }

    Fetch fetch;
    FrameDecoder decoder;
    bool loaded = false;
    uint64_t parts = 0;
    uint64_t entries = 0;
    std::vector<table::IndexEntry> frames;
};

namespace {

// Puts the records of one file together again.
class EntryAssembler {
  public:
    explicit EntryAssembler(const std::function<void(FileEntry &&entry)> &visit) : visit_(visit) {}

    void add(table::Record &&record, const std::string &name) {
        FileEntry &entry = record.entry;
        if (record.continues) {
            const bool follows =
                open_ && entry.path == entry_.path && !entry.extents.empty() && !entry_.extents.empty() &&
                entry.extents.front().offset >= entry_.extents.back().offset + entry_.extents.back().plain_length;
            if (!follows)
                throw damaged(name, "A record continues a file that it does not follow.");
            entry_.extents.insert(entry_.extents.end(), entry.extents.begin(), entry.extents.end());
        } else {
            if (open_ && compare_paths(entry_.path, entry.path) >= 0)
                throw damaged(name, "Its paths are out of order.");
            flush(name);
            entry_ = std::move(entry);
            open_ = true;
        }
    }

    void flush(const std::string &name) {
        if (!open_)
            return;
        if (!entry_.extents.empty() && entry_.extents.back().offset + entry_.extents.back().plain_length > entry_.size)
            throw damaged(name, "An extent of \"" + entry_.path + "\" lies behind the file's end.");
        ++count_;
        // The path stays behind: the next record's order is checked against it.
        FileEntry out = entry_;
        visit_(std::move(out));
    }

    [[nodiscard]] uint64_t count() const noexcept { return count_; }

  private:
    const std::function<void(FileEntry &&entry)> &visit_;
    FileEntry entry_;
    bool open_ = false;
    uint64_t count_ = 0;
};

} // namespace

FileTableReader::FileTableReader(Fetch fetch) : state_(std::make_unique<State>(std::move(fetch))) {}
FileTableReader::~FileTableReader() = default;

void FileTableReader::for_each(const std::function<void(FileEntry &&entry)> &visit) {
    State &state = *state_;
    state.load_index();
    EntryAssembler assembler(visit);
    std::string name;
    for (size_t i = 0; i < state.frames.size();) {
        const uint32_t part = state.frames[i].part;
        name = part_name(part);
        const Bytes object = state.fetch(name, std::nullopt);
        const ParsedHeader parsed = parse_header(object, name);
        if (parsed.header.kind != ObjectKind::kTablePart)
            throw damaged(name, "It is not a part of a file table.");
        uint64_t expected_at = parsed.length;
        for (; i < state.frames.size() && state.frames[i].part == part; ++i) {
            const table::IndexEntry &frame = state.frames[i];
            if (frame.offset != expected_at || uint64_t{frame.offset} + frame.length > object.size())
                throw damaged(name, "It does not hold the frames its index lists.");
            state.read_frame(ByteView(object).subspan(frame.offset, frame.length), name,
                             [&](table::Record &&record) { assembler.add(std::move(record), name); });
            expected_at += frame.length;
        }
        if (expected_at != object.size())
            throw damaged(name, "It does not hold the frames its index lists.");
    }
    assembler.flush(name);
    if (assembler.count() != state.entries)
        throw damaged(kIndexName, "The table holds " + std::to_string(assembler.count()) + " files where " +
                                      std::to_string(state.entries) + " are listed.");
}

std::optional<FileEntry> FileTableReader::find(std::string_view path) {
    State &state = *state_;
    state.load_index();
    // The last frame that begins before or with the path, and further back while the path begins frames itself.
    auto at = std::upper_bound(
        state.frames.begin(), state.frames.end(), path,
        [](std::string_view wanted, const table::IndexEntry &frame) { return compare_paths(wanted, frame.path) < 0; });
    const auto end = at;
    while (at != state.frames.begin() && (at == end || at->path == path))
        --at;
    std::optional<FileEntry> found;
    const std::function<void(FileEntry && entry)> keep = [&](FileEntry &&entry) { found = std::move(entry); };
    EntryAssembler assembler(keep);
    std::string name;
    for (; at != end; ++at) {
        name = part_name(at->part);
        const Bytes frame = state.fetch(name, ByteRange{at->offset, at->length});
        if (frame.size() != at->length)
            throw damaged(name, "It ends before a frame its index lists.");
        state.read_frame(frame, name, [&](table::Record &&record) {
            if (record.entry.path == path)
                assembler.add(std::move(record), name);
        });
    }
    assembler.flush(name);
    return found;
}

} // namespace pgvigil
