// keeps/<id>-<n>.json: an operator's wish that a backup stays, whatever the retention settings say, or that it does not
// any more. A change is a new document; the one with the highest number holds.
// Threading: free functions, any thread. Errors: what the store throws; kCorrupt for a document that cannot be read.
#pragma once

#include "base/cancel.h"
#include "repo/documents.h"
#include "repo/repository.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

struct KeepDocument {
    std::string id; // of the backup
    uint32_t number = 0;
    bool released = false;
    std::optional<int64_t> until_ms; // unset: for ever
    std::string host;                // of whoever said so
    int64_t created_ms = 0;

    [[nodiscard]] bool holds(int64_t now_ms) const noexcept { return !released && (!until_ms || *until_ms > now_ms); }
};

using Keeps = std::map<std::string, KeepDocument, std::less<>>; // by backup: the one that holds

[[nodiscard]] std::string encode(const KeepDocument &document);
[[nodiscard]] KeepDocument decode_keep(std::string_view json, std::string_view key);

[[nodiscard]] Keeps load_keeps(const Repository &repository, const CancelToken &cancel);
// The same for readers: a document that cannot be read is appended to `unreadable`, and is a keep that holds for ever.
[[nodiscard]] Keeps load_keeps(const Repository &repository, std::vector<UnreadableDocument> &unreadable,
                               const CancelToken &cancel);

// Creates the next document of `document.id`. Throws kNotFound when there is no such backup, and when its deletion was
// decided before it was seen to be kept: expiry looks for keeps after it has made its decision known.
void add_keep(const Repository &repository, KeepDocument document, uint64_t epoch, const CancelToken &cancel);

// Releases a keep whose time has passed, before its backup's deletion is made known. False when somebody changed it
// meanwhile: then that counts.
[[nodiscard]] bool release_passed_keep(const Repository &repository, const KeepDocument &keep, const std::string &host,
                                       uint64_t epoch, const CancelToken &cancel);

} // namespace pgvigil
