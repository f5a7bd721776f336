#include "repo/envelope.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "base/json.h"
#include "crypto/digest.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr std::string_view kMagic = "PGVIGIL\n";
constexpr size_t kFixedBytes = 136; // everything before the extension
constexpr size_t kCrcBytes = 4;
constexpr uint8_t kHighestKind = static_cast<uint8_t>(ObjectKind::kBlockHashes);
constexpr uint8_t kDigestNone = 0;
constexpr uint8_t kDigestSha256 = 1;
// A document compresses to nothing smaller than this part of its plain length limit; read whole, so bounded.
constexpr uint64_t kMaxDocumentObjectBytes = kMaxDocumentBytes + kMaxHeaderBytes + kFrameHeaderBytes;

Error damaged(std::string_view key, const std::string &why) {
    return Error(ErrorCode::kCorrupt, "\"" + std::string(key) + "\" is damaged").detail(why);
}

Error unsupported(std::string_view key, const std::string &why) {
    return Error(ErrorCode::kUnsupported, "\"" + std::string(key) + "\" cannot be read by this version")
        .detail(why)
        .hint("Use the version that wrote it, or a newer one.");
}

template <size_t N> void read_array(ByteReader &reader, std::array<std::byte, N> &out) {
    const ByteView bytes = reader.bytes(N);
    std::copy(bytes.begin(), bytes.end(), out.begin());
}

// The complete header's length, from its fixed part.
size_t header_length(ByteView bytes, std::string_view key) {
    if (bytes.size() < kMagic.size() || as_text(bytes.first(kMagic.size())) != kMagic)
        throw Error(ErrorCode::kCorrupt, "\"" + std::string(key) + "\" is not a pgvigil object")
            .detail("It does not start with pgvigil's magic bytes.");
    if (bytes.size() < kFixedBytes)
        throw damaged(key, "It ends within its header.");
    const auto format = load_le<uint16_t>(bytes.data() + 8);
    if (format == 0)
        throw damaged(key, "Its header states format 0.");
    if (format > kRepositoryFormat)
        throw unsupported(key, "It has format " + std::to_string(format) + "; formats up to " +
                                   std::to_string(kRepositoryFormat) + " are known.");
    const auto extension = load_le<uint32_t>(bytes.data() + 20);
    if (extension > kMaxHeaderBytes - kFixedBytes - kCrcBytes)
        throw damaged(key, "Its header states an extension of " + std::to_string(extension) + " bytes.");
    return kFixedBytes + extension + kCrcBytes;
}

void check_known(const ObjectHeader &header, uint8_t kind, ByteView zeroes, std::string_view key) {
    if (header.required_features != 0)
        throw unsupported(key, "It requires features that are not known: " + std::to_string(header.required_features) +
                                   " (bits).");
    if (header.cipher_id != 0)
        throw unsupported(key, "It is encrypted with cipher " + std::to_string(header.cipher_id) + ".");
    if (header.digest_id > kDigestSha256)
        throw unsupported(key, "It has a digest of unknown kind " + std::to_string(header.digest_id) + ".");
    if (kind == 0 || kind > kHighestKind)
        throw unsupported(key, "It is an object of unknown kind " + std::to_string(kind) + ".");
    if (std::any_of(zeroes.begin(), zeroes.end(), [](std::byte value) { return value != std::byte{0}; }))
        throw damaged(key, "Its header has a reserved byte that is not zero.");
}

} // namespace

size_t encoded_header_bytes(const ObjectHeader &header) {
    return kFixedBytes + header.extension.size() + kCrcBytes;
}

void append_header(Bytes &out, const ObjectHeader &header) {
    if (encoded_header_bytes(header) > kMaxHeaderBytes)
        throw Error(ErrorCode::kInternal,
                    "header extension of " + std::to_string(header.extension.size()) + " bytes is too long");
    ByteWriter writer;
    writer.bytes(as_view(kMagic));
    writer.u16(header.format);
    writer.u8(static_cast<uint8_t>(header.kind));
    writer.u8(header.digest_id);
    writer.u8(header.cipher_id);
    writer.u8(0);
    writer.u16(0);
    writer.u32(header.required_features);
    writer.u32(static_cast<uint32_t>(header.extension.size()));
    writer.u64(header.epoch);
    writer.bytes(header.attempt);
    writer.u64(header.plain_length);
    writer.bytes(header.digest);
    writer.bytes(header.key_id);
    writer.bytes(header.salt);
    writer.bytes(as_view(header.extension));
    writer.u32(crc32c(writer.view()));
    out.insert(out.end(), writer.view().begin(), writer.view().end());
}

