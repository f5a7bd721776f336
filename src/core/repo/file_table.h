// The file table of a backup: every file with its facts and the extents this backup stores of it, sorted by path, cut
// into parts of at most 8 MiB, each of frames of about 256 KiB that the index lists by first key: any (file, offset)
// resolves with two small reads (rules F2). Order: paths compare byte-wise with '/' before every other byte, so a
// directory's contents stand together. Threading: writers and readers belong to one thread each.
#pragma once

#include "base/bytes.h"
#include "codec/frame.h"
#include "repo/documents.h"
#include "repo/pack.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

inline constexpr size_t kMaxTablePartBytes = 8 * kMiB; // as stored

enum class FileKind : uint8_t { kRegular = 1, kDirectory = 2 };

// Where bytes of a file are stored: in a frame of their own, or in one they share with others (a bundle).
struct ExtentRef {
    uint64_t offset = 0;       // bytes from the file's start
    uint32_t plain_length = 0; // bytes
    uint32_t pack = 0;         // StoredObject.number of one of this backup's packs
    PackPlace place;           // of the frame
    uint32_t frame_offset = 0; // bytes from the start of the frame's plain bytes
    uint32_t frame_length = 0; // plain bytes of the whole frame; plain_length when the extent is alone in it
    ContentHash hash{};        // of the frame's plain bytes
    ContentHash own_hash{};    // of the extent's bytes; the same as `hash` when it is alone in its frame

    [[nodiscard]] bool alone() const noexcept { return frame_length == plain_length; }
};

struct FileEntry {
    std::string path; // relative to the data directory; tablespaces below pg_tblspc/<oid>
    FileKind kind = FileKind::kRegular;
    uint32_t mode = 0600;
    uint64_t size = 0; // bytes; the restored length
    int64_t mtime_ms = 0;
    uint32_t inherit_below = 0;     // blocks; 0 = self-contained (rules A1)
    std::vector<ExtentRef> extents; // ascending, not overlapping; what none covers is zeroes or inherited
};

// Negative, zero or positive as `a` sorts before, with or after `b`.
[[nodiscard]] int compare_paths(std::string_view a, std::string_view b) noexcept;

class FileTableWriter {
  public:
    // `store` receives each finished object in order: its name below files/<id>/ and its bytes.
    using Sink = std::function<void(const std::string &name, Bytes object)>;
    FileTableWriter(Compression compression, uint64_t epoch, const Uuid &attempt, Sink store);
    ~FileTableWriter();

    // Entries must come in ascending path order; throws kInternal otherwise.
    void add(const FileEntry &entry);
    // Writes the last part and the index. Nothing may be added afterwards.
    void finish();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

class FileTableReader {
  public:
    // `fetch(name, range)` returns bytes of files/<id>/<name>; the whole object, checked as far as the caller can,
    // without a range.
    using Fetch = std::function<Bytes(const std::string &name, std::optional<ByteRange> range)>;
    // `prefix`: of the names in messages. `objects`: what the commit document says of the table; parts that are read
    // in several ranges are checked against it.
    explicit FileTableReader(Fetch fetch, std::string prefix = "", std::vector<StoredObject> objects = {});
    FileTableReader(FileTableReader &&) noexcept;
    ~FileTableReader();

    // At most so many bytes of a part are held at a time, one frame at least; whole parts by default.
    void limit_read(size_t bytes);
    // The next entry in order; nullopt behind the last one. Memory stays bounded by one read and the largest entry.
    // Throws kCorrupt naming the object for anything a writer would not write, unsafe paths included.
    [[nodiscard]] std::optional<FileEntry> next();
    // Every entry that next() has not returned yet.
    void for_each(const std::function<void(FileEntry &&entry)> &visit);
    // One entry with two small reads; nullopt when the table has no such path. Does not move next().
    [[nodiscard]] std::optional<FileEntry> find(std::string_view path);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace pgvigil
