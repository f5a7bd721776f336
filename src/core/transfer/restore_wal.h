// Puts the WAL that makes a backup consistent into pg_wal (rules E4), marked as archived.
// Threading: blocks its caller; uses threads of its own. Errors: kNotFound when a segment is in no repository.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "repo/documents.h"
#include "repo/repository.h"
#include "transfer/restore_tree.h"

#include <memory>
#include <vector>

namespace pgvigil {

void restore_wal(const std::vector<std::shared_ptr<Repository>> &repositories, const CommitDocument &commit,
                 RestoreTree &tree, unsigned threads, LogSink &log, const CancelToken &cancel);

} // namespace pgvigil
