#include "transfer/restore_prune.h"

#include <utility>

namespace pgvigil {

namespace {

std::string_view parent_of(std::string_view path) {
    const size_t slash = path.find_last_of('/');
    return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string join(const std::string &directory, const std::string &name) {
    return directory.empty() ? name : directory + "/" + name;
}

} // namespace

RestorePrune::RestorePrune(RestoreTree &tree, std::set<std::string, std::less<>> spared)
    : tree_(tree), spared_(std::move(spared)) {
    enter("");
}

void RestorePrune::enter(std::string_view path) {
    Level level;
    level.path = path;
    level.entries = tree_.entries(path);
    level.foreign = tree_.is_tablespace(path);
    levels_.push_back(std::move(level));
}

void RestorePrune::leave() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    for (; level.next < level.entries.size(); ++level.next)
        drop(level, level.entries[level.next]);
}

void RestorePrune::drop(const Level &level, const TreeEntry &entry) {
    const std::string path = join(level.path, entry.name);
    if (level.foreign || tree_.is_tablespace(path))
        return;
    if (spared_.count(path) == 0) {
        removed_ += tree_.remove(path);
        return;
    }
    if (entry.kind != TreeEntryKind::kDirectory)
        return;
    enter(path);
    leave();
}

void RestorePrune::visit(std::string_view path, FileKind kind) {
    const std::string_view parent = parent_of(path);
    const auto is_above = [&](const std::string &directory) {
        return directory.empty() || directory == parent || parent.rfind(directory + "/", 0) == 0;
    };
    while (!is_above(levels_.back().path))
        leave();
    if (levels_.back().path != parent)
        visit(parent, FileKind::kDirectory);

    const std::string name(parent.empty() ? path : path.substr(parent.size() + 1));
    // Taken out for the time: drop() enters levels of its own.
    Level level = std::move(levels_.back());
    levels_.pop_back();
    while (level.next < level.entries.size() && level.entries[level.next].name < name)
        drop(level, level.entries[level.next++]);
    if (level.next < level.entries.size() && level.entries[level.next].name == name) {
        const TreeEntryKind found = level.entries[level.next++].kind;
        const auto wanted = kind == FileKind::kDirectory ? TreeEntryKind::kDirectory : TreeEntryKind::kFile;
        if (found != wanted && !tree_.is_tablespace(path))
            removed_ += tree_.remove(path);
    }
    levels_.push_back(std::move(level));
    if (kind == FileKind::kDirectory)
        enter(path);
}

void RestorePrune::finish() {
    while (!levels_.empty())
        leave();
}

} // namespace pgvigil
