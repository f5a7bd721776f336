#include "transfer/wal_get_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr mode_t kFileMode = 0600;

std::string parent_of(const std::string &path) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos)
        return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

} // namespace

WalFileSink::WalFileSink(std::string destination, std::string_view name, const WalPath &path, std::string temporary)
    : destination_(std::move(destination)), name_(name), path_(path), temporary_(std::move(temporary)) {}

WalFileSink::~WalFileSink() {
    if (file_ && !temporary_.empty())
        unlink(temporary_.c_str());
}

void WalFileSink::open() {
    if (file_)
        return;
    if (temporary_.empty())
        open_unnamed();
    else
        open_named();
}

void WalFileSink::begin(uint64_t length) {
    const auto file = parse_wal_file_name(name_);
    kept_ = length;
    if (!path_.steps.empty() && file && file->kind == WalFileKind::kSegment) {
        if (length != path_.segment_size)
            throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" has {} bytes", name_, length))
                .detail(fmt::format("Segments of {} bytes are expected.", path_.segment_size));
        kept_ = path_.bytes_of(*file);
    }
    if (kept_ == 0 && length != 0)
        throw OffPath{};
    open();
    if (ftruncate(file_.get(), 0) != 0 || lseek(file_.get(), 0, SEEK_SET) != 0)
        throw posix_error("write", destination_, errno);
    written_ = 0;
    // A hole would let the disk fill up under the server's hands; and one extent is written faster than many.
    if (length != 0 && fallocate(file_.get(), 0, 0, static_cast<off_t>(length)) != 0 && errno != EOPNOTSUPP)
        throw posix_error("write", destination_, errno);
}

void WalFileSink::open_unnamed() {
    // Such a file gets its name through /proc; without either the file has a temporary name from the start.
    if (access("/proc/self/fd", X_OK) == 0)
        file_ = FileHandle(::open(parent_of(destination_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, kFileMode));
    if (!file_) {
        temporary_ = fmt::format("{}.pgvigil-{}", destination_, getpid());
        open_named();
    }
}

void WalFileSink::open_named() {
    file_ = FileHandle(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, kFileMode));
    if (!file_)
        throw posix_error("create", temporary_, errno);
}

void WalFileSink::write(ByteView plain) {
    const uint64_t rest = kept_ > written_ ? kept_ - written_ : 0;
    const size_t real = static_cast<size_t>(std::min<uint64_t>(rest, plain.size()));
    const CancelToken never;
    if (real > 0)
        write_all(file_, plain.first(real), destination_, never);
    if (real < plain.size())
        write_all(file_, Bytes(plain.size() - real), destination_, never);
    written_ += plain.size();
}

void WalFileSink::finish(bool sync) {
    if (sync)
        sync_file(file_, destination_);
    if (temporary_.empty()) {
        const std::string self = fmt::format("/proc/self/fd/{}", file_.get());
        if (unlink(destination_.c_str()) != 0 && errno != ENOENT)
            throw posix_error("replace", destination_, errno);
        if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, destination_.c_str(), AT_SYMLINK_FOLLOW) != 0)
            throw posix_error("create", destination_, errno);
    } else {
        if (rename(temporary_.c_str(), destination_.c_str()) != 0)
            throw posix_error("create", destination_, errno);
        temporary_.clear();
    }
    file_.close_checked(destination_);
}

} // namespace pgvigil
