#include "transfer/tail_source.h"

#include "base/error.h"
#include "base/wal_name.h"
#include "pgdata/wal_page.h"
#include "storage/posix/posix_files.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr size_t kSegmentHeaderBytes = 40;
constexpr size_t kPageHeaderBytes = 24;

// The parts of XLogPageHeaderData that say where a page belongs (access/xlog_internal.h).
struct PagePlace {
    uint16_t magic = 0;
    TimelineId timeline = 0;
    uint64_t address = 0;
};

PagePlace place_of(ByteView page) {
    PagePlace place;
    std::memcpy(&place.magic, page.data(), sizeof place.magic);
    std::memcpy(&place.timeline, page.data() + 4, sizeof place.timeline);
    std::memcpy(&place.address, page.data() + 8, sizeof place.address);
    return place;
}

Error gone(const std::string &path) {
    return Error(ErrorCode::kNotFound, fmt::format("could not stream \"{}\": it is not there any more", path));
}

void read_exactly(const FileHandle &file, uint64_t offset, std::span<std::byte> out, const std::string &path,
                  const CancelToken &cancel) {
    for (size_t done = 0; done < out.size();) {
        cancel.check();
        const ssize_t count = pread(file.get(), out.data() + done, std::min<size_t>(out.size() - done, kMiB),
                                    static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            throw system_error(fmt::format("could not read \"{}\"", path), errno);
        if (count == 0)
            throw Error(ErrorCode::kCorrupt, fmt::format("could not stream \"{}\": it ends too early", path))
                .detail(fmt::format("It ends at {}.", offset + done));
        done += static_cast<size_t>(count);
    }
}

} // namespace

ByteView TailSource::read(uint64_t segment, uint64_t from, uint64_t to, const CancelToken &cancel) {
    const std::string path = directory_ + "/" + segment_name(timeline_, segment, segment_size_);
    const FileHandle file = open_at(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (!file) {
        if (errno == ENOENT)
            throw gone(path);
        throw system_error(fmt::format("could not open \"{}\"", path), errno);
    }
    const struct stat opened = stat_of(file, path);
    std::array<std::byte, kSegmentHeaderBytes> first{};
    read_exactly(file, 0, first, path, cancel);
    const auto header = parse_segment_header(first);
    if (!header || header->page_address != segment_start(segment, segment_size_) ||
        header->segment_size != segment_size_)
        throw Error(ErrorCode::kCorrupt, fmt::format("could not stream \"{}\": it holds another segment", path))
            .retryable();
    if (header->system_identifier != system_identifier_)
        throw Error(ErrorCode::kForeign, fmt::format("could not stream \"{}\": it is of another cluster", path));
    if (header->block_size >= kPageHeaderBytes)
        block_size_ = header->block_size;
    buffer_.resize(to - from);
    read_exactly(file, from, buffer_, path, cancel);
    struct stat now{};
    if (::stat(path.c_str(), &now) != 0 || now.st_ino != opened.st_ino || now.st_dev != opened.st_dev)
        throw gone(path);
    check_pages(segment, from, buffer_, path);
    return buffer_;
}

void TailSource::check_pages(uint64_t segment, uint64_t from, ByteView bytes, const std::string &path) const {
    const uint64_t start = segment_start(segment, segment_size_).value;
    for (uint64_t at = (from + block_size_ - 1) / block_size_ * block_size_;
         at + kPageHeaderBytes <= from + bytes.size(); at += block_size_) {
        const PagePlace page = place_of(bytes.subspan(at - from));
        // Behind the record that switches segments pages are left without a header.
        if (page.magic == 0 && page.address == 0)
            continue;
        if (page.address != start + at || page.timeline > timeline_)
            throw Error(ErrorCode::kCorrupt, fmt::format("could not stream \"{}\": it holds pages of other WAL", path))
                .detail(fmt::format("The page at {} states {} on timeline {}.", at, to_string(Lsn{page.address}),
                                    page.timeline))
                .retryable();
    }
}

} // namespace pgvigil
