#include "transfer/wal_archiver_source.h"

#include "base/error.h"
#include "pgdata/history_file.h"
#include "pgdata/wal_page.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr size_t kReadBytes = kMiB; // between two looks at the cancel token

uint64_t checked_size(const WalSourceFile &file, const struct stat &status, uint64_t segment_size) {
    if (!S_ISREG(status.st_mode))
        throw Error(ErrorCode::kCorrupt, fmt::format("could not archive \"{}\": not a regular file", file.path));
    const auto size = static_cast<uint64_t>(status.st_size);
    if (file.has_pages() && size != segment_size)
        throw Error(ErrorCode::kCorrupt, fmt::format("could not archive \"{}\": not a complete WAL segment", file.path))
            .detail(fmt::format("It has {} bytes, a segment of this cluster has {}.", size, segment_size));
    if (!file.has_pages() && (size == 0 || size > kMaxHistoryBytes))
        throw Error(ErrorCode::kCorrupt, fmt::format("could not archive \"{}\": unexpected size", file.path))
            .detail(fmt::format("It has {} bytes, expected are 1 to {}.", size, kMaxHistoryBytes));
    return size;
}

} // namespace

WalSource::WalSource(std::string directory, uint64_t system_identifier, uint64_t segment_size,
                     std::optional<uint16_t> page_magic)
    : directory_(std::move(directory)), system_identifier_(system_identifier), segment_size_(segment_size),
      page_magic_(page_magic) {
    if (!is_valid_segment_size(segment_size_))
        throw Error(ErrorCode::kInvalidArgument, fmt::format("invalid WAL segment size: {} bytes", segment_size_))
            .detail("It must be a power of two between 1 MiB and 1 GiB.");
}

WalSourceFile WalSource::open(const std::string &name) const {
    const std::optional<WalFileName> parsed = parse_wal_file_name(name);
    if (!parsed)
        throw Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not the name of a WAL file", name));
    WalSourceFile file;
    file.name = name;
    file.path = directory_ + "/" + name;
    file.parsed = *parsed;
    // Without waiting for a writer, should a FIFO stand there.
    file.handle = open_at(AT_FDCWD, file.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (!file.handle) {
        const int error_number = errno;
        const std::string message = fmt::format("could not open \"{}\"", file.path);
        if (error_number == ENOENT)
            throw Error(ErrorCode::kNotFound, message + ": No such file or directory");
        throw system_error(message, error_number);
    }
    file.size = checked_size(file, stat_of(file.handle, file.path), segment_size_);
    posix_fadvise(file.handle.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    return file;
}

void WalSource::read(const WalSourceFile &file, uint64_t offset, std::span<std::byte> out,
                     const CancelToken &cancel) const {
    size_t done = 0;
    while (done < out.size()) {
        cancel.check();
        const ssize_t count = pread(file.handle.get(), out.data() + done, std::min(out.size() - done, kReadBytes),
                                    static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            throw system_error(fmt::format("could not read \"{}\"", file.path), errno);
        if (count == 0)
            throw Error(ErrorCode::kCorrupt, fmt::format("could not archive \"{}\": it became shorter", file.path))
                .detail(
                    fmt::format("It had {} bytes when it was opened and ends at {} now.", file.size, offset + done));
        done += static_cast<size_t>(count);
    }
}

void WalSource::check_header(const WalSourceFile &file, ByteView first_bytes) {
    ExpectedSegment expected;
    expected.name = file.name;
    expected.system_identifier = system_identifier_;
    expected.segment_size = segment_size_;
    expected.magic = page_magic_;
    expected.timelines = timelines_of(file.parsed.timeline);
    check_segment_header(first_bytes, expected);
}

std::vector<TimelineId> WalSource::timelines_of(TimelineId timeline) {
    if (timeline == 1)
        return {1};
    {
        const std::lock_guard lock(mutex_);
        if (const auto found = known_timelines_.find(timeline); found != known_timelines_.end())
            return found->second;
    }
    const std::string path = directory_ + "/" + history_name(timeline);
    const FileHandle handle = open_at(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (!handle) {
        if (errno != ENOENT)
            throw system_error(fmt::format("could not open \"{}\"", path), errno);
        return {timeline};
    }
    const Bytes text = read_at(handle, 0, kMaxHistoryBytes, path, CancelToken());
    std::vector<TimelineId> timelines{timeline};
    for (const TimelineSwitch &ancestor : parse_history_file(as_text(text), timeline))
        timelines.push_back(ancestor.timeline);
    const std::lock_guard lock(mutex_);
    return known_timelines_.insert_or_assign(timeline, std::move(timelines)).first->second;
}

} // namespace pgvigil
