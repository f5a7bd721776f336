// What a standby receives PostgreSQL marks as archived (archive_mode=on): the primary archives it. If that one died
// before it did, the first checkpoint after a promotion takes such segments away, maybe before this server has had an
// answer from a store. So a standby takes the marks off again, as they appear, from all that the repositories are not
// known to hold. In recovery segments are recycled without regard to marks; afterwards a checkpoint hands a segment
// without one to the archiver and leaves it (XLogArchiveCheckDone).
// Threading: the keeper's main thread; the stores are read in a thread of the core.
#pragma once

#include "server/server_facts.h"
#include "server/settings.h"

#include "storage/posix/posix_files.h"

#include <functional>
#include <set>
#include <string>

namespace pgvigil {

class ReceivedMarks {
  public:
    // Takes off the marks that are new. Does nothing where this server is no standby or archives itself
    // (archive_mode=always). Throws what reading the directory throws.
    void look();
    // Marks what all repositories hold by now, so that nobody archives it once more after a promotion.
    void settle(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop);

    [[nodiscard]] bool any_unsettled() const noexcept { return !unmarked_.empty(); }
    // Readable when marks may have appeared since the last look(); -1 when this server is no standby.
    [[nodiscard]] int event_fd() const noexcept { return watch_.get(); }

  private:
    void watch(const std::string &directory);
    // Whether anything was to be read from the watch.
    bool take_events();

    FileHandle watch_;
    bool unread_ = false;            // something has happened that no look() has seen
    bool received_ = false;          // the WAL receiver was seen to stream
    std::set<std::string> unmarked_; // taken off by this process
    std::set<std::string> stored_;   // marked again
};

} // namespace pgvigil
