#include "repo/block_hashes.h"

#include "base/error.h"
#include "repo/envelope.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace pgvigil {

namespace {

constexpr size_t kHashBytes = sizeof(BlockHash);
constexpr size_t kFrameBytes = kFrameHeaderBytes + kHashesPerFrame * kHashBytes;
constexpr size_t kHashesPerObject = kHashesPerFrame * kHashFramesPerObject;
// Frames that are read at once: the hashes of 256 MiB of blocks of 8 KiB.
constexpr size_t kChunkFrames = 8;
constexpr size_t kKeptChunks = 2;
constexpr size_t kChunksPerObject = (kHashFramesPerObject + kChunkFrames - 1) / kChunkFrames;

std::string object_name(uint64_t number) {
    char text[32];
    std::snprintf(text, sizeof text, "hashes-%06llu", static_cast<unsigned long long>(number));
    return text;
}

ByteView view_of(std::span<const BlockHash> hashes) noexcept {
    return {reinterpret_cast<const std::byte *>(hashes.data()), hashes.size_bytes()};
}

} // namespace

BlockHashWriter::BlockHashWriter(uint64_t epoch, const Uuid &attempt, Sink store)
    : epoch_(epoch), attempt_(attempt), store_(std::move(store)) {}

void BlockHashWriter::add(std::span<const BlockHash> hashes) {
    count_ += hashes.size();
    while (!hashes.empty()) {
        // Full only when more follows, so that the last object is known as such.
        if (open_.size() == kHashesPerObject)
            write_object();
        const size_t room = std::min(hashes.size(), kHashesPerObject - open_.size());
        open_.insert(open_.end(), hashes.begin(), hashes.begin() + static_cast<ptrdiff_t>(room));
        hashes = hashes.subspan(room);
    }
}

void BlockHashWriter::write_object() {
    ObjectHeader header;
    header.kind = ObjectKind::kBlockHashes;
    header.digest_id = 0;
    header.epoch = epoch_;
    header.attempt = attempt_;
    header.plain_length = open_.size() * kHashBytes;
    Bytes object;
    append_header(object, header);
    // Hashes do not compress, and readers compute where a frame stands.
    FrameEncoder encoder(Compression{Codec::kNone, 0});
    uint32_t number = 0;
    std::span<const BlockHash> rest(open_);
    while (!rest.empty()) {
        const size_t count = std::min(rest.size(), kHashesPerFrame);
        encoder.append(object, FrameType::kBlockHashes, view_of(rest.first(count)), number++, count == rest.size());
        rest = rest.subspan(count);
    }
    open_.clear();
    store_(object_name(object_++), std::move(object));
}

void BlockHashWriter::finish() {
    if (!open_.empty())
        write_object();
}

std::vector<BlockHash> BlockHashReader::read_chunk(uint64_t number) const {
    const std::string name = object_name(number / kChunksPerObject);
    const size_t first_frame = number % kChunksPerObject * kChunkFrames;
    const size_t frames = std::min(kChunkFrames, kHashFramesPerObject - first_frame);
    const ByteRange range{encoded_header_bytes({}) + first_frame * kFrameBytes, frames * kFrameBytes};
    const Bytes bytes = fetch_(name, range);
    std::vector<BlockHash> hashes;
    FrameDecoder decoder;
    ByteView rest(bytes);
    for (size_t i = 0; i < frames && !rest.empty(); ++i) {
        FrameHeader frame;
        const Bytes plain = decoder.decode(rest, frame, prefix_ + name);
        if (frame.type != FrameType::kBlockHashes || frame.number != first_frame + i || frame.codec != Codec::kNone ||
            plain.size() % kHashBytes != 0 || (plain.size() != kHashesPerFrame * kHashBytes && !frame.last))
            throw Error(ErrorCode::kCorrupt, "\"" + prefix_ + name + "\" is damaged")
                .detail("It holds a frame that has no place among block hashes.");
        const size_t before = hashes.size();
        hashes.resize(before + plain.size() / kHashBytes);
        std::memcpy(hashes.data() + before, plain.data(), plain.size());
        rest = rest.subspan(kFrameHeaderBytes + frame.stored_length);
    }
    return hashes;
}

void BlockHashReader::read(uint64_t first, size_t count, std::vector<BlockHash> &out) {
    const std::lock_guard lock(mutex_);
    while (count > 0) {
        const uint64_t object = first / kHashesPerObject;
        const uint64_t in_object = first % kHashesPerObject;
        const uint64_t number = object * kChunksPerObject + in_object / (kChunkFrames * kHashesPerFrame);
        const size_t at = in_object % (kChunkFrames * kHashesPerFrame);
        auto chunk = std::find_if(chunks_.begin(), chunks_.end(), [&](const Chunk &c) { return c.number == number; });
        if (chunk == chunks_.end()) {
            chunks_.push_front({number, read_chunk(number)});
            if (chunks_.size() > kKeptChunks)
                chunks_.pop_back();
        } else if (chunk != chunks_.begin()) {
            chunks_.splice(chunks_.begin(), chunks_, chunk);
        }
        const std::vector<BlockHash> &hashes = chunks_.front().hashes;
        if (at >= hashes.size())
            throw Error(ErrorCode::kCorrupt, "\"" + prefix_ + object_name(object) + "\" is damaged")
                .detail("It ends before the hashes of all blocks.");
        const size_t here = std::min(count, hashes.size() - at);
        out.insert(out.end(), hashes.begin() + static_cast<ptrdiff_t>(at),
                   hashes.begin() + static_cast<ptrdiff_t>(at + here));
        first += here;
        count -= here;
    }
}

} // namespace pgvigil
