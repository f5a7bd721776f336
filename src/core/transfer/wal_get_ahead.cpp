#include "transfer/wal_get_ahead.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fcntl.h>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr int kPollMs = 2;

void sleep_ms(int milliseconds) {
    timespec rest{milliseconds / 1000, (milliseconds % 1000) * 1000000L};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

bool exists(const std::string &path) {
    return access(path.c_str(), F_OK) == 0;
}

} // namespace

std::string ahead_key(std::string_view text) {
    // Two FNV-1a runs would do; one of 64 bits is enough to tell the few commands of one server apart.
    uint64_t hash = 0xcbf29ce484222325;
    for (const char c : text) {
        hash ^= static_cast<unsigned char>(c);
        hash *= 0x100000001b3;
    }
    char digits[20];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
    return digits;
}

std::string ahead_directory(std::string_view destination, std::string_view key) {
    const size_t slash = destination.rfind('/');
    if (slash == std::string_view::npos || destination.front() == '/' || !exists("postmaster.pid") ||
        !exists("PG_VERSION"))
        return {};
    return std::string(destination.substr(0, slash + 1)) + std::string(kAheadDirectory) + "/" + std::string(key);
}

bool ahead_reader_lives(const std::string &directory) {
    const int lock = open((directory + "/" + std::string(kAheadLock)).c_str(), O_RDWR | O_CLOEXEC);
    if (lock < 0)
        return false;
    struct flock probe{};
    probe.l_type = F_WRLCK;
    probe.l_whence = SEEK_SET;
    const bool held = fcntl(lock, F_OFD_GETLK, &probe) == 0 && probe.l_type != F_UNLCK;
    close(lock);
    return held;
}

AheadAnswer take_ahead(const std::string &directory, std::string_view name, const std::string &destination,
                       int patience_ms) {
    const std::string ready = directory + "/" + std::string(name);
    const std::string growing = ready + std::string(kAheadGrowing);
    for (int waited = 0;; waited += kPollMs) {
        if (!ahead_reader_lives(directory))
            return AheadAnswer::kNoReader;
        if (rename(ready.c_str(), destination.c_str()) == 0)
            return AheadAnswer::kTaken;
        if (errno != ENOENT || waited >= patience_ms)
            return AheadAnswer::kNotReady;
        // It may have become ready between the two looks.
        if (!exists(growing))
            return rename(ready.c_str(), destination.c_str()) == 0 ? AheadAnswer::kTaken : AheadAnswer::kNotReady;
        sleep_ms(kPollMs);
    }
}

void want_ahead(const std::string &directory, std::string_view name) {
    const std::string wish = directory + "/" + std::string(kAheadWanted) + std::string(name);
    const int file = open(wish.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file >= 0)
        close(file);
}

} // namespace pgvigil
