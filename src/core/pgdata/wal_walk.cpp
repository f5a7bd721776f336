#include "pgdata/wal_walk.h"

#include "base/wal_name.h"
#include "pgdata/wal_page.h"
#include "pgdata/wal_records.h"
#include "pgdata/wal_scan.h"

#include <algorithm>
#include <cstring>

namespace pgvigil {

namespace {

constexpr size_t kShortHeaderBytes = 24;
constexpr size_t kLongHeaderBytes = 40;
constexpr uint16_t kFirstIsContinued = 0x0001;
constexpr uint16_t kLongHeader = 0x0002;
constexpr uint16_t kFirstIsOverwritten = 0x0008;
constexpr uint16_t kAllFlags = 0x000f;
constexpr uint32_t kMaxRecordBytes = uint32_t{1} << 30;

constexpr size_t align8(size_t value) noexcept {
    return (value + 7) & ~size_t{7};
}

} // namespace

WalWalk::WalWalk(ByteView bytes, Lsn start, uint32_t page_size) : bytes_(bytes), start_(start), page_size_(page_size) {
    const bool usable_size = page_size >= 1024 && page_size <= 65536 && (page_size & (page_size - 1)) == 0;
    ended_ = !usable_size || start.value % page_size != 0 || bytes.size() < kLongHeaderBytes;
    if (!ended_)
        begin();
}

bool WalWalk::page_is_valid(size_t page) const noexcept {
    const std::byte *at = bytes_.data() + page;
    return page + kLongHeaderBytes <= bytes_.size() && load_le<uint16_t>(at) == magic_ &&
           (page_flags(page) & ~kAllFlags) == 0 && load_le<uint64_t>(at + 8) == lsn(page).value;
}

uint16_t WalWalk::page_flags(size_t page) const noexcept {
    return load_le<uint16_t>(bytes_.data() + page + 2);
}

size_t WalWalk::page_header_bytes(size_t page) const noexcept {
    return (page_flags(page) & kLongHeader) != 0 ? kLongHeaderBytes : kShortHeaderBytes;
}

void WalWalk::begin() {
    magic_ = load_le<uint16_t>(bytes_.data());
    if ((magic_ & 0xfe00) != 0xd000 || !page_is_valid(0)) {
        magic_ = 0;
        ended_ = true;
        return;
    }
    if (const auto header = parse_segment_header(bytes_); header && is_valid_segment_size(header->segment_size))
        segment_size_ = header->segment_size;
    at_ = page_header_bytes(0);
    if ((page_flags(0) & kFirstIsContinued) == 0)
        return;
    const size_t remaining = load_le<uint32_t>(bytes_.data() + 16);
    const Step step = cross(remaining, kMaxSpanningBytes, spanning_in_);
    if (step == Step::kDone)
        spanning_in_end_ = lsn(at_);
    else if (step != Step::kOverwritten)
        ended_ = true;
}

// Moves over `remaining` bytes of a record from at_ on, page headers left out, and keeps the first `keep` of them. On
// kDone at_ is the aligned end; on kOverwritten the page that starts anew instead.
WalWalk::Step WalWalk::cross(size_t remaining, size_t keep, Bytes &kept) {
    if (remaining == 0 || remaining > kMaxRecordBytes)
        return Step::kBroken;
    for (;;) {
        const size_t page_end = (at_ / page_size_ + 1) * page_size_;
        const size_t here = std::min(remaining, page_end - at_);
        const size_t readable = std::min(here, bytes_.size() - std::min(at_, bytes_.size()));
        const size_t wanted = std::min(readable, keep - std::min(keep, kept.size()));
        const ByteView piece = bytes_.subspan(std::min(at_, bytes_.size()), wanted);
        kept.insert(kept.end(), piece.begin(), piece.end());
        if (readable < here)
            return Step::kEnd;
        remaining -= here;
        if (remaining == 0) {
            at_ = align8(at_ + here);
            return Step::kDone;
        }
        if (page_end + kLongHeaderBytes > bytes_.size())
            return Step::kEnd;
        if (!page_is_valid(page_end))
            return Step::kBroken;
        if ((page_flags(page_end) & kFirstIsOverwritten) != 0) {
            // A crash left the record incomplete; recovery went on with a new record at this page's start.
            at_ = page_end;
            previous_ = {};
            return Step::kOverwritten;
        }
        if ((page_flags(page_end) & kFirstIsContinued) == 0 ||
            load_le<uint32_t>(bytes_.data() + page_end + 16) != remaining)
            return Step::kBroken;
        at_ = page_end + page_header_bytes(page_end);
    }
}

// Steps over the header of a page that at_ stands at the start of.
bool WalWalk::enter_page() {
    if (at_ % page_size_ != 0)
        return true;
    if (at_ + kLongHeaderBytes > bytes_.size() || !page_is_valid(at_) || (page_flags(at_) & kFirstIsContinued) != 0)
        return false;
    at_ += page_header_bytes(at_);
    return true;
}

std::optional<WalRecord> WalWalk::next() {
    while (!ended_) {
        if (!enter_page() || at_ + sizeof(uint32_t) > bytes_.size())
            break;
        const auto length = load_le<uint32_t>(bytes_.data() + at_);
        if (length < kWalRecordHeaderBytes || length > kMaxRecordBytes)
            break;
        const size_t page_end = (at_ / page_size_ + 1) * page_size_;
        if (at_ + length > page_end || at_ + length > bytes_.size()) {
            if (auto record = read_crossing(length))
                return record;
            continue;
        }
        const ByteView content = bytes_.subspan(at_, length);
        const Lsn record_start = lsn(at_);
        const auto back_link = load_le<uint64_t>(content.data() + 8);
        if (previous_.is_valid() ? back_link != previous_.value : back_link >= record_start.value)
            break;
        at_ += align8(length);
        return finish_record(record_start, content, content);
    }
    ended_ = true;
    return std::nullopt;
}

// A record that does not fit its page. nullopt: it ended the walk, or a page after it starts anew.
std::optional<WalRecord> WalWalk::read_crossing(uint32_t length) {
    const Lsn record_start = lsn(at_);
    const size_t before = at_;
    scratch_.clear();
    // The header first: it tells whether the whole record is worth keeping.
    Bytes header;
    const Step probe = cross(length, kMaxSpanningBytes, header);
    if (probe == Step::kOverwritten)
        return std::nullopt;
    if (probe == Step::kEnd)
        spanning_out_ = header;
    if (header.size() >= kWalRecordHeaderBytes) {
        const auto back_link = load_le<uint64_t>(header.data() + 8);
        if (previous_.is_valid() ? back_link != previous_.value : back_link >= record_start.value) {
            spanning_out_.clear();
            ended_ = true;
            return std::nullopt;
        }
    }
    if (probe != Step::kDone) {
        ended_ = true;
        return std::nullopt;
    }
    if (is_interesting(header)) {
        at_ = before;
        (void)cross(length, length, scratch_);
    }
    return finish_record(record_start, header, scratch_);
}

WalRecord WalWalk::finish_record(Lsn record_start, ByteView header, ByteView content) {
    WalRecord record;
    record.start = record_start;
    record.end = lsn(at_);
    record.xid = load_le<uint32_t>(header.data() + 4);
    record.info = std::to_integer<uint8_t>(header[16]);
    record.resource_manager = std::to_integer<uint8_t>(header[17]);
    record.content = content;
    previous_ = record_start;
    if (is_switch(record))
        skip_switch(record);
    return record;
}

void WalWalk::skip_switch(WalRecord &record) {
    if (segment_size_ == 0) {
        ended_ = true;
        return;
    }
    const uint64_t segment_end = ((record.end.value - 1) / segment_size_ + 1) * segment_size_;
    record.end = Lsn{segment_end};
    at_ = segment_end - start_.value;
    ended_ = at_ >= bytes_.size();
}

} // namespace pgvigil
