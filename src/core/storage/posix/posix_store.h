// A directory as a store (rules G4). One object is one file; a key's components are directories.
//
// An object is written to a temporary file beside its place, synced, and given its name by link(2), which never
// replaces anything; then the directory, and every directory created on the way, is synced. A file system without hard
// links is used with renameat2(RENAME_NOREPLACE), one without either is refused. Temporary files are invisible to
// readers; those that a crash left behind are harmless, and go with the directory's last object once they are a day
// old.
//
// Unlike an object store, a key cannot lie below another key ("a" and "a/b"): kIo.
// A directory that everyone may write to is refused, one that the group may write to is warned about once.
// Threading: as ObjectStore. Waiting for a sync cannot be cancelled.
#pragma once

#include "base/log.h"
#include "storage/object_store.h"
#include "storage/posix/posix_files.h"

#include <atomic>
#include <mutex>
#include <set>
#include <tuple>

namespace pgvigil {

class PageBuilder;

class PosixStore : public ObjectStore {
  public:
    // `root` is an absolute path; it is created, parents included, by the first put_new(). Throws when the directory
    // is there and may not be used.
    PosixStore(std::string root, std::string display_name, LogSink &log);

    PutOutcome put_new(const PutRequest &request, const CancelToken &cancel) override;
    std::optional<Bytes> get(std::string_view key, uint64_t limit, const CancelToken &cancel) override;
    std::optional<Bytes> get_range(std::string_view key, ByteRange range, const CancelToken &cancel) override;
    std::optional<ObjectInfo> head(std::string_view key, const CancelToken &cancel) override;
    ListPage list(const ListRequest &request, const CancelToken &cancel) override;
    std::vector<DeleteFailure> remove(const std::vector<std::string> &keys, const CancelToken &cancel) override;
    int64_t clock_ms(const CancelToken &cancel) override;
    [[nodiscard]] StoreFeatures features() const override { return {}; }
    [[nodiscard]] const std::string &display_name() const override { return name_; }

  private:
    struct OpenObject {
        FileHandle file;
        struct stat status;
    };
    // Device, inode and birth: file systems give the inode of a deleted directory to the next one.
    using DirectoryId = std::tuple<dev_t, ino_t, int64_t>;
    [[nodiscard]] static DirectoryId identity_of(const FileHandle &directory, std::string_view path);

    [[nodiscard]] std::string path_of(std::string_view key) const { return root_ + "/" + std::string(key); }
    // The root, opened anew for each operation: a file system mounted over it later must be seen, and is refused.
    // Invalid when absent.
    [[nodiscard]] FileHandle open_root() const;
    void check_root(const FileHandle &root) const;
    [[nodiscard]] Error replaced() const;
    [[nodiscard]] std::optional<OpenObject> open_object(std::string_view key) const;

    // The directory `relative` ("" for the root), created where missing, its entry durable.
    [[nodiscard]] FileHandle make_directory(std::string_view relative);
    [[nodiscard]] FileHandle enter(const FileHandle &parent, const std::string &name, const std::string &parent_path);
    void create_root();
    [[nodiscard]] PutOutcome give_name(const FileHandle &directory, const FileHandle &file,
                                       const std::string &temporary, const std::string &name, const std::string &path);
    [[nodiscard]] PutOutcome try_put(const PutRequest &request, const CancelToken &cancel);
    void remove_empty_parents(const FileHandle &root, std::string_view key) noexcept;

    // Both return false when the page is full.
    bool list_below(const FileHandle &directory, const std::string &prefix, PageBuilder &page,
                    const CancelToken &cancel) const;
    bool list_entry(const FileHandle &directory, const std::string &prefix, const DirectoryEntry &entry,
                    PageBuilder &page, const CancelToken &cancel) const;
    [[nodiscard]] bool has_object(const FileHandle &directory, const std::string &prefix,
                                  const CancelToken &cancel) const;

    const std::string root_;
    mutable std::optional<DirectoryId> root_id_; // of the first directory met at root_
    const std::string name_;
    LogSink &log_;
    mutable std::atomic<bool> warned_{false};
    mutable std::mutex mutex_;
    // Directories whose entry in their parent was synced by this store.
    std::set<DirectoryId> durable_;
};

} // namespace pgvigil
