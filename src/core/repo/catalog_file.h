// The catalogs of a server's repositories in one local file, so that its views need no request: what is in it can be
// shown at once, with its age. Threading: pure functions; reading and writing block on the disk.
// Errors: reading gives nullopt for a file that is missing, damaged or of another version: it is a copy, no more.
#pragma once

#include "repo/catalog.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

inline constexpr std::string_view kCatalogFileName = "pgvigil.catalog";

// When the last transaction before a segment's end had ended: what recovery windows ask for.
struct TransactionMark {
    TimelineId timeline = 0;
    uint64_t segment = 0;
    int64_t time_us = 0; // µs since 1970
};

struct KnownCatalog {
    std::string url;           // normalised
    std::string display_name;  // without anything secret
    std::string repository_id; // UUID
    int64_t read_ms = 0;       // this machine's clock
    int64_t complete_ms = 0;   // when it was last read without anything known before
    Catalog catalog;
    std::vector<TransactionMark> marks; // of the ends of the recovery windows
};

[[nodiscard]] std::string encode_catalogs(const std::vector<KnownCatalog> &catalogs);
[[nodiscard]] std::optional<std::vector<KnownCatalog>> decode_catalogs(std::string_view json);

[[nodiscard]] std::optional<std::vector<KnownCatalog>> read_catalog_file(const std::string &data_directory);
// A new file beside the old one, which replaces it at last; without that it goes away.
class NewCatalogFile {
  public:
    // Throws kIo naming the file.
    NewCatalogFile(const std::string &data_directory, std::string_view text);
    ~NewCatalogFile();
    NewCatalogFile(const NewCatalogFile &) = delete;
    NewCatalogFile &operator=(const NewCatalogFile &) = delete;

    // One system call; false when it failed, errno says why.
    [[nodiscard]] bool replace() noexcept;

  private:
    std::string path_;
    std::string temporary_;
};

} // namespace pgvigil
