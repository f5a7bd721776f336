#include "transfer/wal_read_object.h"

#include "base/error.h"
#include "pgdata/wal_page.h"

#include <fmt/core.h>
#include <utility>

namespace pgvigil {

namespace {

constexpr size_t kFirstPageHeaderBytes = 40;

} // namespace

WalObjectStream::WalObjectStream(ObjectStore &store, std::string key, const CancelToken &cancel)
    : store_(store), key_(std::move(key)), cancel_(cancel) {}

std::optional<ObjectHeader> WalObjectStream::open() {
    if (!fetch())
        return std::nullopt;
    ParsedHeader parsed = parse_header(window_, key_);
    used_ = parsed.length;
    return std::move(parsed.header);
}

bool WalObjectStream::fetch() {
    std::optional<Bytes> piece = store_.get_range(key_, {next_offset_, kWalReadPieceBytes}, cancel_);
    if (!piece)
        return false;
    at_end_ = piece->size() < kWalReadPieceBytes;
    next_offset_ += piece->size();
    if (used_ == window_.size()) {
        window_ = std::move(*piece);
    } else {
        window_.erase(window_.begin(), window_.begin() + static_cast<ptrdiff_t>(used_));
        window_.insert(window_.end(), piece->begin(), piece->end());
    }
    used_ = 0;
    return true;
}

void WalObjectStream::need(size_t count) {
    while (window_.size() - used_ < count) {
        if (at_end_)
            throw Error(ErrorCode::kCorrupt, fmt::format("WAL object \"{}\" is truncated", key_))
                .detail(fmt::format("It ends after {} bytes, within a frame.", next_offset_));
        if (!fetch())
            throw Error(ErrorCode::kNotFound, fmt::format("WAL object \"{}\" vanished while it was read", key_))
                .retryable();
    }
}

void WalObjectStream::read(uint64_t expected, const std::function<void(ByteView plain)> &write) {
    uint64_t total = 0;
    Bytes plain;
    for (uint32_t number = 0;; ++number) {
        need(kFrameHeaderBytes);
        const FrameHeader header = FrameDecoder::parse_header(ByteView(window_).subspan(used_), key_);
        if (header.type != FrameType::kData || header.number != number || header.plain_length > expected - total)
            throw Error(ErrorCode::kCorrupt, fmt::format("WAL object \"{}\" has a wrong frame {}", key_, number))
                .detail(fmt::format("It holds frame {} of {} bytes after {} of {} bytes.", header.number,
                                    header.plain_length, total, expected));
        const size_t length = kFrameHeaderBytes + header.stored_length;
        need(length);
        plain.resize(header.plain_length);
        decoder_.decode(ByteView(window_).subspan(used_, length), plain, key_);
        write(plain);
        used_ += length;
        total += header.plain_length;
        if (header.last)
            break;
    }
    if (total != expected || used_ != window_.size() || (!at_end_ && fetch() && !window_.empty()))
        throw Error(ErrorCode::kCorrupt, fmt::format("WAL object \"{}\" does not end where it should", key_))
            .detail(fmt::format("Its frames hold {} bytes; its header says {}.", total, expected));
}

void check_first_page(ByteView bytes, const WalFileName &file, uint64_t length, uint64_t system_identifier,
                      const std::string &key) {
    const auto page = bytes.size() < kFirstPageHeaderBytes ? std::nullopt : parse_segment_header(bytes);
    if (!page)
        throw Error(ErrorCode::kCorrupt, fmt::format("WAL object \"{}\" does not begin with a WAL page", key));
    if (page->system_identifier != system_identifier)
        throw Error(ErrorCode::kForeign, fmt::format("WAL object \"{}\" is of another cluster", key))
            .detail(fmt::format("Its system identifier is {}; {} was expected.", page->system_identifier,
                                system_identifier));
    const Lsn start = segment_start(segment_number(file, length), length);
    if (page->segment_size != length || page->page_address != start)
        throw Error(ErrorCode::kCorrupt, fmt::format("WAL object \"{}\" holds another segment", key))
            .detail(fmt::format("Its first page is of {} with segments of {} bytes; {} and {} were expected.",
                                to_string(page->page_address), page->segment_size, to_string(start), length));
}

} // namespace pgvigil
