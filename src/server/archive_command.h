// pgvigil.also_archive_command: a shell command that archives each WAL file as well (rules H3). Unlike archive_command
// it runs while the archiver stays responsive: interrupts are handled, a time limit holds, a reload or the end of the
// server ends it. Threading: the archiver's main thread.
#pragma once

#include <functional>
#include <string>

namespace pgvigil {

// `command` with %p and %f replaced, %% by one percent sign; other letters are kept, as PostgreSQL does.
[[nodiscard]] std::string expand_archive_command(const std::string &command, const std::string &path,
                                                 const std::string &file);

// Runs `command` by /bin/sh and returns when it has ended with status 0. Throws otherwise: kTimeout after `timeout_s`
// seconds (0: no limit), kCancelled when `stop` returned true; the command's processes are ended first.
void run_archive_command(const std::string &command, int timeout_s, const std::function<bool()> &stop);

} // namespace pgvigil
