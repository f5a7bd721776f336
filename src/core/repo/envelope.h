// The header that every object in a repository starts with, and small documents inside it (rules F1).
// Readers refuse unknown required features and other formats, and ignore unknown members of the extension.
// Threading: pure functions.
#pragma once

#include "base/bytes.h"
#include "base/random.h"
#include "codec/frame.h"
#include "storage/object_store.h"

#include <string>
#include <string_view>

namespace pgvigil {

// The numbers are stored; never renumber.
enum class ObjectKind : uint8_t {
    kDocument = 1, // one frame of JSON
    kWal = 2,      // a segment, history, backup-history or partial file; or the committing part of a large segment
    kWalPart = 3,  // a part of a large segment other than the last
    kPack = 4,
    kTablePart = 5,
    kTableIndex = 6,
    kTail = 7, // streamed bytes of an unfinished segment
    kWalIndex = 8,
    kBlockHashes = 9,
};

inline constexpr uint16_t kRepositoryFormat = 1;
inline constexpr size_t kMaxHeaderBytes = 64 * kKiB;
// A first read of this many bytes holds the header of nearly every object.
inline constexpr size_t kHeaderProbeBytes = 4 * kKiB;

struct ObjectHeader {
    uint16_t format = kRepositoryFormat;
    ObjectKind kind = ObjectKind::kDocument;
    uint8_t digest_id = 1;          // 0 = none (packs: their extents carry hashes), 1 = SHA-256
    uint8_t cipher_id = 0;          // 0 = none
    uint32_t required_features = 0; // bits; none defined in format 1
    uint64_t epoch = 0;             // of the writer; 0 for objects that no epoch guards
    Uuid attempt{};                 // who wrote it: one random id per attempt to write
    uint64_t plain_length = 0;      // bytes of all frames together
    Sha256Digest digest{};          // of the plain bytes
    Uuid key_id{};
    std::array<std::byte, 32> salt{};
    std::string extension; // JSON with optional facts, "" for none
};

// Appends the encoded header to `out`; its length depends only on the extension's length.
void append_header(Bytes &out, const ObjectHeader &header);
[[nodiscard]] size_t encoded_header_bytes(const ObjectHeader &header);

struct ParsedHeader {
    ObjectHeader header;
    size_t length = 0; // bytes; the first frame starts here
};

// Parses the header at the start of `bytes` (a prefix of the object is enough if it holds the header). Throws kCorrupt
// (no pgvigil object, truncated, wrong checksum), kUnsupported (newer format, unknown required feature or cipher),
// naming `key`.
[[nodiscard]] ParsedHeader parse_header(ByteView bytes, std::string_view key);

// Reads only the header of an object; nullopt when the object is absent.
[[nodiscard]] std::optional<ParsedHeader> read_header(ObjectStore &store, std::string_view key,
                                                      const CancelToken &cancel);

// An object of one kDocument frame holding `json`.
[[nodiscard]] Bytes encode_document(std::string_view json, uint64_t epoch, const Uuid &attempt);
// The JSON text; throws as parse_header() does, and kCorrupt when length, hash or digest do not match.
[[nodiscard]] std::string decode_document(ByteView object, std::string_view key);
// nullopt when absent.
[[nodiscard]] std::optional<std::string> read_document(ObjectStore &store, std::string_view key,
                                                       const CancelToken &cancel);

} // namespace pgvigil
