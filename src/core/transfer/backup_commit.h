// The last step of a backup: looks that everything it consists of is still there, then writes the commit document.
// Threading: free function, called by the owner of the backup.
#pragma once

#include "base/cancel.h"
#include "repo/documents.h"
#include "transfer/backup_parents.h"
#include "transfer/backup_upload.h"

#include <set>
#include <string>
#include <vector>

namespace pgvigil {

// Writes `body`, the encoded `document`, to every live repository, after a look at the parents, if any, and at the WAL
// that the backup needs, but for the files `own_wal` that it brings itself: none of it may be marked as expired. A
// repository where something is missing or fails is given up. Returns the URLs of those that have it; throws when none
// does.
std::vector<std::string> commit_everywhere(BackupUploader &uploader, const CommitDocument &document,
                                           const BackupParents *parents, const std::set<std::string> &own_wal,
                                           ByteView body, const CancelToken &cancel);

} // namespace pgvigil
