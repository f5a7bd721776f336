// What every kind of store agrees on about keys: which ones are valid, and how a listing is cut and folded.
// Threading: pure functions and values.
#pragma once

#include "storage/object_store.h"

#include <string>
#include <string_view>

namespace pgvigil {

// The longest key, prefix of the repository included, that an S3 server takes.
inline constexpr size_t kMaxKeyBytes = 1024;
// Names that stores keep for themselves; no key may have such a component.
inline constexpr std::string_view kReservedPrefix = ".pgvigil-";
// Names of files that a store of kind posix is still writing.
inline constexpr std::string_view kTemporaryPrefix = ".pgvigil-tmp-";

[[nodiscard]] bool is_valid_utf8(std::string_view text) noexcept;

// Throws kInvalidArgument unless `key` is 1 to kMaxKeyBytes of UTF-8 without control characters, a leading or trailing
// slash, and components that are empty, ".", ".." or reserved names.
void check_key(std::string_view key);

// Decides for candidates offered in key order what belongs into a page.
class PageBuilder {
  public:
    explicit PageBuilder(const ListRequest &request);

    // The directory ("…/") that `key` is folded into; empty when it is listed itself.
    [[nodiscard]] std::string_view folded_directory(std::string_view key) const noexcept;
    // False when no key that starts with `directory` ("…/") can be wanted.
    [[nodiscard]] bool wants_below(std::string_view directory) const noexcept;
    // True when `entry` (a key or a folded directory) has the prefix and sorts after start_after.
    [[nodiscard]] bool wants(std::string_view entry) const noexcept;

    // Both return false, and mark the page as not the last one, when the page is full already.
    [[nodiscard]] bool add_object(ObjectInfo object);
    [[nodiscard]] bool add_directory(std::string_view directory);
    // True when another entry would not fit.
    [[nodiscard]] bool is_full() const noexcept;

    [[nodiscard]] ListPage take() noexcept { return std::move(page_); }

  private:
    [[nodiscard]] bool take_place(std::string_view entry);
    const ListRequest &request_;
    ListPage page_;
};

} // namespace pgvigil
