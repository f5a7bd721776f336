#include "server/pg.h"

#include "server/wal_wait.h"

#include "base/error.h"
#include "base/time.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{2000};

} // namespace

void wait_until_stored(const std::vector<std::shared_ptr<Repository>> &repositories, const WalNeed &need,
                       std::chrono::milliseconds timeout, const CancelToken &cancel) {
    const size_t wanted =
        need.required == 0 ? repositories.size() : std::min<size_t>(need.required, repositories.size());
    const int64_t deadline = boot_time_ms() + timeout.count();
    std::chrono::milliseconds pause = kFirstPause;
    for (;;) {
        size_t complete = 0;
        std::string first_missing;
        std::string where;
        for (const auto &repository : repositories) {
            const auto missing = missing_segments(*repository, need, 1, cancel);
            if (missing.empty())
                ++complete;
            else if (first_missing.empty()) {
                first_missing = missing.front();
                where = repository->store().display_name();
            }
        }
        if (complete >= wanted)
            return;
        if (boot_time_ms() >= deadline)
            throw Error(ErrorCode::kTimeout, "the WAL of the backup did not reach the repository within " +
                                                 std::to_string(timeout.count() / 1000) + " seconds")
                .detail("WAL file \"" + first_missing + "\" is missing in \"" + where + "\".")
                .hint("pgv_archiver shows why WAL is not archived. See pgvigil.backup_wal_timeout.");
        if (!cancel.wait_for(pause))
            cancel.check();
        pause = std::min(pause * 2, kLongestPause);
    }
}

} // namespace pgvigil
