#include "repo/identity.h"

#include "base/bytes.h"
#include "base/error.h"
#include "repo/identity_file.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace pgvigil {

namespace {

constexpr size_t kMaxIdentityBytes = kMiB;
constexpr std::chrono::milliseconds kLockPoll{50};

class Descriptor {
  public:
    explicit Descriptor(int number = -1) noexcept : number_(number) {}
    ~Descriptor() {
        if (number_ >= 0)
            ::close(number_);
    }
    Descriptor(Descriptor &&other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;
    Descriptor &operator=(Descriptor &&) = delete;

    [[nodiscard]] int get() const noexcept { return number_; }

  private:
    int number_;
};

// The data directory, and the names in it.
class Place {
  public:
    explicit Place(const std::string &data_directory)
        : path_(data_directory + "/" + std::string(kIdentityFileName)),
          directory_(::open(data_directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        if (directory_.get() < 0)
            throw system_error("could not open directory \"" + data_directory + "\"", errno);
    }

    [[nodiscard]] int directory() const noexcept { return directory_.get(); }
    [[nodiscard]] const std::string &path() const noexcept { return path_; }

  private:
    std::string path_;
    Descriptor directory_;
};

// Changes are made one after another, by all processes of the server.
class Lock {
  public:
    Lock(const Place &place, const CancelToken &cancel)
        : file_(::openat(place.directory(), std::string(kIdentityLockName).c_str(),
                         O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) {
        if (file_.get() < 0)
            throw system_error("could not open the lock beside \"" + place.path() + "\"", errno);
        while (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK && errno != EINTR)
                throw system_error("could not lock \"" + place.path() + "\"", errno);
            cancel.check();
            (void)cancel.wait_for(kLockPoll);
        }
    }

  private:
    Descriptor file_;
};

std::string read_text(int descriptor, const std::string &path) {
    std::string text;
    char buffer[4096];
    for (;;) {
        const ssize_t got = ::read(descriptor, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            throw system_error("could not read \"" + path + "\"", errno);
        if (got == 0)
            return text;
        text.append(buffer, static_cast<size_t>(got));
        if (text.size() > kMaxIdentityBytes)
            throw Error(ErrorCode::kCorrupt, "\"" + path + "\" is too large for an identity file");
    }
}

LocalIdentity read_at(const Place &place) {
    const Descriptor file(
        ::openat(place.directory(), std::string(kIdentityFileName).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (file.get() < 0) {
        if (errno == ENOENT)
            return {};
        throw system_error("could not open \"" + place.path() + "\"", errno);
    }
    const identity_file::Content content = identity_file::decode(read_text(file.get(), place.path()), place.path());
    const bool own = content.marks == identity_file::read_marks(file.get(), place.path());
    return {own ? IdentityState::kOwn : IdentityState::kCopied, content.identity};
}

void write_text(int descriptor, std::string_view text, const std::string &path) {
    while (!text.empty()) {
        const ssize_t written = ::write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            throw system_error("could not write \"" + path + "\"", errno);
        text.remove_prefix(static_cast<size_t>(written));
    }
    if (::fsync(descriptor) != 0)
        throw system_error("could not sync \"" + path + "\"", errno);
}

// Puts `identity` in place. False: a creator of another process, one without the lock, was faster.
bool store_at(const Place &place, const Identity &identity, bool create) {
    const std::string temporary = std::string(kIdentityFileName) + "." + to_string(random_uuid()) + ".tmp";
    const std::string name(kIdentityFileName);
    const Descriptor file(
        ::openat(place.directory(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0)
        throw system_error("could not create a temporary file beside \"" + place.path() + "\"", errno);
    int failure = 0;
    try {
        write_text(file.get(), identity_file::encode({identity, identity_file::read_marks(file.get(), place.path())}),
                   place.path());
        // A link keeps the inode and its time of birth, as a rename does, and never replaces.
        const int status = create ? ::linkat(place.directory(), temporary.c_str(), place.directory(), name.c_str(), 0)
                                  : ::renameat(place.directory(), temporary.c_str(), place.directory(), name.c_str());
        failure = status == 0 ? 0 : errno;
    } catch (...) {
        ::unlinkat(place.directory(), temporary.c_str(), 0);
        throw;
    }
    if (create || failure != 0)
        ::unlinkat(place.directory(), temporary.c_str(), 0);
    if (failure == EEXIST)
        return false;
    if (failure != 0)
        throw system_error("could not create \"" + place.path() + "\"", failure);
    if (::fsync(place.directory()) != 0)
        throw system_error("could not sync the directory of \"" + place.path() + "\"", errno);
    return true;
}

} // namespace

const AcceptedRepository *Identity::find_repository(std::string_view url) const noexcept {
    const auto found = std::find_if(repositories.begin(), repositories.end(),
                                    [url](const AcceptedRepository &repository) { return repository.url == url; });
    return found == repositories.end() ? nullptr : &*found;
}

void Identity::accept_repository(std::string_view url, const Uuid &id) {
    for (AcceptedRepository &repository : repositories) {
        if (repository.url == url) {
            repository.id = id;
            return;
        }
    }
    repositories.push_back({std::string(url), id});
}

LocalIdentity read_identity(const std::string &data_directory) {
    return read_at(Place(data_directory));
}

Identity update_identity(const std::string &data_directory, const std::function<void(Identity &)> &change,
                         const CancelToken &cancel) {
    const Place place(data_directory);
    const Lock lock(place, cancel);
    for (;;) {
        const LocalIdentity before = read_at(place);
        Identity identity;
        if (before.state == IdentityState::kOwn) {
            identity = before.identity;
        } else {
            identity.instance = random_uuid();
            identity.repositories = before.identity.repositories;
        }
        change(identity);
        if (store_at(place, identity, before.state == IdentityState::kNone))
            return identity;
        cancel.check();
    }
}

} // namespace pgvigil
