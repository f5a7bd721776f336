// Removes what a directory holds and a backup does not, entry by entry as the backup's table is read (--delta), and
// what is of another kind than the backup's entry of that name. A tablespace's location outside of the data directory
// may be shared with clusters of other server versions: only the directory of the backup's own version is looked into.
// Threading: one owner; others may write into what was visited meanwhile.
#pragma once

#include "repo/file_table.h"
#include "transfer/restore_tree.h"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

class RestorePrune {
  public:
    // `spared`: paths that stay whatever the table says; what a directory among them holds goes.
    RestorePrune(RestoreTree &tree, std::set<std::string, std::less<>> spared);

    // Before the entry is restored; entries come in the table's order. Directories that the table does not mention are
    // taken from the paths.
    void visit(std::string_view path, FileKind kind);
    // Behind the last entry.
    void finish();

    [[nodiscard]] uint64_t removed_files() const noexcept { return removed_; }

  private:
    struct Level {
        std::string path;               // "" = the data directory
        std::vector<TreeEntry> entries; // what was there
        size_t next = 0;
        bool foreign = false; // entries that the backup has not are not ours
    };
    void enter(std::string_view path);
    void leave();
    void drop(const Level &level, const TreeEntry &entry);

    RestoreTree &tree_;
    const std::set<std::string, std::less<>> spared_;
    std::vector<Level> levels_;
    uint64_t removed_ = 0;
};

} // namespace pgvigil