ParsedHeader parse_header(ByteView bytes, std::string_view key) {
    const size_t length = header_length(bytes, key);
    if (bytes.size() < length)
        throw damaged(key, "It ends within its header.");
    if (load_le<uint32_t>(bytes.data() + length - kCrcBytes) != crc32c(bytes.first(length - kCrcBytes)))
        throw damaged(key, "Its header does not match its checksum.");

    ByteReader reader(bytes.first(length));
    ParsedHeader parsed;
    parsed.length = length;
    ObjectHeader &header = parsed.header;
    reader.bytes(kMagic.size());
    header.format = reader.u16();
    const uint8_t kind = reader.u8();
    header.digest_id = reader.u8();
    header.cipher_id = reader.u8();
    const ByteView zeroes = reader.bytes(3);
    header.required_features = reader.u32();
    const uint32_t extension = reader.u32();
    header.epoch = reader.u64();
    read_array(reader, header.attempt);
    header.plain_length = reader.u64();
    read_array(reader, header.digest);
    read_array(reader, header.key_id);
    read_array(reader, header.salt);
    header.extension = as_text(reader.bytes(extension));
    check_known(header, kind, zeroes, key);
    header.kind = static_cast<ObjectKind>(kind);
    return parsed;
}

std::optional<ParsedHeader> read_header(ObjectStore &store, std::string_view key, const CancelToken &cancel) {
    std::optional<Bytes> bytes = store.get_range(key, {0, kHeaderProbeBytes}, cancel);
    if (!bytes)
        return std::nullopt;
    const size_t length = header_length(*bytes, key);
    if (length > bytes->size() && bytes->size() == kHeaderProbeBytes) {
        bytes = store.get_range(key, {0, length}, cancel);
        if (!bytes)
            return std::nullopt;
    }
    return parse_header(*bytes, key);
}

Bytes encode_document(std::string_view json, uint64_t epoch, const Uuid &attempt) {
    if (json.size() > kMaxDocumentBytes)
        throw Error(ErrorCode::kInternal, "document of " + std::to_string(json.size()) + " bytes is too long");
    ObjectHeader header;
    header.kind = ObjectKind::kDocument;
    header.digest_id = kDigestSha256;
    header.epoch = epoch;
    header.attempt = attempt;
    header.plain_length = json.size();
    header.digest = sha256(as_view(json));
    Bytes object;
    append_header(object, header);
    FrameEncoder encoder({Codec::kZstd, 3});
    encoder.append(object, FrameType::kDocument, as_view(json), 0, true);
    return object;
}

std::string decode_document(ByteView object, std::string_view key) {
    const ParsedHeader parsed = parse_header(object, key);
    if (parsed.header.kind != ObjectKind::kDocument)
        throw damaged(key, "It is not a document.");
    const ByteView frame = object.subspan(parsed.length);
    FrameHeader header = FrameDecoder::parse_header(frame, key);
    if (header.type != FrameType::kDocument || header.number != 0 || !header.last ||
        frame.size() != kFrameHeaderBytes + header.stored_length || header.plain_length != parsed.header.plain_length)
        throw damaged(key, "It does not hold exactly one document.");
    const Bytes plain = FrameDecoder().decode(frame, header, key);
    if (parsed.header.digest_id != kDigestNone && sha256(plain) != parsed.header.digest)
        throw damaged(key, "Its bytes do not match the digest in its header.");
    return std::string(as_text(plain));
}

std::optional<std::string> read_document(ObjectStore &store, std::string_view key, const CancelToken &cancel) {
    const std::optional<Bytes> object = store.get(key, kMaxDocumentObjectBytes, cancel);
    if (!object)
        return std::nullopt;
    return decode_document(*object, key);
}

} // namespace pgvigil
