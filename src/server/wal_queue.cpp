#include "server/pg.h"

#include "server/wal_queue.h"

#include "base/error.h"
#include "base/wal_name.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <memory>
#include <sys/stat.h>

namespace pgvigil {

namespace {

constexpr std::string_view kReady = ".ready";
constexpr std::string_view kDone = ".done";

struct CloseDirectory {
    void operator()(::DIR *directory) const noexcept { ::closedir(directory); }
};

// Calls `visit(status file's name, WAL file's name)` for every file with that status.
template <class Visit>
void for_each_with_status(const std::string &wal_directory, std::string_view status, Visit &&visit) {
    const std::string path = wal_directory + "/archive_status";
    const std::unique_ptr<::DIR, CloseDirectory> directory(::opendir(path.c_str()));
    if (!directory)
        throw system_error("could not open directory \"" + path + "\"", errno);
    errno = 0;
    while (const dirent *entry = ::readdir(directory.get())) { // NOLINT(concurrency-mt-unsafe): a stream of its own
        const std::string_view name = entry->d_name;
        if (name.ends_with(status)) {
            const std::string_view wal_name = name.substr(0, name.size() - status.size());
            if (parse_wal_file_name(wal_name))
                visit(path + "/" + std::string(name), wal_name);
        }
        errno = 0;
    }
    if (errno != 0)
        throw system_error("could not read directory \"" + path + "\"", errno);
}

} // namespace

bool archives_before(std::string_view a, std::string_view b) noexcept {
    const bool a_history = a.ends_with(".history");
    const bool b_history = b.ends_with(".history");
    if (a_history != b_history)
        return a_history;
    return a < b;
}

std::vector<std::string> waiting_files(const std::string &wal_directory, std::string_view after, size_t limit) {
    std::vector<std::string> names;
    for_each_with_status(wal_directory, kReady, [&](const std::string & /*status*/, std::string_view name) {
        if (after.empty() || archives_before(after, name))
            names.emplace_back(name);
    });
    const size_t kept = std::min(limit, names.size());
    std::partial_sort(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(kept), names.end(), archives_before);
    names.resize(kept);
    return names;
}

std::vector<std::string> marked_segments(const std::string &wal_directory) {
    std::vector<std::string> names;
    for_each_with_status(wal_directory, kDone, [&](const std::string & /*status*/, std::string_view name) {
        if (parse_wal_file_name(name)->kind == WalFileKind::kSegment)
            names.emplace_back(name);
    });
    return names;
}

WalQueue measure_queue(const std::string &wal_directory, uint64_t segment_size) {
    WalQueue queue;
    std::string oldest;
    for_each_with_status(wal_directory, kReady, [&](const std::string &status, std::string_view name) {
        ++queue.files;
        const auto parsed = parse_wal_file_name(name);
        if (parsed->kind == WalFileKind::kSegment || parsed->kind == WalFileKind::kPartial)
            queue.bytes += segment_size;
        if (oldest.empty() || archives_before(name, std::string_view(oldest).substr(oldest.rfind('/') + 1)))
            oldest = status.substr(0, status.size() - kReady.size());
    });
    struct stat status{};
    if (!oldest.empty() && ::stat((oldest + std::string(kReady)).c_str(), &status) == 0)
        queue.oldest_unix_s = status.st_mtime;
    return queue;
}

} // namespace pgvigil
