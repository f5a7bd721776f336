// Durability of a restored tree: every file, then the directories that name them.
#include "transfer/restore_tree.h"

#include "base/signal_mask.h"

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <dirent.h>
#include <exception>
#include <fcntl.h>
#include <thread>
#include <unistd.h>

namespace pgvigil {

namespace {

struct CloseDirectory {
    void operator()(DIR *open) const noexcept { closedir(open); }
};

// Directories wait in a queue; each worker syncs the files of one and queues its subdirectories. A directory itself is
// synced after its files; the order among directories does not matter, as none is used before all are done.
class SyncWalk {
  public:
    SyncWalk(std::vector<std::string> roots, const CancelToken &cancel)
        : waiting_(roots.begin(), roots.end()), unfinished_(roots.size()), cancel_(cancel) {}

    void run(unsigned threads) {
        std::vector<std::thread> workers;
        {
            const SignalsBlocked blocked;
            for (unsigned i = 0; i < threads; ++i)
                workers.emplace_back([this] { work(); });
        }
        for (std::thread &worker : workers)
            worker.join();
        if (failure_)
            std::rethrow_exception(failure_);
    }

  private:
    void work() {
        for (;;) {
            std::string directory;
            {
                std::unique_lock lock(mutex_);
                changed_.wait(lock, [this] { return !waiting_.empty() || unfinished_ == 0 || failure_; });
                if (unfinished_ == 0 || failure_)
                    return;
                directory = std::move(waiting_.back());
                waiting_.pop_back();
            }
            try {
                sync_directory(directory);
            } catch (...) {
                const std::lock_guard lock(mutex_);
                if (!failure_)
                    failure_ = std::current_exception();
            }
            const std::lock_guard lock(mutex_);
            --unfinished_;
            changed_.notify_all();
        }
    }

    void sync_directory(const std::string &path) {
        const FileHandle handle = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
        if (!handle)
            throw posix_error("open directory", path, errno);
        const int copy = dup(handle.get());
        const std::unique_ptr<DIR, CloseDirectory> open(copy < 0 ? nullptr : fdopendir(copy));
        if (!open)
            throw posix_error("read directory", path, errno);
        while (const dirent *entry = readdir(open.get())) { // NOLINT(concurrency-mt-unsafe): a stream of its own
            cancel_.check();
            const std::string name = entry->d_name;
            if (name == "." || name == "..")
                continue;
            struct stat status{};
            if (fstatat(handle.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
                throw posix_error("stat", path + "/" + name, errno);
            if (S_ISDIR(status.st_mode))
                queue(path + "/" + name);
            else if (S_ISREG(status.st_mode))
                sync_regular(handle, path, name);
        }
        sync_file(handle, path);
    }

    static void sync_regular(const FileHandle &directory, const std::string &path, const std::string &name) {
        const FileHandle file = open_at(directory.get(), name, O_RDONLY | O_NOFOLLOW);
        if (!file)
            throw posix_error("open", path + "/" + name, errno);
        sync_file(file, path + "/" + name);
    }

    void queue(std::string directory) {
        const std::lock_guard lock(mutex_);
        waiting_.push_back(std::move(directory));
        ++unfinished_;
        changed_.notify_one();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::string> waiting_;
    size_t unfinished_;
    std::exception_ptr failure_;
    const CancelToken &cancel_;
};

} // namespace

void RestoreTree::sync_all(unsigned threads, const CancelToken &cancel) {
    std::vector<std::string> roots{data_directory_};
    for (const auto &[link, location] : locations_)
        roots.push_back(location);
    SyncWalk(std::move(roots), cancel).run(std::max(1U, threads));
    // The data directory's own name may be new as well.
    const std::string above = data_directory_.substr(0, std::max<size_t>(1, data_directory_.find_last_of('/')));
    const FileHandle parent = open_at(AT_FDCWD, above, O_RDONLY | O_DIRECTORY);
    if (parent)
        sync_file(parent, above);
}

void RestoreTree::sync_path(std::string_view path) {
    const Place place = place_of(path);
    const FileHandle file = open_at(place.directory->get(), place.name, O_RDONLY | O_NOFOLLOW);
    if (!file)
        throw posix_error("open", absolute(path), errno);
    sync_file(file, absolute(path));
    sync_file(*place.directory, absolute(path));
}

} // namespace pgvigil
