#include "repo/pack.h"

#include "base/crc32c.h"
#include "base/error.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr std::string_view kTrailerMagic = "PGVPACK\n";
constexpr size_t kTrailerCrcAt = kPackTrailerBytes - 4;
// Two varints of at most 10 and 5 bytes, offset, length, hash, and the path's length.
constexpr size_t kFooterEntryBytes = 10 + 5 + 4 + 4 + 16 + 5;

Error damaged(std::string_view key, const std::string &why) {
    return Error(ErrorCode::kCorrupt, "\"" + std::string(key) + "\" is damaged").detail(why);
}

ObjectHeader pack_header(uint64_t epoch, const Uuid &attempt, uint64_t plain_length) {
    ObjectHeader header;
    header.kind = ObjectKind::kPack;
    header.digest_id = 0;
    header.epoch = epoch;
    header.attempt = attempt;
    header.plain_length = plain_length;
    return header;
}

Bytes encode_footer(const std::vector<PackedExtent> &extents) {
    ByteWriter writer;
    writer.varint(extents.size());
    for (const PackedExtent &extent : extents) {
        writer.string(extent.path);
        writer.varint(extent.file_offset);
        writer.varint(extent.plain_length);
        writer.u32(extent.place.offset);
        writer.u32(extent.place.length);
        writer.bytes(extent.hash);
    }
    return writer.take();
}

// Where the footer frame stands, from the last bytes of the pack.
PackPlace read_trailer(ByteView pack, std::string_view key) {
    if (pack.size() < kPackTrailerBytes)
        throw damaged(key, "It is too short for a pack.");
    const ByteView trailer = pack.last(kPackTrailerBytes);
    if (as_text(trailer.subspan(16, kTrailerMagic.size())) != kTrailerMagic)
        throw damaged(key, "It does not end in a pack's trailer.");
    if (load_le<uint32_t>(trailer.data() + kTrailerCrcAt) != crc32c(trailer.first(kTrailerCrcAt)))
        throw damaged(key, "Its trailer does not match its checksum.");
    const PackPlace place{load_le<uint32_t>(trailer.data()), load_le<uint32_t>(trailer.data() + 4)};
    if (uint64_t{place.offset} + place.length + kPackTrailerBytes != pack.size())
        throw damaged(key, "Its trailer points outside of the pack.");
    return place;
}

} // namespace

PackBuilder::PackBuilder(Compression compression, uint64_t epoch, const Uuid &attempt, size_t target_bytes)
    : encoder_(compression), epoch_(epoch), attempt_(attempt), target_bytes_(std::min(target_bytes, kMaxPackBytes)) {
    start();
}

void PackBuilder::start() {
    buffer_.clear();
    // Growing would copy what is there again and again; memory that is not touched costs nothing.
    buffer_.reserve(target_bytes_ + kMaxExtentBytes);
    extents_.clear();
    footer_estimate_ = kFrameHeaderBytes + kPackTrailerBytes + 10;
    append_header(buffer_, pack_header(epoch_, attempt_, 0));
}

PackPlace PackBuilder::add(std::string_view path, uint64_t file_offset, ByteView plain, const ContentHash &hash) {
    if (plain.empty() || plain.size() > kMaxExtentBytes)
        throw Error(ErrorCode::kInternal, "an extent of " + std::to_string(plain.size()) + " bytes");
    PackedExtent extent;
    extent.path = path;
    extent.file_offset = file_offset;
    extent.plain_length = static_cast<uint32_t>(plain.size());
    extent.hash = hash;
    extent.place.offset = static_cast<uint32_t>(buffer_.size());
    const FrameHeader header =
        encoder_.append(buffer_, FrameType::kData, plain, hash, static_cast<uint32_t>(extents_.size()), false);
    extent.place.length = static_cast<uint32_t>(kFrameHeaderBytes + header.stored_length);
    footer_estimate_ += kFooterEntryBytes + path.size();
    const PackPlace place = extent.place;
    extents_.push_back(std::move(extent));
    return place;
}

bool PackBuilder::fits(size_t plain_length, size_t path_length) const noexcept {
    const size_t footer = footer_estimate_ + kFooterEntryBytes + path_length;
    return footer <= kMaxFramePlainBytes && buffer_.size() + kFrameHeaderBytes + plain_length + footer <= kMaxPackBytes;
}

bool PackBuilder::full() const noexcept {
    return !extents_.empty() && (buffer_.size() + footer_estimate_ >= target_bytes_ || !fits(kMaxExtentBytes, 0));
}

Bytes PackBuilder::finish() {
    uint64_t plain_length = 0;
    for (const PackedExtent &extent : extents_)
        plain_length += extent.plain_length;
    Bytes header;
    append_header(header, pack_header(epoch_, attempt_, plain_length));
    std::copy(header.begin(), header.end(), buffer_.begin());

    const size_t footer_at = buffer_.size();
    encoder_.append(buffer_, FrameType::kPackFooter, encode_footer(extents_), static_cast<uint32_t>(extents_.size()),
                    true);
    ByteWriter trailer;
    trailer.u32(static_cast<uint32_t>(footer_at));
    trailer.u32(static_cast<uint32_t>(buffer_.size() - footer_at));
    trailer.u32(static_cast<uint32_t>(extents_.size()));
    trailer.u32(0);
    trailer.bytes(as_view(kTrailerMagic));
    trailer.u32(0);
    trailer.u32(crc32c(trailer.view()));
    buffer_.insert(buffer_.end(), trailer.view().begin(), trailer.view().end());
    Bytes pack = std::move(buffer_);
    start();
    return pack;
}

std::vector<PackedExtent> read_pack_footer(ByteView pack, std::string_view key) {
    const ParsedHeader parsed = parse_header(pack, key);
    if (parsed.header.kind != ObjectKind::kPack)
        throw damaged(key, "It is not a pack.");
    const PackPlace place = read_trailer(pack, key);
    FrameHeader frame;
    const Bytes footer = FrameDecoder().decode(pack.subspan(place.offset, place.length), frame, key);
    if (frame.type != FrameType::kPackFooter || !frame.last || place.length != kFrameHeaderBytes + frame.stored_length)
        throw damaged(key, "Its trailer does not point to a footer.");

    std::vector<PackedExtent> extents;
    try {
        ByteReader reader(footer);
        const uint64_t count = reader.varint();
        if (count != frame.number || count > reader.remaining())
            throw damaged(key, "Its footer lists an impossible number of extents.");
        uint64_t expected_at = parsed.length;
        for (uint64_t i = 0; i < count; ++i) {
            PackedExtent extent;
            extent.path = reader.string();
            extent.file_offset = reader.varint();
            const uint64_t plain_length = reader.varint();
            extent.place.offset = reader.u32();
            extent.place.length = reader.u32();
            const ByteView hash = reader.bytes(extent.hash.size());
            std::copy(hash.begin(), hash.end(), extent.hash.begin());
            if (plain_length == 0 || plain_length > kMaxExtentBytes || extent.place.offset != expected_at ||
                extent.place.length <= kFrameHeaderBytes)
                throw damaged(key, "Its footer lists an impossible extent.");
            extent.plain_length = static_cast<uint32_t>(plain_length);
            expected_at += extent.place.length;
            extents.push_back(std::move(extent));
        }
        if (!reader.at_end() || expected_at != place.offset)
            throw damaged(key, "Its footer does not end where it should.");
    } catch (const Error &error) {
        if (error.message().find(key) != std::string::npos)
            throw;
        throw damaged(key, "Its footer ends early.");
    }
    return extents;
}

} // namespace pgvigil
