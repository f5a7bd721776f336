#include "pgdata/wal_summary_cover.h"

#include "base/error.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <memory>

namespace pgvigil {

namespace {

struct CloseDirectory {
    void operator()(::DIR *directory) const noexcept { ::closedir(directory); }
};

} // namespace

WalSummaryCover cover_by_summaries(std::vector<WalSummaryFile> files, const std::vector<WalSpan> &spans) {
    std::sort(files.begin(), files.end(), [](const WalSummaryFile &a, const WalSummaryFile &b) {
        return a.name.start != b.name.start ? a.name.start < b.name.start : a.name.end < b.name.end;
    });
    WalSummaryCover cover;
    for (const WalSpan &span : spans) {
        Lsn covered = span.start;
        for (const WalSummaryFile &file : files) {
            if (file.name.timeline != span.timeline || file.name.end <= span.start || file.name.start >= span.end)
                continue;
            cover.paths.push_back(file.path);
            // A file that begins behind a hole is read all the same; it cannot fill the hole.
            if (file.name.start <= covered)
                covered = std::max(covered, file.name.end);
        }
        if (covered < span.end && !cover.missing)
            cover.missing = WalSpan{span.timeline, covered, span.end};
    }
    return cover;
}

std::vector<WalSummaryFile> list_wal_summaries(const std::string &directory) {
    std::vector<WalSummaryFile> files;
    const std::unique_ptr<::DIR, CloseDirectory> stream(::opendir(directory.c_str()));
    if (!stream && errno == ENOENT)
        return files;
    for (;;) {
        errno = 0;
        const dirent *entry = stream ? ::readdir(stream.get()) : nullptr; // NOLINT(concurrency-mt-unsafe): its own
        if (entry == nullptr)
            break;
        if (const auto name = parse_wal_summary_name(entry->d_name))
            files.push_back({directory + "/" + entry->d_name, *name});
    }
    if (!stream || errno != 0)
        throw system_error("could not read directory \"" + directory + "\"", errno);
    return files;
}

} // namespace pgvigil
