#include "base/error.h"
#include "crypto/digest.h"
#include "repo/envelope.h"
#include "repo/file_table.h"
#include "repo/table_records.h"

#include <algorithm>
#include <utility>

namespace pgvigil {

namespace {

Error damaged(const std::string &what, const std::string &why) {
    return Error(ErrorCode::kCorrupt, "\"" + what + "\" is damaged").detail(why);
}

// Puts the records of one file together again.
class EntryAssembler {
  public:
    // Returns the file before, when the record begins another one.
    std::optional<FileEntry> add(table::Record &&record, const std::string &name) {
        FileEntry &entry = record.entry;
        if (record.continues) {
            const bool follows =
                open_ && entry.path == entry_.path && !entry.extents.empty() && !entry_.extents.empty() &&
                entry.extents.front().offset >= entry_.extents.back().offset + entry_.extents.back().plain_length;
            if (!follows)
                throw damaged(name, "A record continues a file that it does not follow.");
            entry_.extents.insert(entry_.extents.end(), entry.extents.begin(), entry.extents.end());
            return std::nullopt;
        }
        if (open_ && compare_paths(entry_.path, entry.path) >= 0)
            throw damaged(name, "Its paths are out of order.");
        std::optional<FileEntry> before = end(name);
        entry_ = std::move(entry);
        open_ = true;
        return before;
    }

    // The last file.
    std::optional<FileEntry> end(const std::string &name) {
        if (!open_)
            return std::nullopt;
        if (!entry_.extents.empty() && entry_.extents.back().offset + entry_.extents.back().plain_length > entry_.size)
            throw damaged(name, "An extent of \"" + entry_.path + "\" lies behind the file's end.");
        ++count_;
        open_ = false;
        return std::exchange(entry_, {});
    }

    [[nodiscard]] uint64_t count() const noexcept { return count_; }

  private:
    FileEntry entry_;
    bool open_ = false;
    uint64_t count_ = 0;
};

} // namespace

struct FileTableReader::State {
    State(Fetch source, std::string names, std::vector<StoredObject> committed)
        : fetch(std::move(source)), prefix(std::move(names)), objects(std::move(committed)) {}

    void load_index();
    void parse_index(const Bytes &plain);
    Bytes decode(ByteView frame, const std::string &name);
    void load_part(size_t last, bool whole);
    void load();
    void check_digest(const std::string &name, uint64_t size);
    bool open_frame();
    std::optional<FileEntry> next();

    [[nodiscard]] std::string shown(std::string_view name) const { return prefix + std::string(name); }
    [[nodiscard]] bool part_ends(size_t index) const {
        return index + 1 == frames.size() || frames[index + 1].part != frames[index].part;
    }

    Fetch fetch;
    const std::string prefix;
    const std::vector<StoredObject> objects;
    FrameDecoder decoder;
    bool loaded = false;
    uint64_t parts = 0;
    uint64_t entries = 0;
    std::vector<table::IndexEntry> frames;

