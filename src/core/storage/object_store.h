// ObjectStore: the few operations pgvigil needs of a place that keeps objects under names.
//
// Guarantees every kind keeps:
//   * An object appears whole or not at all, and is durable when put_new() returns kStored.
//   * put_new() never replaces an object. Two racing creators of one key: exactly one gets kStored.
//   * What a returned put_new() stored is seen by every later get(), head() and list().
//   * An absent object is a value (nullopt), never an error; anything else that goes wrong is thrown as an Error whose
//     message names the store and the key.
// Threading: all members may be called by many threads at once; each call blocks its caller. A call ends with
// kCancelled within about 200 ms after its token was cancelled. Keys are relative to the repository's root: UTF-8
// without a leading slash, without empty, "." or ".." components.
#pragma once

#include "base/bytes.h"
#include "base/cancel.h"
#include "crypto/digest.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

struct ObjectInfo {
    std::string key;
    uint64_t size = 0;       // bytes as stored
    int64_t modified_ms = 0; // the store's clock, milliseconds since 1970 UTC
};

enum class [[nodiscard]] PutOutcome { kStored, kAlreadyExists };

// What an object is for; a kind of store may treat packs differently (a cheaper storage class).
enum class ObjectRole { kDocument, kWal, kPack };

struct PutRequest {
    std::string_view key;
    // Complete and unchanged until the call returns: a retry sends the same bytes.
    ByteView body;
    ObjectRole role = ObjectRole::kDocument;
    // SHA-256 of body when the caller has it already; computed otherwise where the store needs it.
    const Sha256Digest *sha256 = nullptr;
};

struct ByteRange {
    uint64_t offset = 0; // bytes
    uint64_t length = 0; // bytes, at least 1
};

struct ListRequest {
    std::string_view prefix = {};      // a key prefix; "" for all
    bool directories = false;          // stop at the next '/': deeper keys are folded into ListPage::directories
    std::string_view start_after = {}; // keys (and folded directories) must sort after this; "" from the start
    size_t limit = 1000;               // at most this many entries (objects + directories) in the page
};

struct ListPage {
    std::vector<ObjectInfo> objects;      // sorted by key, byte order
    std::vector<std::string> directories; // full prefixes ending in '/', sorted
    bool more = false;                    // call again with start_after = the last entry of this page
    std::string last;                     // the entry to continue after
};

struct DeleteFailure {
    std::string key;
    bool access_denied = false;
    bool retryable = false; // the retrying decorator tries such keys again
    std::string message;
};

// What the owner of a bucket has laid down for objects that are deleted. nullopt: the store does not tell.
struct BucketRules {
    std::optional<bool> versioning;      // a delete only hides
    std::optional<bool> object_lock;     // an object can be kept from its deletion
    std::string default_lock;            // "GOVERNANCE, 30 days" where every new object is locked; may be empty
    std::optional<bool> ends_noncurrent; // a lifecycle rule removes what was hidden, everywhere below the repository
};

struct StoreFeatures {
    // False where conditional create is not enforced by the store and only checked before writing (rules C6). What an
    // S3 server can do is found out by the first put_new(); before it, this says what the URL says.
    bool conditional_create = true;
};

class ObjectStore {
  public:
    virtual ~ObjectStore() = default;

    // Creates the object unless the key exists. After a lost answer the retry that finds bytes identical to its own
    // returns kStored.
    virtual PutOutcome put_new(const PutRequest &request, const CancelToken &cancel) = 0;

    // The whole object; nullopt when absent. Throws kCorrupt when it is larger than `limit` bytes (nothing is
    // allocated).
    virtual std::optional<Bytes> get(std::string_view key, uint64_t limit, const CancelToken &cancel) = 0;

    // The bytes of `range`, cut off at the object's end; empty when the range lies behind it; nullopt when absent.
    virtual std::optional<Bytes> get_range(std::string_view key, ByteRange range, const CancelToken &cancel) = 0;

    virtual std::optional<ObjectInfo> head(std::string_view key, const CancelToken &cancel) = 0;

    virtual ListPage list(const ListRequest &request, const CancelToken &cancel) = 0;

    // Deletes; absent keys are success. Returns what could not be deleted, one entry per key.
    [[nodiscard]] virtual std::vector<DeleteFailure> remove(const std::vector<std::string> &keys,
                                                            const CancelToken &cancel) = 0;

    // Whether remove() only hides an object, whose bytes stay (a versioned bucket); nullopt when the store does not
    // tell.
    [[nodiscard]] virtual std::optional<bool> keeps_versions(const CancelToken & /*cancel*/) { return false; }

    // nullopt where there is no bucket. Answers that refuse to tell are no errors.
    [[nodiscard]] virtual std::optional<BucketRules> bucket_rules(const CancelToken & /*cancel*/) {
        return std::nullopt;
    }

    // The store's clock now, milliseconds since 1970 UTC.
    virtual int64_t clock_ms(const CancelToken &cancel) = 0;

    [[nodiscard]] virtual StoreFeatures features() const = 0;

    // The URL without anything secret, for messages.
    [[nodiscard]] virtual const std::string &display_name() const = 0;
};

// Calls `visit(const ListPage &)` for every page under the request's prefix.
template <class Visit>
void for_each_page(ObjectStore &store, ListRequest request, const CancelToken &cancel, Visit &&visit) {
    std::string after(request.start_after);
    for (;;) {
        request.start_after = after;
        const ListPage page = store.list(request, cancel);
        visit(page);
        if (!page.more)
            return;
        after = page.last;
    }
}

} // namespace pgvigil
