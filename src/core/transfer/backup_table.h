// Puts the files of a backup, which threads finish in any order, into the file table in its order.
//
// Guarantees: entries reach the table in ascending order; those behind "pg_wal" are held back until finish(), because
// what the backup brings of pg_wal is known only at its end (rules E6). The files under way are bounded:
// wait_for_room() blocks. Threading: begin() and what waits for it from one thread, done() from any; the rest from the
// owner.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "repo/block_hashes.h"
#include "repo/chain_table.h"
#include "repo/file_table.h"
#include "transfer/backup_reader.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace pgvigil {

// Extents that were read together, ascending, and the hashes of their blocks, if they are taken.
struct FilePart {
    std::vector<ExtentRef> extents;
    std::vector<BlockHash> hashes;
};

struct ReadRange {
    uint64_t offset = 0; // bytes from the file's start
    uint64_t length = 0;
};

struct BackupFile {
    FileEntry entry; // its extents come from the parts
    BackupInput input;
    std::vector<FilePart> parts; // of disjoint parts of the file; guarded by input.mutex
    // Of an incremental backup that knows what changed: only these are read, of the file as the scan saw it.
    std::optional<std::vector<ReadRange>> changed;
    // Of one that compares hashes: where the parents have the file's blocks, and how many blocks the parent has.
    std::shared_ptr<const std::vector<ChainPiece>> known;
    uint32_t known_blocks = 0;
    unsigned open_pieces = 0; // guarded by the table
    bool opened = false;      // guarded by input.mutex
    bool vanished = false;    // guarded by input.mutex
};
using BackupFilePtr = std::shared_ptr<BackupFile>;

struct BackupTableTotals {
    uint64_t files = 0; // regular ones
    uint64_t logical_bytes = 0;
    uint64_t extents = 0;
    uint64_t new_bytes = 0; // plain bytes of the extents
};

class BackupTable {
  public:
    // `hashes` is null where the backup takes none.
    BackupTable(FileTableWriter &writer, BlockHashWriter *hashes, size_t limit, std::atomic<uint64_t> &bad_pages,
                LogSink &log);

    // The next file in order, to be finished by `pieces` calls of done(); none for what has no contents.
    void begin(const BackupFilePtr &file, unsigned pieces);
    // The next begin() stays within the limit.
    [[nodiscard]] bool has_room();
    void wait_for_room(const CancelToken &cancel);
    // A piece of the file has its extents. Returns whether it was the last one.
    bool done(const BackupFilePtr &file);

    // A file that does not come from the directory's scan; its place must not have been passed.
    void add_extra(FileEntry entry, std::vector<BlockHash> hashes);
    // Everything that was held back. The writer's finish() is the caller's.
    void finish();

    [[nodiscard]] const BackupTableTotals &totals() const noexcept { return totals_; }
    [[nodiscard]] const std::vector<PageDamage> &damage() const noexcept { return damage_; }

  private:
    struct PathLess {
        bool operator()(const std::string &a, const std::string &b) const noexcept { return compare_paths(a, b) < 0; }
    };
    struct Row {
        FileEntry entry;
        std::vector<BlockHash> hashes;
    };
    void settle_front();
    void report_damage(BackupFile &file);
    static Row row_of(BackupFile &&file);
    void take(Row &&row);
    void count(const FileEntry &entry);
    void write(const Row &row);
    void put(const Row &row);

    FileTableWriter &writer_;
    BlockHashWriter *const hashes_;
    const size_t limit_;
    std::atomic<uint64_t> &bad_pages_;
    LogSink &log_;
    std::mutex mutex_;
    std::condition_variable room_;
    std::deque<BackupFilePtr> files_;
    std::map<std::string, Row, PathLess> extra_;
    std::vector<Row> held_back_;
    std::string last_written_;
    BackupTableTotals totals_;
    std::vector<PageDamage> damage_;
};

} // namespace pgvigil