    // next(): the frame whose records come next, the bytes around it, and what is decoded.
    size_t limit = kMaxTablePartBytes;
    size_t at = 0;
    Bytes bytes;
    uint64_t bytes_from = 0; // in the part
    bool checked = false;    // `bytes` is a whole part, which the caller has checked
    Sha256 digest;
    Bytes plain;
    ByteReader records{ByteView()};
    std::string name; // of the part of `records`
    EntryAssembler assembler;
    bool at_end = false;
};

// The index, read once.
void FileTableReader::State::load_index() {
    if (loaded)
        return;
    const std::string index = shown(table::kIndexName);
    const Bytes object = fetch(std::string(table::kIndexName), std::nullopt);
    const ParsedHeader parsed = parse_header(object, index);
    if (parsed.header.kind != ObjectKind::kTableIndex)
        throw damaged(index, "It is not the index of a file table.");
    Bytes all;
    ByteView rest = ByteView(object).subspan(parsed.length);
    bool last = false;
    for (uint32_t number = 0; !last; ++number) {
        FrameHeader frame;
        const Bytes piece = decoder.decode(rest, frame, index);
        if (frame.type != FrameType::kTableIndex || frame.number != number)
            throw damaged(index, "Its frames are out of order.");
        all.insert(all.end(), piece.begin(), piece.end());
        rest = rest.subspan(kFrameHeaderBytes + frame.stored_length);
        last = frame.last;
    }
    if (!rest.empty() || all.size() != parsed.header.plain_length)
        throw damaged(index, "It does not end where it should.");
    parse_index(all);
    loaded = true;
}

void FileTableReader::State::parse_index(const Bytes &all) {
    const std::string index = shown(table::kIndexName);
    ByteReader in(all);
    uint64_t count = 0;
    try {
        parts = in.varint();
        entries = in.varint();
        count = in.varint();
    } catch (const Error &) {
        throw damaged(index, "It ends early.");
    }
    for (uint64_t i = 0; i < count; ++i) {
        frames.push_back(table::read_index_entry(in, index));
        const bool first = frames.size() == 1;
        const bool in_order = first ? frames[0].part == 0
                                    : compare_paths(frames[i - 1].path, frames[i].path) <= 0 &&
                                          (frames[i].part == frames[i - 1].part
                                               ? frames[i].offset == frames[i - 1].offset + frames[i - 1].length
                                               : frames[i].part == frames[i - 1].part + 1);
        if (!in_order)
            throw damaged(index, "Its entries are out of order.");
    }
    if (!in.at_end() || parts != (frames.empty() ? 0 : uint64_t{frames.back().part} + 1))
        throw damaged(index, "It does not end where it should.");
}

Bytes FileTableReader::State::decode(ByteView frame, const std::string &what) {
    FrameHeader header;
    Bytes decoded = decoder.decode(frame, header, what);
    if (header.type != FrameType::kTableRecords || frame.size() != kFrameHeaderBytes + header.stored_length)
        throw damaged(what, "It holds a frame that has no place in a file table.");
    return decoded;
}

// Reads the part from the frame `at` up to the frame `last`, or all of it.
void FileTableReader::State::load_part(size_t last, bool whole) {
    const std::string object = table::part_name(frames[at].part);
    const uint64_t end = uint64_t{frames[last].offset} + frames[last].length;
    const bool begins = at == 0 || frames[at - 1].part != frames[at].part;
    if (whole) {
        bytes = fetch(object, std::nullopt);
        bytes_from = 0;
    } else {
        bytes_from = begins ? 0 : frames[at].offset;
        bytes = fetch(object, ByteRange{bytes_from, end - bytes_from});
        digest.update(bytes);
    }
    checked = whole;
    if (bytes_from + bytes.size() != end)
        throw damaged(shown(object), "It does not hold the frames its index lists.");
    if (bytes_from > 0)
        return;
    size_t first = at;
    while (first > 0 && frames[first - 1].part == frames[at].part)
        --first;
    const ParsedHeader parsed = parse_header(bytes, shown(object));
    if (parsed.header.kind != ObjectKind::kTablePart)
        throw damaged(shown(object), "It is not a part of a file table.");
    if (parsed.length != frames[first].offset)
        throw damaged(shown(object), "It does not hold the frames its index lists.");
}

// Makes `bytes` hold the frame `at`.
void FileTableReader::State::load() {
    const bool begins = at == 0 || frames[at - 1].part != frames[at].part;
    if (!begins && frames[at].offset >= bytes_from && frames[at].offset < bytes_from + bytes.size())
        return;
    const uint64_t from = begins ? 0 : frames[at].offset;
    size_t last = at;
    while (!part_ends(last) && uint64_t{frames[last + 1].offset} + frames[last + 1].length - from <= limit)
        ++last;
    load_part(last, begins && part_ends(last));
}

// The part has been read to its end in ranges.
void FileTableReader::State::check_digest(const std::string &object, uint64_t size) {
    const Sha256Digest found = digest.finish();
    for (const StoredObject &expected : objects)
        if (expected.name == object && (expected.size != size || expected.sha256 != found))
            throw damaged(shown(object), "Its size or its SHA-256 is not what the backup's commit document states.");
}

// Decodes the frame `at`; false behind the last one.
bool FileTableReader::State::open_frame() {
    if (at == frames.size())
        return false;
    load();
    const table::IndexEntry &frame = frames[at];
    const std::string object = table::part_name(frame.part);
    name = shown(object);
    try {
        plain = decode(ByteView(bytes).subspan(frame.offset - bytes_from, frame.length), name);
    } catch (const Error &error) {
        if (error.code() != ErrorCode::kCorrupt || checked)
            throw;
        // A range comes as the first store has it; for the whole part the caller may turn to another one.
        size_t last = at;
        while (!part_ends(last))
            ++last;
        load_part(last, true);
        plain = decode(ByteView(bytes).subspan(frame.offset, frame.length), name);
    }
    if (part_ends(at)) {
        if (checked)
            (void)digest.finish();
        else
            check_digest(object, uint64_t{frame.offset} + frame.length);
    }
    records = ByteReader(plain);
    ++at;
    return true;
}

std::optional<FileEntry> FileTableReader::State::next() {
    load_index();
    while (!at_end) {
        while (records.at_end() && !at_end)
            at_end = !open_frame();
        if (at_end)
            break;
        if (auto entry = assembler.add(table::read_record(records, name), name))
            return entry;
    }
    auto entry = assembler.end(name);
    if (!entry && assembler.count() != entries)
        throw damaged(shown(table::kIndexName), "The table holds " + std::to_string(assembler.count()) +
                                                    " files where " + std::to_string(entries) + " are listed.");
    return entry;
}

FileTableReader::FileTableReader(Fetch fetch, std::string prefix, std::vector<StoredObject> objects)
    : state_(std::make_unique<State>(std::move(fetch), std::move(prefix), std::move(objects))) {}
FileTableReader::FileTableReader(FileTableReader &&) noexcept = default;
FileTableReader::~FileTableReader() = default;

void FileTableReader::limit_read(size_t bytes) {
    state_->limit = bytes;
}

std::optional<FileEntry> FileTableReader::next() {
    return state_->next();
}

void FileTableReader::for_each(const std::function<void(FileEntry &&entry)> &visit) {
    while (auto entry = state_->next())
        visit(std::move(*entry));
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
    EntryAssembler assembler;
    std::string name;
    for (; at != end; ++at) {
        const std::string object = table::part_name(at->part);
        name = state.shown(object);
        const Bytes frame = state.fetch(object, ByteRange{at->offset, at->length});
        if (frame.size() != at->length)
            throw damaged(name, "It ends before a frame its index lists.");
        const Bytes plain = state.decode(frame, name);
        ByteReader in(plain);
        while (!in.at_end()) {
            table::Record record = table::read_record(in, name);
            if (record.entry.path == path)
                (void)assembler.add(std::move(record), name);
        }
    }
    return assembler.end(name);
}

} // namespace pgvigil
