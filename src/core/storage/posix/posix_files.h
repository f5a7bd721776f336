// Small steps on files that the posix store is made of: each one call, complete or thrown.
// Threading: free functions; a FileHandle belongs to one thread at a time.
// Errors: system_error() with the path in the message, marked retryable where a network file system may recover.
#pragma once

#include "base/bytes.h"
#include "base/cancel.h"
#include "base/error.h"

#include <string>
#include <string_view>
#include <sys/stat.h>
#include <utility>
#include <vector>

namespace pgvigil {

// Owns a file descriptor.
class FileHandle {
  public:
    FileHandle() noexcept = default;
    explicit FileHandle(int descriptor) noexcept : descriptor_(descriptor) {}
    FileHandle(FileHandle &&other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    FileHandle &operator=(FileHandle &&other) noexcept {
        std::swap(descriptor_, other.descriptor_);
        return *this;
    }
    ~FileHandle();

    [[nodiscard]] int get() const noexcept { return descriptor_; }
    [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }
    explicit operator bool() const noexcept { return descriptor_ >= 0; }
    // Network file systems report a failed write here at the latest.
    void close_checked(std::string_view path);

  private:
    int descriptor_ = -1;
};

[[nodiscard]] Error posix_error(std::string_view what, std::string_view path, int error_number);

// openat(2), restarted after a signal; an invalid handle (and errno) when it fails.
[[nodiscard]] FileHandle open_at(int directory, const std::string &path, int flags, mode_t mode = 0) noexcept;

[[nodiscard]] struct stat stat_of(const FileHandle &file, std::string_view path);
void write_all(const FileHandle &file, ByteView bytes, std::string_view path, const CancelToken &cancel);
void sync_file(const FileHandle &file, std::string_view path);
// The bytes of [offset, offset + length), fewer when the file ends before.
[[nodiscard]] Bytes read_at(const FileHandle &file, uint64_t offset, uint64_t length, std::string_view path,
                            const CancelToken &cancel);

[[nodiscard]] int64_t modified_ms(const struct stat &status) noexcept;

enum class EntryKind { kFile, kDirectory };
struct DirectoryEntry {
    std::string name;
    EntryKind kind;
};
// Regular files and directories (symbolic links followed) except ".", ".." and temporary files, in no order.
[[nodiscard]] std::vector<DirectoryEntry> read_directory(const FileHandle &directory, std::string_view path);

} // namespace pgvigil
