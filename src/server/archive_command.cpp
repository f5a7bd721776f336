#include "server/pg.h"

#include "server/archive_command.h"

#include "server/waiting.h"

#include "base/error.h"
#include "base/time.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr long kPollMs = 100;
constexpr int kGraceMs = 2000;

// A shell with all it starts, in a process group of its own, so that all of it can be ended. Ended and reaped by the
// destructor.
class Child {
  public:
    explicit Child(const std::string &command) {
        posix_spawnattr_t attributes;
        posix_spawnattr_init(&attributes);
        sigset_t signals;
        sigfillset(&signals);
        posix_spawnattr_setsigdefault(&attributes, &signals);
        sigemptyset(&signals);
        posix_spawnattr_setsigmask(&attributes, &signals);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
        std::string shell = "sh";
        std::string option = "-c";
        std::string text = command;
        char *arguments[] = {shell.data(), option.data(), text.data(), nullptr};
        const int failed = posix_spawn(&pid_, "/bin/sh", nullptr, &attributes, arguments, environ);
        posix_spawnattr_destroy(&attributes);
        if (failed != 0)
            throw system_error("could not start archive command \"" + command + "\"", failed);
        descriptor_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
    }
    ~Child() {
        if (pid_ > 0) {
            ::kill(-pid_, SIGTERM);
            for (int waited = 0; !reap() && waited < kGraceMs; waited += 10)
                ::usleep(10000);
            if (pid_ > 0) {
                ::kill(-pid_, SIGKILL);
                while (!reap())
                    ::usleep(10000);
            }
        }
        if (descriptor_ >= 0)
            ::close(descriptor_);
    }
    Child(const Child &) = delete;
    Child &operator=(const Child &) = delete;

    // True once the process has ended.
    bool reap() noexcept {
        const pid_t got = ::waitpid(pid_, &status_, WNOHANG);
        if (got == pid_ || (got < 0 && errno == ECHILD))
            pid_ = -1;
        return pid_ < 0;
    }
    // Readable when the process has ended; -1 where the kernel has no such descriptors.
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    [[nodiscard]] int status() const noexcept { return status_; }

  private:
    pid_t pid_ = -1;
    int descriptor_ = -1;
    int status_ = 0;
};

Error command_failed(const std::string &command, int status) {
    std::string how;
    if (WIFEXITED(status))
        how = "failed with exit code " + std::to_string(WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        how = "was ended by signal " + std::to_string(WTERMSIG(status)) + ": " +
              strsignal(WTERMSIG(status)); // NOLINT(concurrency-mt-unsafe): the main thread
    else
        how = "ended with unknown status " + std::to_string(status);
    return Error(ErrorCode::kIo, "also_archive_command " + how).detail("The command was: " + command);
}

} // namespace

std::string expand_archive_command(const std::string &command, const std::string &path, const std::string &file) {
    std::string expanded;
    for (size_t i = 0; i < command.size(); ++i) {
        const char next = command[i] == '%' && i + 1 < command.size() ? command[i + 1] : '\0';
        if (next == 'p')
            expanded += path;
        else if (next == 'f')
            expanded += file;
        else if (next == '%')
            expanded += '%';
        else {
            expanded += command[i];
            continue;
        }
        ++i;
    }
    return expanded;
}

void run_archive_command(const std::string &command, int timeout_s, const std::function<bool()> &stop) {
    Child child(command);
    const int64_t started = boot_time_ms();
    while (!child.reap()) {
        if (timeout_s > 0 && boot_time_ms() - started > int64_t{timeout_s} * 1000)
            throw Error(ErrorCode::kTimeout,
                        "also_archive_command did not end within " + std::to_string(timeout_s) + " seconds")
                .detail("The command was: " + command)
                .hint("See pgvigil.also_archive_command_timeout.");
        if (stop())
            throw Error(ErrorCode::kCancelled, "also_archive_command was ended because the server wants to go on");
        wait_on_latch(child.descriptor(), child.descriptor() >= 0 ? 10 * kPollMs : kPollMs);
    }
    if (child.status() != 0)
        throw command_failed(command, child.status());
}

} // namespace pgvigil
