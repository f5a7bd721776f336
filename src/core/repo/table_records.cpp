#include "repo/table_records.h"

#include "base/error.h"

#include <algorithm>
#include <cstdio>
#include <limits>

namespace pgvigil::table {

namespace {

enum class Tag : uint8_t { kHead = 1, kContinuation = 2 };

constexpr size_t kMinExtentBytes = 6 + 16;
constexpr size_t kMaxPathBytes = 4096;

constexpr uint64_t zigzag(int64_t value) noexcept {
    return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}

constexpr int64_t unzigzag(uint64_t value) noexcept {
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

Error damaged(std::string_view what, const std::string &why) {
    return Error(ErrorCode::kCorrupt, "\"" + std::string(what) + "\" is damaged").detail(why);
}

uint32_t read_u32(ByteReader &in, std::string_view what) {
    const uint64_t value = in.varint();
    if (value > std::numeric_limits<uint32_t>::max())
        throw damaged(what, "A record holds a number that is too large.");
    return static_cast<uint32_t>(value);
}

std::string read_path(ByteReader &in, std::string_view what) {
    const std::string_view path = in.string();
    if (!is_safe_path(path))
        throw damaged(what, "A record holds a path that is not below the data directory: \"" +
                                std::string(path.substr(0, 200)) + "\".");
    return std::string(path);
}

void read_hash(ByteReader &in, ContentHash &hash) {
    const ByteView bytes = in.bytes(hash.size());
    std::copy(bytes.begin(), bytes.end(), hash.begin());
}

// The place of an extent within its frame, from the frame's hash on.
void read_frame_facts(ByteReader &in, ExtentRef &extent, std::string_view what) {
    read_hash(in, extent.hash);
    extent.frame_length = read_u32(in, what);
    if (extent.frame_length == 0) {
        extent.frame_length = extent.plain_length;
        extent.own_hash = extent.hash;
        return;
    }
    extent.frame_offset = read_u32(in, what);
    read_hash(in, extent.own_hash);
    if (extent.frame_length > kMaxExtentBytes || extent.plain_length >= extent.frame_length ||
        extent.frame_offset > extent.frame_length - extent.plain_length)
        throw damaged(what, "A record holds an extent outside of its frame.");
}

void read_extents(ByteReader &in, FileEntry &entry, std::string_view what) {
    const uint64_t count = in.varint();
    if (count > kMaxRecordExtents || count > in.remaining() / kMinExtentBytes)
        throw damaged(what, "A record lists an impossible number of extents.");
    entry.extents.reserve(count);
    uint64_t end = 0;
    for (uint64_t i = 0; i < count; ++i) {
        ExtentRef extent;
        const uint64_t distance = in.varint();
        extent.plain_length = read_u32(in, what);
        extent.pack = read_u32(in, what);
        extent.place.offset = read_u32(in, what);
        extent.place.length = read_u32(in, what);
        read_frame_facts(in, extent, what);
        constexpr uint64_t kHighestOffset = uint64_t{1} << 62;
        if (distance > kHighestOffset - end || extent.plain_length == 0 || extent.plain_length > kMaxExtentBytes ||
            extent.place.length <= kFrameHeaderBytes ||
            uint64_t{extent.place.offset} + extent.place.length > kMaxPackBytes)
            throw damaged(what, "A record holds an impossible extent.");
        extent.offset = end + distance;
        end = extent.offset + extent.plain_length;
        entry.extents.push_back(extent);
    }
}

} // namespace

std::string part_name(uint32_t number) {
    char text[16];
    std::snprintf(text, sizeof text, "%06u", number);
    return text;
}

bool is_safe_path(std::string_view path) noexcept {
    if (path.empty() || path.size() > kMaxPathBytes || path.find('\0') != std::string_view::npos)
        return false;
    for (;;) {
        const size_t slash = path.find('/');
        const std::string_view component = path.substr(0, slash);
        if (component.empty() || component == "." || component == "..")
            return false;
        if (slash == std::string_view::npos)
            return true;
        path.remove_prefix(slash + 1);
    }
}

void append_record(ByteWriter &out, const FileEntry &entry, bool continues, std::span<const ExtentRef> extents) {
    out.u8(static_cast<uint8_t>(continues ? Tag::kContinuation : Tag::kHead));
    out.string(entry.path);
    if (!continues) {
        out.u8(static_cast<uint8_t>(entry.kind));
        out.varint(entry.mode);
        out.varint(entry.size);
        out.varint(zigzag(entry.mtime_ms));
        out.varint(entry.inherit_below);
    }
    out.varint(extents.size());
    uint64_t end = 0;
    for (const ExtentRef &extent : extents) {
        out.varint(extent.offset - end);
        out.varint(extent.plain_length);
        out.varint(extent.pack);
        out.varint(extent.place.offset);
        out.varint(extent.place.length);
        out.bytes(extent.hash);
        out.varint(extent.alone() ? 0 : extent.frame_length);
        if (!extent.alone()) {
            out.varint(extent.frame_offset);
            out.bytes(extent.own_hash);
        }
        end = extent.offset + extent.plain_length;
    }
}

Record read_record(ByteReader &in, std::string_view what) {
    try {
        Record record;
        const uint8_t tag = in.u8();
        if (tag != static_cast<uint8_t>(Tag::kHead) && tag != static_cast<uint8_t>(Tag::kContinuation))
            throw damaged(what, "It holds a record of unknown kind " + std::to_string(tag) + ".");
        record.continues = tag == static_cast<uint8_t>(Tag::kContinuation);
        FileEntry &entry = record.entry;
        entry.path = read_path(in, what);
        if (!record.continues) {
            const uint8_t kind = in.u8();
            if (kind != static_cast<uint8_t>(FileKind::kRegular) && kind != static_cast<uint8_t>(FileKind::kDirectory))
                throw damaged(what, "It holds a file of unknown kind " + std::to_string(kind) + ".");
            entry.kind = static_cast<FileKind>(kind);
            entry.mode = read_u32(in, what);
            entry.size = in.varint();
            entry.mtime_ms = unzigzag(in.varint());
            entry.inherit_below = read_u32(in, what);
            if (entry.mode > 07777 || entry.size > uint64_t{1} << 62)
                throw damaged(what, "It holds an impossible file mode or size.");
        }
        read_extents(in, entry, what);
        return record;
    } catch (const Error &error) {
        if (error.code() != ErrorCode::kCorrupt || error.message().find(what) != std::string::npos)
            throw;
        throw damaged(what, "A record ends early.");
    }
}

void append_index_entry(ByteWriter &out, const IndexEntry &entry) {
    out.string(entry.path);
    out.varint(entry.extent_offset);
    out.varint(entry.part);
    out.varint(entry.offset);
    out.varint(entry.length);
}

IndexEntry read_index_entry(ByteReader &in, std::string_view what) {
    try {
        IndexEntry entry;
        entry.path = read_path(in, what);
        entry.extent_offset = in.varint();
        entry.part = read_u32(in, what);
        entry.offset = read_u32(in, what);
        entry.length = read_u32(in, what);
        if (entry.length <= kFrameHeaderBytes || uint64_t{entry.offset} + entry.length > kMaxTablePartBytes)
            throw damaged(what, "It points to an impossible place.");
        return entry;
    } catch (const Error &error) {
        if (error.code() != ErrorCode::kCorrupt || error.message().find(what) != std::string::npos)
            throw;
        throw damaged(what, "An index entry ends early.");
    }
}

} // namespace pgvigil::table
