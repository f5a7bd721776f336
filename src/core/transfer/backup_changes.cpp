#include "transfer/backup_changes.h"

#include "base/error.h"
#include "pgdata/wal_summary.h"
#include "storage/posix/posix_files.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace pgvigil {

BlockChanges load_wal_summaries(const std::vector<std::string> &paths, const CancelToken &cancel) {
    BlockChanges changes;
    for (const std::string &path : paths) {
        const FileHandle file = open_at(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        if (!file)
            throw system_error(fmt::format("could not open WAL summary \"{}\"", path), errno);
        const SummarySource source = [&](std::span<std::byte> out) {
            cancel.check();
            size_t done = 0;
            while (done < out.size()) {
                const ssize_t count = read(file.get(), out.data() + done, out.size() - done);
                if (count < 0 && errno == EINTR)
                    continue;
                if (count < 0)
                    throw system_error(fmt::format("could not read WAL summary \"{}\"", path), errno);
                if (count == 0)
                    break;
                done += static_cast<size_t>(count);
            }
            return done;
        };
        read_wal_summary(source, path, changes);
    }
    return changes;
}

} // namespace pgvigil
