// A WAL object copied from one repository to another, byte for byte, so that both hold the same attempt.
// Threading: free function.
#pragma once

#include "base/cancel.h"
#include "repo/repository.h"
#include "transfer/wal_upload.h"

#include <string>

namespace pgvigil {

// False when `from` does not have `key`. Throws kConflict when `to` holds other content under the name that
// `writer` does not supersede.
bool copy_wal_object(const Repository &from, const Repository &to, const std::string &key, const WalWriter &writer,
                     const CancelToken &cancel);

} // namespace pgvigil
