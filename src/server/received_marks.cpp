#include "server/pg.h"

#include "server/received_marks.h"

#include "server/boundary.h"
#include "server/promotion_gap.h"
#include "server/repositories.h"
#include "server/waiting.h"
#include "server/wal_queue.h"

#include <sys/inotify.h>
#include <unistd.h>
#include <utility>

namespace pgvigil {

namespace {

bool is_in_pg_wal(const std::string &name) {
    return ::access(("pg_wal/" + name).c_str(), F_OK) == 0;
}

// Both to be called in pg_section(); they do nothing once the server is promoted: from then on marks are the
// archiver's.
bool take_mark_off(const char *file) noexcept {
    if (!RecoveryInProgress())
        return false;
    char done[MAXPGPATH];
    StatusFilePath(done, file, ".done");
    return ::unlink(done) == 0;
}

void mark_as_stored(const char *file) noexcept {
    if (!RecoveryInProgress() || XLogArchiveIsReady(file))
        return;
    XLogArchiveForceDone(file);
    // Recycled meanwhile, and its mark with it: nobody would ever take away a new one.
    char path[MAXPGPATH];
    snprintf(path, MAXPGPATH, XLOGDIR "/%s", file);
    if (::access(path, F_OK) != 0) {
        StatusFilePath(path, file, ".done");
        (void)::unlink(path);
    }
}

} // namespace

void ReceivedMarks::watch(const std::string &directory) {
    FileHandle handle(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    // Without a watch the directory is read in every look().
    if (handle && ::inotify_add_watch(handle.get(), directory.c_str(), IN_CREATE | IN_MOVED_TO) >= 0)
        watch_ = std::move(handle);
}

bool ReceivedMarks::take_events() {
    alignas(inotify_event) char buffer[4096];
    bool any = false;
    while (::read(watch_.get(), buffer, sizeof buffer) > 0)
        any = true;
    return any;
}

void ReceivedMarks::look() {
    bool standby = false;
    bool streaming = false;
    pg_section([&]() noexcept {
        standby = XLogArchiveMode == ARCHIVE_MODE_ON && RecoveryInProgress();
        streaming = standby && WalRcvStreaming();
    });
    received_ = standby && (received_ || streaming);
    if (!received_ || !archives_with_pgvigil()) {
        *this = ReceivedMarks();
        return;
    }
    if (!watch_)
        watch(XLOGDIR "/archive_status");
    else if (!take_events() && !unread_)
        return;
    unread_ = true; // also where reading fails: the events are gone then
    for (const std::string &name : marked_segments(XLOGDIR)) {
        if (stored_.contains(name))
            continue;
        const char *file = name.c_str();
        bool taken = false;
        pg_section([&]() noexcept { taken = take_mark_off(file); });
        if (taken)
            unmarked_.insert(name);
    }
    unread_ = false;
}

void ReceivedMarks::settle(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop) {
    const auto recycled = [](const std::string &name) { return !is_in_pg_wal(name); };
    std::erase_if(unmarked_, recycled);
    std::erase_if(stored_, recycled);
    const std::set<std::string> candidates = unmarked_;
    if (candidates.empty())
        return;
    const auto repositories =
        in_background([&](const CancelToken &cancel) { return open_for_reading(settings, facts, cancel); }, stop);
    // One that is away may lack them.
    if (repositories.size() < settings.repositories.size())
        return;
    const std::set<std::string> missing = not_stored(candidates, facts.wal_segment_size, repositories, stop);
    for (const std::string &name : candidates) {
        if (missing.contains(name))
            continue;
        unmarked_.erase(name);
        stored_.insert(name);
        const char *file = name.c_str();
        pg_section([=]() noexcept { mark_as_stored(file); });
    }
}

} // namespace pgvigil
