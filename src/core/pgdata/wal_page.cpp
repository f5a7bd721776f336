#include "pgdata/wal_page.h"

#include "base/error.h"
#include "base/wal_name.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace pgvigil {

namespace {

constexpr size_t kLongHeaderBytes = 40;
constexpr uint16_t kLongHeaderFlag = 0x0002;

constexpr std::array<std::pair<unsigned, uint16_t>, 4> kMagics = {
    {{15, 0xD110}, {16, 0xD113}, {17, 0xD116}, {18, 0xD118}}};

std::string hex4(uint16_t value) {
    char text[8];
    std::snprintf(text, sizeof text, "%04X", value);
    return text;
}

Error wrong(const ExpectedSegment &expected, ErrorCode code, const std::string &what, const std::string &found,
            const std::string &wanted) {
    return Error(code, "WAL file \"" + expected.name + "\" has " + what)
        .detail("Found " + found + ", expected " + wanted + ".");
}

std::string timeline_list(const std::vector<TimelineId> &timelines) {
    std::string text;
    for (const TimelineId timeline : timelines)
        text += (text.empty() ? "" : ", ") + std::to_string(timeline);
    return text;
}

} // namespace

std::optional<uint16_t> wal_page_magic(unsigned major_version) noexcept {
    for (const auto &[major, magic] : kMagics)
        if (major == major_version)
            return magic;
    return std::nullopt;
}

std::optional<unsigned> major_version_of_magic(uint16_t magic) noexcept {
    for (const auto &[major, known] : kMagics)
        if (known == magic)
            return major;
    return std::nullopt;
}

std::optional<WalSegmentHeader> parse_segment_header(ByteView first_bytes) noexcept {
    if (first_bytes.size() < kLongHeaderBytes)
        return std::nullopt;
    const std::byte *at = first_bytes.data();
    // Every version's magic so far is 0xD0xx or 0xD1xx.
    if ((load_le<uint16_t>(at) & 0xfe00) != 0xd000 || (load_le<uint16_t>(at + 2) & kLongHeaderFlag) == 0)
        return std::nullopt;
    WalSegmentHeader header;
    header.magic = load_le<uint16_t>(at);
    header.timeline = load_le<uint32_t>(at + 4);
    header.page_address = Lsn{load_le<uint64_t>(at + 8)};
    header.remaining_length = load_le<uint32_t>(at + 16);
    header.system_identifier = load_le<uint64_t>(at + 24);
    header.segment_size = load_le<uint32_t>(at + 32);
    header.block_size = load_le<uint32_t>(at + 36);
    return header;
}

void check_segment_header(ByteView first_bytes, const ExpectedSegment &expected) {
    const auto name = parse_wal_file_name(expected.name);
    if (!name || name->kind == WalFileKind::kHistory)
        throw Error(ErrorCode::kInternal, "\"" + expected.name + "\" is not the name of a WAL segment");
    const auto header = parse_segment_header(first_bytes);
    if (!header)
        throw Error(ErrorCode::kCorrupt, "WAL file \"" + expected.name + "\" does not start with a WAL page header");
    if (header->system_identifier != expected.system_identifier)
        throw wrong(expected, ErrorCode::kForeign, "the system identifier of another cluster",
                    std::to_string(header->system_identifier), std::to_string(expected.system_identifier));
    if (expected.magic && header->magic != *expected.magic)
        throw wrong(expected, ErrorCode::kCorrupt, "the page magic of another server version", hex4(header->magic),
                    hex4(*expected.magic));
    if (header->segment_size != expected.segment_size)
        throw wrong(expected, ErrorCode::kCorrupt, "another segment size in its header",
                    std::to_string(header->segment_size) + " bytes", std::to_string(expected.segment_size) + " bytes");
    const Lsn address = segment_start(segment_number(*name, expected.segment_size), expected.segment_size);
    if (header->page_address != address)
        throw wrong(expected, ErrorCode::kCorrupt, "the address of another segment in its header",
                    to_string(header->page_address), to_string(address));
    if (std::find(expected.timelines.begin(), expected.timelines.end(), header->timeline) == expected.timelines.end())
        throw wrong(expected, ErrorCode::kCorrupt, "a timeline in its header that does not lead to it",
                    "timeline " + std::to_string(header->timeline),
                    (expected.timelines.size() == 1 ? "timeline " : "one of the timelines ") +
                        timeline_list(expected.timelines));
}

} // namespace pgvigil
