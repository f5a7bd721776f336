// The WAL that stays: stretches that something needs, collected one by one, then laid over each other. Used by
// plan/retention.cpp. Threading: a value; belongs to one thread.
#pragma once

#include "plan/retention.h"

#include <map>
#include <string>
#include <vector>

namespace pgvigil {

class WalNeeds {
  public:
    explicit WalNeeds(uint64_t segment_size) : segment_size_(segment_size) {}

    // Where stretches overlap the reason that was added first is shown.
    void add(TimelineId timeline, uint64_t first, uint64_t last, const std::string &reason);
    // Everything along the path that a restore may read from `from` on.
    void add_path(const TimelinePath &path, Lsn from, const std::string &reason);
    // What makes a backup consistent, on every path that it may be restored along.
    void add_backup(const Catalog &catalog, const CommitDocument &backup, const std::string &reason);

    [[nodiscard]] std::map<TimelineId, std::vector<KeptWal>> result() const;

  private:
    uint64_t segment_size_;
    std::map<TimelineId, std::vector<KeptWal>> needs_;
};

// The stored segments of every timeline with what becomes of them.
[[nodiscard]] std::vector<WalVerdict> judge_wal(const Catalog &catalog,
                                                const std::map<TimelineId, std::vector<KeptWal>> &kept);

} // namespace pgvigil
