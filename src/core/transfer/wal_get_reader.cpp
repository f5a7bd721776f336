#include "transfer/wal_get_reader.h"

#include "base/error.h"
#include "base/signal_mask.h"
#include "base/time.h"
#include "transfer/wal_get_ahead.h"
#include "transfer/wal_get_file.h"
#include "transfer/wal_get_lock.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <optional>
#include <poll.h>
#include <set>
#include <sys/inotify.h>
#include <sys/statvfs.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace pgvigil {

namespace {

constexpr unsigned kMaxSegmentsAhead = 16;
constexpr uint64_t kFreeSegmentsWanted = 4; // free space of the file system, in segments
constexpr int64_t kPauseMs = 1000;          // after an absent segment or a failure
constexpr int kTickMs = 500;

// What is ready, what is on its way, and where replay stands.
class Window {
  public:
    explicit Window(const ReadAheadOptions &options)
        : options_(options),
          depth_(std::clamp<uint64_t>(options.bytes_ahead / options.segment_size, 1, kMaxSegmentsAhead)) {
        move_to(options.first);
    }

    // The next segment to fetch; nullopt once stopped.
    std::optional<std::string> next() {
        std::unique_lock lock(mutex_);
        for (;;) {
            if (stopped_)
                return std::nullopt;
            const int64_t now = boot_time_ms();
            for (uint64_t segment = base_; now >= paused_until_ms_ && segment < base_ + depth_; ++segment) {
                std::string name = segment_name(timeline_, segment, options_.segment_size);
                if (ready_.count(name) != 0 || growing_.count(name) != 0)
                    continue;
                growing_.insert(name);
                return name;
            }
            changed_.wait_for(lock, std::chrono::milliseconds(kPauseMs));
        }
    }

    void fetched(const std::string &name) {
        const std::lock_guard lock(mutex_);
        growing_.erase(name);
        ready_.insert(name);
        drop_passed();
    }

    void failed(const std::string &name) {
        const std::lock_guard lock(mutex_);
        growing_.erase(name);
        paused_until_ms_ = boot_time_ms() + kPauseMs;
    }

    // A client took `name`.
    void taken(const std::string &name) {
        const std::lock_guard lock(mutex_);
        ready_.erase(name);
        const auto file = parse_wal_file_name(name);
        if (file && file->kind == WalFileKind::kSegment)
            set_base(file->timeline, segment_number(*file, options_.segment_size) + 1);
    }

    void move_to(const std::string &name) {
        const std::lock_guard lock(mutex_);
        const auto file = parse_wal_file_name(name);
        if (file && file->kind == WalFileKind::kSegment)
            set_base(file->timeline, segment_number(*file, options_.segment_size));
    }

    void stop() {
        {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        changed_.notify_all();
    }

  private:
    void set_base(TimelineId timeline, uint64_t segment) {
        timeline_ = timeline;
        base_ = segment;
        paused_until_ms_ = 0;
        drop_passed();
        changed_.notify_all();
    }

    void drop_passed() {
        const std::string first = segment_name(timeline_, base_, options_.segment_size);
        const std::string end = segment_name(timeline_, base_ + depth_, options_.segment_size);
        for (auto name = ready_.begin(); name != ready_.end();) {
            const bool wanted = *name >= first && *name < end;
            if (!wanted)
                unlink((options_.directory + "/" + *name).c_str());
            name = wanted ? std::next(name) : ready_.erase(name);
        }
    }

    const ReadAheadOptions &options_;
    const uint64_t depth_; // segments
    std::mutex mutex_;
    std::condition_variable changed_;
    TimelineId timeline_ = 0;
    uint64_t base_ = 0; // the segment that will be asked for next
    std::set<std::string> ready_;
    std::set<std::string> growing_;
    int64_t paused_until_ms_ = 0;
    bool stopped_ = false;
};

bool has_room(const ReadAheadOptions &options) {
    struct statvfs status{};
    return statvfs(options.directory.c_str(), &status) == 0 &&
           uint64_t{status.f_bavail} * status.f_frsize >= kFreeSegmentsWanted * options.segment_size;
}

bool fetch(const ReadAheadOptions &options, WalReader &reader, const std::string &name, const CancelToken &cancel) {
    try {
        if (!has_room(options))
            return false;
        const std::string ready = options.directory + "/" + name;
        WalFileSink sink(ready, name, options.path, ready + std::string(kAheadGrowing));
        sink.open();
        const auto found = reader.read(name, sink, cancel);
        if (!found || found->length != options.segment_size)
            return false;
        // The server syncs what it takes over: that is quick when it was done here.
        sink.finish(true);
        return true;
    } catch (const Error &) {
        return false; // a client that needs the segment will meet the same and report it
    } catch (const OffPath &) {
        return false;
    }
}

// Feeds the window with what happens in the directory. Returns false when the directory is gone.
bool take_events(int watch, Window &window, const std::string &directory, bool &any) {
    alignas(inotify_event) char buffer[16 * 1024];
    const ssize_t length = read(watch, buffer, sizeof buffer);
    for (ssize_t at = 0; at < length;) {
        const auto *event = reinterpret_cast<const inotify_event *>(buffer + at);
        at += static_cast<ssize_t>(sizeof *event + event->len);
        if ((event->mask & (IN_DELETE_SELF | IN_IGNORED | IN_UNMOUNT)) != 0)
            return false;
        const std::string name = event->len > 0 ? event->name : "";
        if ((event->mask & IN_MOVED_FROM) != 0 && parse_wal_file_name(name)) {
            window.taken(name);
            any = true;
        } else if ((event->mask & IN_CREATE) != 0 && name.rfind(kAheadWanted, 0) == 0) {
            unlink((directory + "/" + name).c_str());
            window.move_to(name.substr(kAheadWanted.size()));
            any = true;
        }
    }
    return true;
}

void watch_directory(const ReadAheadOptions &options, int watch, Window &window, const CancelToken &cancel) {
    int64_t last_use_ms = boot_time_ms();
    int64_t last_look_ms = last_use_ms;
    while (!cancel.is_cancelled()) {
        pollfd wait{watch, POLLIN, 0};
        const int ready = poll(&wait, 1, kTickMs);
        const int64_t now = boot_time_ms();
        bool used = false;
        if (ready > 0 && !take_events(watch, window, options.directory, used))
            return;
        if (used)
            last_use_ms = now;
        if (now - last_use_ms > options.idle.count())
            return;
        if (now - last_look_ms >= 2 * kTickMs) {
            last_look_ms = now;
            if (!options.server_lives())
                return;
        }
    }
}

} // namespace

void run_read_ahead(const ReadAheadOptions &options, WalReader &reader, const CancelToken &cancel) {
    const AheadLock lock(options.directory);
    if (!lock.held())
        return;
    const FileHandle watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!watch || inotify_add_watch(watch.get(), options.directory.c_str(),
                                    IN_MOVED_FROM | IN_CREATE | IN_DELETE_SELF | IN_ONLYDIR) < 0)
        throw posix_error("watch", options.directory, errno);

    Window window(options);
    CancelToken stop;
    std::vector<std::thread> threads;
    const auto work = [&] {
        while (const auto name = window.next()) {
            if (fetch(options, reader, *name, stop))
                window.fetched(*name);
            else
                window.failed(*name);
        }
    };
    {
        const SignalsBlocked blocked;
        for (unsigned i = 0; i < options.threads; ++i)
            threads.emplace_back(work);
    }
    watch_directory(options, watch.get(), window, cancel);
    stop.cancel();
    window.stop();
    for (std::thread &thread : threads)
        thread.join();
}

} // namespace pgvigil
