#include "repo/pack.h"

#include "base/crc32c.h"
#include "base/error.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr std::string_view kTrailerMagic = "PGVPACK\n";
constexpr size_t kTrailerCrcAt = kPackTrailerBytes - 4;
// Offset, length, two varints of at most 5 bytes, hash.
constexpr size_t kFooterFrameBytes = 4 + 4 + 5 + 5 + 16;
// Two varints of at most 10 and 5 bytes, two hashes, and the path's length.
constexpr size_t kFooterExtentBytes = 10 + 5 + 16 + 16 + 5;

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

} // namespace

PackBuilder::PackBuilder(Compression compression, uint64_t epoch, const Uuid &attempt, size_t target_bytes)
    : encoder_(compression), epoch_(epoch), attempt_(attempt), target_bytes_(std::min(target_bytes, kMaxPackBytes)) {
    start();
}

void PackBuilder::start() {
    buffer_.clear();
    // Growing would copy what is there again and again; memory that is not touched costs nothing.
    buffer_.reserve(target_bytes_ + kMaxExtentBytes);
    frames_.clear();
    extents_.clear();
    footer_estimate_ = kFrameHeaderBytes + kPackTrailerBytes + 10;
    append_header(buffer_, pack_header(epoch_, attempt_, 0));
}

PackPlace PackBuilder::append(ByteView plain, const ContentHash &hash, size_t extents) {
    Frame frame;
    frame.plain_length = static_cast<uint32_t>(plain.size());
    frame.hash = hash;
    frame.extents = extents;
    frame.place.offset = static_cast<uint32_t>(buffer_.size());
    const FrameHeader header =
        encoder_.append(buffer_, FrameType::kData, plain, hash, static_cast<uint32_t>(frames_.size()), false);
    frame.place.length = static_cast<uint32_t>(kFrameHeaderBytes + header.stored_length);
    footer_estimate_ += kFooterFrameBytes;
    frames_.push_back(frame);
    return frame.place;
}

PackPlace PackBuilder::add(std::string_view path, uint64_t file_offset, ByteView plain, const ContentHash &hash,
                           const BlockHash &digest) {
    if (plain.empty() || plain.size() > kMaxExtentBytes)
        throw Error(ErrorCode::kInternal, "an extent of " + std::to_string(plain.size()) + " bytes");
    const PackPlace place = append(plain, hash, 1);
    footer_estimate_ += kFooterExtentBytes + path.size();
    extents_.push_back({std::string(path), file_offset, static_cast<uint32_t>(plain.size()), hash, digest});
    return place;
}

PackPlace PackBuilder::add_bundle(std::vector<BundledExtent> &&extents, ByteView plain, const ContentHash &hash) {
    uint64_t length = 0;
    bool empty = false;
    for (const BundledExtent &extent : extents) {
        length += extent.plain_length;
        empty = empty || extent.plain_length == 0;
    }
    if (extents.size() < 2 || extents.size() > kMaxBundleExtents || empty || length != plain.size() ||
        length > kMaxBundleBytes)
        throw Error(ErrorCode::kInternal, "a bundle of " + std::to_string(extents.size()) + " extents and " +
                                              std::to_string(plain.size()) + " bytes");
    const PackPlace place = append(plain, hash, extents.size());
    for (BundledExtent &extent : extents) {
        footer_estimate_ += kFooterExtentBytes + extent.path.size();
        extents_.push_back(std::move(extent));
    }
    return place;
}

bool PackBuilder::fits(size_t plain_length, size_t path_bytes, size_t extents) const noexcept {
    const size_t footer = footer_estimate_ + kFooterFrameBytes + extents * kFooterExtentBytes + path_bytes;
    return footer <= kMaxFramePlainBytes && buffer_.size() + kFrameHeaderBytes + plain_length + footer <= kMaxPackBytes;
}

bool PackBuilder::full() const noexcept {
    return !frames_.empty() && (buffer_.size() + footer_estimate_ >= target_bytes_ || !fits(kMaxExtentBytes, 0));
}

Bytes PackBuilder::footer() const {
    ByteWriter writer;
    writer.varint(frames_.size());
    auto extent = extents_.begin();
    for (const Frame &frame : frames_) {
        writer.u32(frame.place.offset);
        writer.u32(frame.place.length);
        writer.varint(frame.plain_length);
        writer.bytes(frame.hash);
        writer.varint(frame.extents);
        for (size_t i = 0; i < frame.extents; ++i, ++extent) {
            writer.string(extent->path);
            writer.varint(extent->file_offset);
            writer.varint(extent->plain_length);
            writer.bytes(extent->digest);
            if (frame.extents > 1)
                writer.bytes(extent->hash);
        }
    }
    return writer.take();
}

