#include "repo/wal_object.h"

#include "base/error.h"
#include "base/json.h"
#include "repo/json_fields.h"

#include <algorithm>

namespace pgvigil {

namespace {

Error damaged(std::string_view key, const std::string &why) {
    return Error(ErrorCode::kCorrupt, "\"" + std::string(key) + "\" is damaged").detail(why);
}

Json scan_json(const WalScanSummary &scan) {
    Json out = Json::object();
    if (scan.first_time_us)
        out["first_time_us"] = *scan.first_time_us;
    if (scan.last_time_us)
        out["last_time_us"] = *scan.last_time_us;
    if (scan.first_xid)
        out["first_xid"] = *scan.first_xid;
    if (scan.last_xid)
        out["last_xid"] = *scan.last_xid;
    out["commits"] = scan.commits;
    if (scan.end_of_records.is_valid())
        out["end_of_records"] = to_string(scan.end_of_records);
    if (scan.ends_in_switch)
        out["ends_in_switch"] = true;
    if (scan.magic != 0)
        out["page_magic"] = scan.magic;
    if (!scan.spanning_out.empty())
        out["spanning_out"] = to_hex(scan.spanning_out);
    if (!scan.spanning_in.empty())
        out["spanning_in"] = to_hex(scan.spanning_in);
    if (scan.spanning_in_end.is_valid())
        out["spanning_in_end"] = to_string(scan.spanning_in_end);
    for (const RestorePoint &point : scan.restore_points)
        out["restore_points"].push_back(
            {{"name", fields::text_value(point.name)}, {"time_us", point.time_us}, {"lsn", to_string(point.lsn)}});
    return out;
}

std::optional<int64_t> time_us_member(const Json &object, const char *name, std::string_view what) {
    const auto found = object.find(name);
    if (found == object.end())
        return std::nullopt;
    if (!found->is_number_integer())
        throw fields::bad_member(name, what);
    return found->get<int64_t>();
}

std::optional<uint32_t> xid_member(const Json &object, const char *name, std::string_view what) {
    if (!object.contains(name))
        return std::nullopt;
    return fields::number<uint32_t>(object, name, what);
}

Bytes bytes_member(const Json &object, const char *name, std::string_view what) {
    if (!object.contains(name))
        return {};
    Bytes bytes = fields::hex_member(object, name, what);
    if (bytes.size() > kMaxSpanningBytes)
        throw fields::bad_member(name, what);
    return bytes;
}

WalScanSummary read_scan(const Json &source, std::string_view key) {
    WalScanSummary scan;
    scan.first_time_us = time_us_member(source, "first_time_us", key);
    scan.last_time_us = time_us_member(source, "last_time_us", key);
    scan.first_xid = xid_member(source, "first_xid", key);
    scan.last_xid = xid_member(source, "last_xid", key);
    if (source.contains("commits"))
        scan.commits = fields::number<uint32_t>(source, "commits", key);
    if (source.contains("end_of_records"))
        scan.end_of_records = fields::lsn_member(source, "end_of_records", key);
    if (source.contains("ends_in_switch"))
        scan.ends_in_switch = fields::bool_member(source, "ends_in_switch", key);
    if (source.contains("page_magic"))
        scan.magic = fields::number<uint16_t>(source, "page_magic", key);
    scan.spanning_out = bytes_member(source, "spanning_out", key);
    scan.spanning_in = bytes_member(source, "spanning_in", key);
    if (source.contains("spanning_in_end"))
        scan.spanning_in_end = fields::lsn_member(source, "spanning_in_end", key);
    if (source.contains("restore_points")) {
        for (const Json &item : fields::array_member(source, "restore_points", key)) {
            RestorePoint point;
            point.name = fields::text_member(item, "name", key);
            point.time_us = time_us_member(item, "time_us", key).value_or(0);
            point.lsn = fields::lsn_member(item, "lsn", key);
            scan.restore_points.push_back(std::move(point));
        }
    }
    return scan;
}

WalPart read_part(const Json &item, std::string_view key) {
    WalPart part;
    part.key = fields::text_member(item, "key", key);
    part.plain_length = fields::number<uint64_t>(item, "plain_length", key);
    const Bytes digest = fields::hex_member(item, "sha256", key);
    if (digest.size() != part.digest.size() || part.plain_length == 0 || part.plain_length > kWalPartBytes)
        throw fields::bad_member("parts", key);
    std::copy(digest.begin(), digest.end(), part.digest.begin());
    return part;
}

} // namespace

std::string encode_wal_facts(const WalFacts &facts) {
    Json out = Json::object();
    out["scan"] = scan_json(facts.scan);
    for (const WalPart &part : facts.parts)
        out["parts"].push_back({{"key", fields::text_value(part.key)},
                                {"plain_length", part.plain_length},
                                {"sha256", to_hex(part.digest)}});
    return out.dump();
}

WalFacts decode_wal_facts(std::string_view extension, std::string_view key) {
    WalFacts facts;
    if (extension.empty())
        return facts;
    const Json source = parse_json(extension, key);
    if (source.contains("scan"))
        facts.scan = read_scan(fields::object_member(source, "scan", key), key);
    if (source.contains("parts"))
        for (const Json &item : fields::array_member(source, "parts", key))
            facts.parts.push_back(read_part(item, key));
    return facts;
}

namespace {

ObjectHeader header_of(const WalObjectInput &input) {
    ObjectHeader header;
    header.kind = input.kind;
    header.digest_id = 1;
    header.epoch = input.epoch;
    header.attempt = input.attempt;
    header.plain_length = input.whole_plain_length;
    header.digest = input.digest;
    header.extension = input.extension;
    return header;
}

} // namespace

Bytes encode_wal_object(const WalObjectInput &input, FrameEncoder &encoder, Bytes memory) {
    if (input.plain.size() > kWalPartBytes)
        throw Error(ErrorCode::kInternal, "a WAL object of " + std::to_string(input.plain.size()) + " bytes");
    const ObjectHeader header = header_of(input);
    Bytes object = std::move(memory);
    object.clear();
    object.reserve(encoded_header_bytes(header) + input.plain.size() +
                   (input.plain.size() / kMaxExtentBytes + 2) * kFrameHeaderBytes);
    append_header(object, header);
    uint32_t number = 0;
    size_t at = 0;
    do {
        const size_t length = std::min(input.plain.size() - at, kMaxExtentBytes);
        const bool last = at + length == input.plain.size();
        encoder.append(object, FrameType::kData, input.plain.subspan(at, length), number++, last);
        at += length;
    } while (at < input.plain.size());
    return object;
}

void set_wal_object_digest(Bytes &object, const WalObjectInput &input) {
    Bytes header;
    append_header(header, header_of(input));
    std::copy(header.begin(), header.end(), object.begin());
}

void decode_wal_frames(ByteView object, const ParsedHeader &header, Bytes &out, FrameDecoder &decoder,
                       std::string_view key) {
    uint64_t expected = header.header.plain_length;
    if (header.header.kind == ObjectKind::kWal) {
        for (const WalPart &part : decode_wal_facts(header.header.extension, key).parts) {
            if (part.plain_length > expected)
                throw damaged(key, "Its parts are longer than the whole.");
            expected -= part.plain_length;
        }
    } else if (header.header.kind != ObjectKind::kWalPart && header.header.kind != ObjectKind::kTail) {
        throw damaged(key, "It is not a WAL file.");
    }
    if (expected > kWalPartBytes)
        throw damaged(key, "Its header states a length of " + std::to_string(expected) + " bytes.");

    ByteView rest = object.subspan(std::min(header.length, object.size()));
    uint64_t decoded = 0;
    bool last = false;
    for (uint32_t number = 0; !last; ++number) {
        const FrameHeader frame = FrameDecoder::parse_header(rest, key);
        if (frame.type != FrameType::kData || frame.number != number || decoded + frame.plain_length > expected)
            throw damaged(key, "Its frames do not add up to the length in its header.");
        const size_t before = out.size();
        out.resize(before + frame.plain_length);
        decoder.decode(rest, std::span(out).subspan(before), key);
        decoded += frame.plain_length;
        rest = rest.subspan(kFrameHeaderBytes + frame.stored_length);
        last = frame.last;
    }
    if (decoded != expected || !rest.empty())
        throw damaged(key, "Its frames do not add up to the length in its header.");
}

} // namespace pgvigil
