#include "repo/repository.h"

#include "base/error.h"
#include "base/time.h"
#include "repo/envelope.h"

#include <charconv>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr size_t kHashKeyBytes = 32;

// The number that names a cluster's directory; nullopt for other directories.
std::optional<uint64_t> system_identifier_of(std::string_view directory) {
    directory.remove_suffix(directory.ends_with('/') ? 1 : 0);
    uint64_t number = 0;
    const char *const end = directory.data() + directory.size();
    const auto [stop, status] = std::from_chars(directory.data(), end, number);
    if (status != std::errc() || stop != end || fmt::to_string(number) != directory)
        return std::nullopt;
    return number;
}

} // namespace

Repository::Repository(std::shared_ptr<ObjectStore> store, RepositoryDocument document, std::string url,
                       uint64_t system_identifier)
    : store_(std::move(store)), document_(std::move(document)), url_(std::move(url)), layout_(system_identifier) {}

std::optional<RepositoryDocument> read_repository_document(ObjectStore &store, const CancelToken &cancel) {
    const std::optional<std::string> json = read_document(store, kRepositoryDocumentKey, cancel);
    if (!json)
        return std::nullopt;
    return decode_repository(*json, kRepositoryDocumentKey);
}

RepositoryDocument create_repository_document(ObjectStore &store, const CancelToken &cancel) {
    RepositoryDocument document;
    document.id = random_uuid();
    document.created_ms = unix_time_ms();
    Bytes key(kHashKeyBytes);
    random_bytes(key);
    document.hash_key = to_hex(key);
    const Bytes body = encode_document(encode(document), 0, random_uuid());
    PutRequest request;
    request.key = kRepositoryDocumentKey;
    request.body = body;
    if (store.put_new(request, cancel) == PutOutcome::kStored)
        return document;
    std::optional<RepositoryDocument> existing = read_repository_document(store, cancel);
    if (!existing)
        throw Error(ErrorCode::kUnavailable, fmt::format("\"{}\" says that \"{}\" exists, but does not show it",
                                                         store.display_name(), kRepositoryDocumentKey))
            .retryable();
    return *std::move(existing);
}

std::vector<uint64_t> list_clusters(ObjectStore &store, const CancelToken &cancel) {
    std::vector<uint64_t> clusters;
    ListRequest request;
    request.directories = true;
    for_each_page(store, request, cancel, [&](const ListPage &page) {
        for (const std::string &directory : page.directories)
            if (const auto number = system_identifier_of(directory))
                clusters.push_back(*number);
    });
    return clusters;
}

} // namespace pgvigil