Bytes PackBuilder::finish() {
    uint64_t plain_length = 0;
    for (const Frame &frame : frames_)
        plain_length += frame.plain_length;
    Bytes header;
    append_header(header, pack_header(epoch_, attempt_, plain_length));
    std::copy(header.begin(), header.end(), buffer_.begin());

    const size_t footer_at = buffer_.size();
    const auto count = static_cast<uint32_t>(frames_.size());
    encoder_.append(buffer_, FrameType::kPackFooter, footer(), count, true);
    ByteWriter trailer;
    trailer.u32(static_cast<uint32_t>(footer_at));
    trailer.u32(static_cast<uint32_t>(buffer_.size() - footer_at));
    trailer.u32(count);
    trailer.u32(0);
    trailer.bytes(as_view(kTrailerMagic));
    trailer.u32(0);
    trailer.u32(crc32c(trailer.view()));
    buffer_.insert(buffer_.end(), trailer.view().begin(), trailer.view().end());
    Bytes pack = std::move(buffer_);
    start();
    return pack;
}

namespace {

template <class Hash> void read_hash(ByteReader &reader, Hash &hash) {
    const ByteView bytes = reader.bytes(hash.size());
    std::copy(bytes.begin(), bytes.end(), hash.begin());
}

// Reads the next frame's extents; returns where the frame ends in the pack.
uint64_t read_listed_frame(ByteReader &reader, uint64_t expected_at, std::vector<PackedExtent> &extents,
                           std::string_view key) {
    PackedExtent common;
    common.place.offset = reader.u32();
    common.place.length = reader.u32();
    const uint64_t frame_length = reader.varint();
    read_hash(reader, common.hash);
    const uint64_t count = reader.varint();
    if (frame_length == 0 || frame_length > (count > 1 ? kMaxBundleBytes : kMaxExtentBytes) || count == 0 ||
        count > kMaxBundleExtents || common.place.offset != expected_at || common.place.length <= kFrameHeaderBytes)
        throw damaged(key, "Its footer lists an impossible frame.");
    common.frame_length = static_cast<uint32_t>(frame_length);
    for (uint64_t i = 0; i < count; ++i) {
        PackedExtent extent = common;
        extent.path = reader.string();
        extent.file_offset = reader.varint();
        const uint64_t plain_length = reader.varint();
        read_hash(reader, extent.digest);
        extent.own_hash = common.hash;
        if (count > 1)
            read_hash(reader, extent.own_hash);
        if (plain_length == 0 || plain_length > frame_length - common.frame_offset)
            throw damaged(key, "Its footer lists an impossible extent.");
        extent.plain_length = static_cast<uint32_t>(plain_length);
        common.frame_offset += extent.plain_length;
        extents.push_back(std::move(extent));
    }
    if (common.frame_offset != frame_length)
        throw damaged(key, "Its footer lists extents that do not fill their frame.");
    return expected_at + common.place.length;
}

} // namespace

PackPlace read_pack_trailer(ByteView trailer, uint64_t pack_bytes, std::string_view key) {
    if (trailer.size() != kPackTrailerBytes)
        throw damaged(key, "It is too short for a pack.");
    if (as_text(trailer.subspan(16, kTrailerMagic.size())) != kTrailerMagic)
        throw damaged(key, "It does not end in a pack's trailer.");
    if (load_le<uint32_t>(trailer.data() + kTrailerCrcAt) != crc32c(trailer.first(kTrailerCrcAt)))
        throw damaged(key, "Its trailer does not match its checksum.");
    const PackPlace place{load_le<uint32_t>(trailer.data()), load_le<uint32_t>(trailer.data() + 4)};
    if (uint64_t{place.offset} + place.length + kPackTrailerBytes != pack_bytes)
        throw damaged(key, "Its trailer points outside of the pack.");
    return place;
}

std::vector<PackedExtent> read_footer_frame(ByteView bytes, const PackPlace &place, std::string_view key) {
    FrameHeader frame;
    const Bytes footer = FrameDecoder().decode(bytes, frame, key);
    if (frame.type != FrameType::kPackFooter || !frame.last || place.length != kFrameHeaderBytes + frame.stored_length)
        throw damaged(key, "Its trailer does not point to a footer.");

    std::vector<PackedExtent> extents;
    try {
        ByteReader reader(footer);
        const uint64_t count = reader.varint();
        if (count != frame.number || count > reader.remaining())
            throw damaged(key, "Its footer lists an impossible number of frames.");
        uint64_t at = encoded_header_bytes({});
        for (uint64_t i = 0; i < count; ++i)
            at = read_listed_frame(reader, at, extents, key);
        if (!reader.at_end() || at != place.offset)
            throw damaged(key, "Its footer does not end where it should.");
    } catch (const Error &error) {
        if (error.message().find(key) != std::string::npos)
            throw;
        throw damaged(key, "Its footer ends early.");
    }
    return extents;
}

std::vector<PackedExtent> read_pack_footer(ByteView pack, std::string_view key) {
    const ParsedHeader parsed = parse_header(pack, key);
    if (parsed.header.kind != ObjectKind::kPack || parsed.length != encoded_header_bytes({}))
        throw damaged(key, "It is not a pack.");
    if (pack.size() < parsed.length + kPackTrailerBytes)
        throw damaged(key, "It is too short for a pack.");
    const PackPlace place = read_pack_trailer(pack.last(kPackTrailerBytes), pack.size(), key);
    return read_footer_frame(pack.subspan(place.offset, place.length), place, key);
}

} // namespace pgvigil
