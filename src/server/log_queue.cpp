#include "server/pg.h"

#include "server/log_queue.h"

#include "server/boundary.h"

namespace pgvigil {

namespace {
constexpr size_t kMaxEntries = 256;

int elevel_of(LogLevel level) noexcept {
    switch (level) {
    case LogLevel::kWarning:
        return WARNING;
    case LogLevel::kInfo:
        return LOG;
    case LogLevel::kDebug:
        break;
    }
    return DEBUG1;
}

} // namespace

void LogQueue::emit(LogLevel level, const std::string &message, const std::string &detail) noexcept {
    try {
        const std::lock_guard guard(mutex_);
        if (entries_.size() >= kMaxEntries)
            ++dropped_;
        else
            entries_.push_back({level, message, detail});
    } catch (...) {
        // Out of memory: a line of log is not worth more than the work it speaks of.
    }
}

void LogQueue::flush() {
    std::deque<Entry> entries;
    size_t dropped = 0;
    {
        const std::lock_guard guard(mutex_);
        entries.swap(entries_);
        std::swap(dropped, dropped_);
    }
    for (const Entry &entry : entries) {
        const int elevel = elevel_of(entry.level);
        const char *message = entry.message.c_str();
        const char *detail = entry.detail.c_str();
        pg_section([=]() noexcept {
            ereport(elevel, (errmsg_internal("%s", message), *detail != '\0' ? errdetail_internal("%s", detail) : 0));
        });
    }
    if (dropped != 0)
        pg_section([=]() noexcept { ereport(LOG, (errmsg_internal("pgvigil: %zu messages were left out", dropped))); });
}

LogQueue &process_log() {
    static LogQueue queue;
    return queue;
}

} // namespace pgvigil
