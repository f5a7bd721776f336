// Reads what is stored of a backup and says what is wrong with it: the commit document and its ancestors', every part
// of the file table, every pack (size, SHA-256, every frame decoded and hashed), that each extent the table names is
// where it says, and the WAL that makes the backup consistent.
//
// Damage is a value, one problem for each object; only what keeps from looking (an outage, a cancel) is thrown. Nothing
// is written. Each repository is verified for itself: a copy elsewhere does not heal this one.
// Threading: blocks its caller; uses threads of its own. Memory: about 40 MiB for each thread, and 8 bytes for each
// frame of one backup.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "repo/repository.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pgvigil {

struct VerifyProblem {
    std::string object; // its key
    std::string problem;
};

// Of one backup alone: its ancestors have verdicts of their own.
struct VerifyVerdict {
    std::string repository;
    std::string backup_id;
    uint64_t objects = 0; // that were read
    uint64_t bytes = 0;   // as stored
    std::vector<VerifyProblem> problems;
    uint64_t more_problems = 0; // beyond the first 1,000
    bool expired = false;       // expiry took it meanwhile: what is missing of it is no problem
};

struct VerifyOptions {
    unsigned threads = 2;
    uint64_t max_rate = 0; // bytes a second; 0 = no limit
};

struct VerifyProgress {
    std::atomic<uint64_t> bytes{0}; // read so far, of all backups
};

// Which backups are looked at, in this order: `backup` and its ancestors, or, where it is empty, all that the
// repository offers, newest first. Throws kNotFound for a backup that is not there.
[[nodiscard]] std::vector<std::string> backups_to_verify(const Repository &repository, const std::string &backup,
                                                         const CancelToken &cancel);

[[nodiscard]] VerifyVerdict verify_backup(const std::shared_ptr<Repository> &repository, const std::string &backup,
                                          const VerifyOptions &options, VerifyProgress &progress, LogSink &log,
                                          const CancelToken &cancel);

} // namespace pgvigil
