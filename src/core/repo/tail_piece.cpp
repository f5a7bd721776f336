#include "repo/tail_piece.h"

#include "base/error.h"
#include "base/json.h"
#include "crypto/digest.h"
#include "repo/json_fields.h"
#include "repo/wal_object.h"

namespace pgvigil {

std::string encode_tail_facts(const TailFacts &facts) {
    WalFacts wal;
    wal.scan = facts.scan;
    Json out = parse_json(encode_wal_facts(wal), "facts");
    out["segment_size"] = facts.segment_size;
    return out.dump();
}

TailFacts decode_tail_facts(std::string_view extension, std::string_view key) {
    TailFacts facts;
    facts.scan = decode_wal_facts(extension, key).scan;
    if (!extension.empty()) {
        const Json source = parse_json(extension, key);
        if (source.contains("segment_size"))
            facts.segment_size = fields::number<uint64_t>(source, "segment_size", key);
    }
    return facts;
}

Bytes encode_tail_piece(ByteView plain, uint64_t epoch, std::string extension, FrameEncoder &encoder, Bytes memory) {
    WalObjectInput input;
    input.kind = ObjectKind::kTail;
    input.plain = plain;
    input.whole_plain_length = plain.size();
    input.digest = sha256(plain);
    input.epoch = epoch;
    input.attempt = random_uuid();
    input.extension = std::move(extension);
    return encode_wal_object(input, encoder, std::move(memory));
}

void decode_tail_piece(ByteView object, const TailPiece &piece, Bytes &out, FrameDecoder &decoder,
                       std::string_view key) {
    const ParsedHeader header = parse_header(object, key);
    if (header.header.kind != ObjectKind::kTail || header.header.epoch != piece.run.epoch ||
        header.header.plain_length != piece.to - piece.from)
        throw Error(ErrorCode::kCorrupt, "\"" + std::string(key) + "\" is not what its name says");
    const size_t before = out.size();
    decode_wal_frames(object, header, out, decoder, key);
    if (sha256(ByteView(out).subspan(before)) != header.header.digest)
        throw Error(ErrorCode::kCorrupt, "\"" + std::string(key) + "\" does not match its digest");
}

} // namespace pgvigil
