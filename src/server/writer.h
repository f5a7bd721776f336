// The repositories as this server may use them: opened, checked against the identity file and, for writers, claimed
// (rules C). Threading: any one thread.
#pragma once

#include "server/repositories.h"
#include "server/server_facts.h"
#include "server/settings.h"

#include "base/random.h"
#include "repo/repository.h"

#include <memory>
#include <vector>

namespace pgvigil {

struct OpenedWriter {
    std::vector<std::shared_ptr<Repository>> repositories;
    Uuid instance{};
    uint64_t epoch = 0;
    Lsn epoch_start;
    TimelineId epoch_timeline = 0;
};

// For archiving: this server must be the writer. Throws kNotWriter, kForeign, or what the stores throw.
[[nodiscard]] OpenedWriter open_as_writer(const Settings &settings, const ServerFacts &facts,
                                          const CancelToken &cancel);
// For a backup: the writer, or a standby of it.
[[nodiscard]] OpenedWriter open_for_backup(const Settings &settings, const ServerFacts &facts,
                                           const CancelToken &cancel);
// Throws kNotWriter when another server has taken over since.
void check_still_writer(const OpenedWriter &writer, const CancelToken &cancel);
// Makes this server the writer: the next epoch in every repository. Returns its number.
[[nodiscard]] uint64_t take_over(const Settings &settings, const ServerFacts &facts, const std::string &reason,
                                 const CancelToken &cancel);
// Makes the repositories that are there, and new ones, known to this server; returns them.
[[nodiscard]] std::vector<std::shared_ptr<Repository>>
accept_repositories(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel);

} // namespace pgvigil
