#include "server/pg.h"

#include "server/standby_wal.h"

#include "server/boundary.h"

#include "base/error.h"
#include "base/wal_name.h"
#include "pgdata/wal_page.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace pgvigil {

namespace {

class OpenFile {
  public:
    explicit OpenFile(const std::string &path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
    ~OpenFile() {
        if (fd_ >= 0)
            ::close(fd_);
    }
    OpenFile(const OpenFile &) = delete;
    OpenFile &operator=(const OpenFile &) = delete;
    [[nodiscard]] int get() const noexcept { return fd_; }

  private:
    int fd_;
};

void read_fully(int fd, Bytes &target, const std::string &path) {
    for (size_t done = 0; done < target.size();) {
        const ssize_t got = ::pread(fd, target.data() + done, target.size() - done, static_cast<off_t>(done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            throw system_error("could not read file \"" + path + "\"", errno);
        if (got == 0)
            throw Error(ErrorCode::kCorrupt, "file \"" + path + "\" is shorter than a WAL segment");
        done += static_cast<size_t>(got);
    }
}

Error gone(const std::string &path) {
    return Error(ErrorCode::kNotFound, "WAL file \"" + path + "\" was removed before the backup could store it")
        .hint("Let the primary archive its WAL, or keep more of it on the standby (wal_keep_size).");
}

} // namespace

std::vector<WalRange> wal_ranges_between(Lsn start, TimelineId start_timeline, Lsn stop, TimelineId stop_timeline) {
    if (start_timeline == stop_timeline)
        return {{start_timeline, start, stop}};
    List *history = nullptr;
    pg_section([&]() noexcept { history = readTimeLineHistory(stop_timeline); });
    std::vector<WalRange> ranges;
    // Newest first.
    for (int i = 0; i < list_length(history); ++i) {
        const auto *entry = static_cast<const TimeLineHistoryEntry *>(list_nth(history, i));
        const Lsn begin{std::max<uint64_t>(entry->begin, start.value)};
        const Lsn end{entry->tli == stop_timeline ? stop.value : entry->end};
        if (begin < end)
            ranges.insert(ranges.begin(), {entry->tli, begin, end});
        if (entry->tli == start_timeline)
            return ranges;
    }
    throw Error(ErrorCode::kInternal, "timeline " + std::to_string(start_timeline) +
                                          " of the backup's start is no ancestor of timeline " +
                                          std::to_string(stop_timeline));
}

Bytes read_local_segment(const std::string &name, Lsn end) {
    const auto segment_size = static_cast<uint64_t>(wal_segment_size);
    const uint64_t segment = segment_number(*parse_wal_file_name(name), segment_size);
    const TimelineId timeline = parse_wal_file_name(name)->timeline;
    const std::string path = "pg_wal/" + name;
    const OpenFile file(path);
    if (file.get() < 0)
        throw errno == ENOENT ? gone(path) : system_error("could not open file \"" + path + "\"", errno);
    Bytes content(segment_size);
    read_fully(file.get(), content, path);
    pg_section([=]() noexcept { CheckXLogRemoved(segment, timeline); });
    const auto header = parse_segment_header(content);
    const Lsn first = segment_start(segment, segment_size);
    if (!header || header->page_address != first)
        throw gone(path);
    if (end < segment_start(segment + 1, segment_size))
        std::fill(content.begin() + static_cast<std::ptrdiff_t>(end.value - first.value), content.end(), std::byte{0});
    return content;
}

} // namespace pgvigil
