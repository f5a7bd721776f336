#!/usr/bin/env python3
"""Reads a repository by docs/repository-format.md alone: nothing here is shared with the program.

usage: independent_reader.py check ROOT                  every object, every checksum; prints what there is as JSON
       independent_reader.py restore ROOT ID DIRECTORY   writes a backup's files into an empty directory
       independent_reader.py wal ROOT KEY                writes a WAL file's plain bytes to standard output
       independent_reader.py tail ROOT SEGMENT           the same of what was streamed of a segment
"""
import ctypes
import hashlib
import hmac
import json
import os
import struct
import sys

ZSTD, LZ4, XXHASH = (ctypes.CDLL(name) for name in ("libzstd.so.1", "liblz4.so.1", "libxxhash.so.0"))
ZSTD.ZSTD_decompress.restype = ctypes.c_size_t
ZSTD.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


XXHASH.XXH3_128bits.restype = Hash128
XXHASH.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]

CRC_TABLE = []
for value in range(256):
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    CRC_TABLE.append(value)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def crc8(data):
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (7 if crc & 0x80 else 0)) & 0xFF
    return crc


def need(condition, what):
    if not condition:
        raise SystemExit(f"independent_reader: {what}")


class Header:
    def __init__(self, data, key):
        (magic, version, self.kind, self.digest_id, cipher, zero1, zero2, features, extension, self.epoch, self.attempt,
         self.plain_length, self.digest, _, _) = struct.unpack_from("<8sHBBBBHIIQ16sQ32s16s32s", data)
        need(magic == b"PGVIGIL\n" and version == 1, f"{key}: no object of format 1")
        need(cipher == zero1 == zero2 == features == 0, f"{key}: needs what is not known")
        self.length = 136 + extension + 4
        need(crc32c(data[:136 + extension]) == struct.unpack_from("<I", data, 136 + extension)[0], f"{key}: header CRC")
        self.extension = json.loads(data[136:136 + extension]) if extension else {}


def hash128(data):
    found = XXHASH.XXH3_128bits(data, len(data))
    return struct.pack(">QQ", found.high, found.low)


def frame(data, at, key):
    """(type, last, number, plain bytes, where the next frame starts)"""
    stored, plain, kind, flags, codec, check, number, digest = struct.unpack_from("<IIBBBBI16s", data, at)
    need(crc8(data[at:at + 11] + data[at + 12:at + 16]) == check, f"{key}: frame check at {at}")
    body = bytes(data[at + 32:at + 32 + stored])
    need(len(body) == stored, f"{key}: frame cut off at {at}")
    if codec:
        out = ctypes.create_string_buffer(plain)
        got = (LZ4.LZ4_decompress_safe(body, out, stored, plain) if codec == 1 else
               ZSTD.ZSTD_decompress(out, plain, body, stored))
        need(got == plain, f"{key}: frame does not decompress at {at}")
        body = out.raw
    need(hash128(body) == digest, f"{key}: frame hash at {at}")
    return kind, flags & 1, number, body, at + 32 + stored


def frames(data, at, wanted, key):
    """The plain bytes of the frames up to the last one, which must end the object."""
    plain, number, last = [], 0, 0
    while not last:
        kind, last, found, body, at = frame(data, at, key)
        need(kind == wanted and found == number, f"{key}: frame out of place")
        plain.append(body)
        number += 1
    need(at == len(data), f"{key}: bytes behind the last frame")
    return plain


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        need(self.at <= len(self.data), "a record ends early")
        return self.data[self.at - count:self.at]

    def varint(self):
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def string(self):
        return self.take(self.varint())


class Repository:
    def __init__(self, root):
        self.root = root
        need(json.loads(self.document("pgvigil.json"))["format"] == 1, "pgvigil.json: another format")

    def read(self, key):
        with open(os.path.join(self.root, key), "rb") as file:
            return file.read()

    def document(self, key):
        data = self.read(key)
        header = Header(data, key)
        text = b"".join(frames(data, header.length, 3, key))
        need(header.kind == 1 and len(text) == header.plain_length, f"{key}: no document")
        need(hashlib.sha256(text).digest() == header.digest, f"{key}: digest")
        return text

    def wal(self, key):
        data = self.read(key)
        header = Header(data, key)
        need(header.kind == 2, f"{key}: no WAL file")
        plain = []
        for part in header.extension.get("parts", []):
            piece = self.read(part["key"])
            piece_header = Header(piece, part["key"])
            plain += frames(piece, piece_header.length, 1, part["key"])
        plain = b"".join(plain + frames(data, header.length, 1, key))
        need(len(plain) == header.plain_length, f"{key}: length")
        need(hashlib.sha256(plain).digest() == header.digest, f"{key}: digest")
        return plain

    def tail_piece(self, key):
        """The plain bytes of a piece of the tail, checked against its name."""
        data = self.read(key)
        header = Header(data, key)
        epoch, _, start, end = key.rsplit("/", 1)[1].split("-")
        plain = b"".join(frames(data, header.length, 1, key))
        need(header.kind == 7 and header.epoch == int(epoch), f"{key}: no piece of this epoch")
        need(len(plain) == header.plain_length == int(end, 16) - int(start, 16), f"{key}: length")
        need(hashlib.sha256(plain).digest() == header.digest, f"{key}: digest")
        return plain

    def tail(self, cluster, name):
        """What counts of the tail of the segment `name`; None when nobody holds it."""
        timeline = Tail(self, cluster, name[:8])
        run = timeline.holder(name)
        if run is None:
            return None
        mine, plain = [piece for piece in timeline.pieces[name] if piece[0] == run], b""
        while True:
            usable = [piece for piece in mine if piece[1] <= len(plain) < piece[2]]
            if not usable:
                break
            _, start, end, key = max(usable, key=lambda piece: piece[2])
            plain += self.tail_piece(key)[len(plain) - start:]
        need(len(plain) == max(piece[2] for piece in mine), f"{name}: a piece is missing")
        return plain

    def wal_index(self, key):
        """The segments that an index object of the WAL tells of, checked against its name."""
        data = self.read(key)
        header = Header(data, key)
        plain = b"".join(frames(data, header.length, 1, key))
        need(header.kind == 8 and len(plain) == header.plain_length, f"{key}: no index of WAL")
        need(hashlib.sha256(plain).digest() == header.digest, f"{key}: digest")
        span, _, name = key.split("/")[2:]
        (start, _, size, epoch, first, last, count, first_us, last_us, first_xid, last_xid, points) = (
            int(field, 16) for field in name.split("-"))
        cursor, segments, number, time_us = Cursor(plain), {}, start, 0
        need(cursor.varint() == count and epoch == header.epoch, f"{key}: not what its name says")
        for _ in range(count):
            number += cursor.varint()
            segments[number], time_us = wal_facts(cursor, number * size << 20, time_us)
            number += 1
        need(cursor.at == len(plain), f"{key}: bytes behind the last record")
        need(min(segments) == start + first and max(segments) == start + last < start + int(span), f"{key}: name")
        times = [facts[name] for facts in segments.values() for name in ("first_us", "last_us") if name in facts]
        need(not times or (first_us <= min(times) and max(times) <= last_us), f"{key}: times in its name")
        for facts in segments.values():
            for name in facts.get("restore_points", {}):
                need(points >> crc32c(name.encode()) % 64 & 1, f"{key}: restore points in its name")
            for xid in facts.get("xids", []):
                need((xid - first_xid) % 2 ** 32 <= (last_xid - first_xid) % 2 ** 32, f"{key}: xids in its name")
        return segments

    def pack(self, key):
        data = self.read(key)
        header = Header(data, key)
        footer_at, footer_length, count, _, magic, _, crc = struct.unpack("<IIII8sII", data[-32:])
        need(header.kind == 4 and magic == b"PGVPACK\n" and crc == crc32c(data[-32:-4]), f"{key}: trailer")
        kind, last, number, footer, end = frame(data, footer_at, key)
        need(kind == 2 and last and number == count and end == footer_at + footer_length, f"{key}: footer")
        cursor, at = Cursor(footer), header.length
        need(cursor.varint() == count, f"{key}: count")
        for index in range(count):
            offset, length = struct.unpack("<II", cursor.take(8))
            frame_length, frame_digest, extents = cursor.varint(), cursor.take(16), cursor.varint()
            need(offset == at, f"{key}: frame out of place")
            kind, _, number, plain, at = frame(data, at, key)
            need(kind == 1 and number == index and len(plain) == frame_length and at == offset + length
                 and hash128(plain) == frame_digest, f"{key}: frame {index}")
            need(extents == 1 or frame_length <= 128 * 1024, f"{key}: bundle {index} is too large")
            start = 0
            for _ in range(extents):
                cursor.string(), cursor.varint()
                end = start + cursor.varint()
                cursor.take(16)
                need(extents == 1 or hash128(plain[start:end]) == cursor.take(16), f"{key}: extent of frame {index}")
                start = end
            need(start == frame_length, f"{key}: extents do not fill frame {index}")
        need(at == footer_at, f"{key}: bytes before the footer")

    def table(self, prefix):
        """(path, kind, mode, size, mtime, inherit_below, extents) of every entry."""
        key = prefix + "index"
        data = self.read(key)
        header = Header(data, key)
        cursor = Cursor(b"".join(frames(data, header.length, 5, key)))
        parts, entries, count = cursor.varint(), cursor.varint(), cursor.varint()
        listed = [(cursor.string(), cursor.varint(), cursor.varint(), cursor.varint(), cursor.varint())
                  for _ in range(count)]
        files = []
        for part in range(parts):
            key = f"{prefix}{part:06d}"
            data = self.read(key)
            need(Header(data, key).kind == 5, f"{key}: no file table part")
            for path, _, _, offset, length in [entry for entry in listed if entry[2] == part]:
                kind, _, _, plain, end = frame(data, offset, key)
                need(kind == 4 and end == offset + length, f"{key}: frame at {offset}")
                records = Cursor(plain)
                first = True
                while records.at < len(plain):
                    record(records, files, path if first else None)
                    first = False
        need(len(files) == entries, f"{prefix}index: count of entries")
        return files


class Tail:
    """The streamed tail of a timeline: whose pieces count."""

    def __init__(self, repository, cluster, timeline):
        self.repository, self.cluster, self.timeline = repository, cluster, timeline
        self.runs, self.pieces, self.size = {}, {}, 0
        for key in keys(repository, f"{cluster}/tail/{timeline}"):
            folder, name = key.split("/")[-2:]
            fields = name.removesuffix(".json").split("-")
            if folder == "runs":
                document = json.loads(repository.document(key))
                need([document["epoch"], document["run"]] == [int(field) for field in fields], f"{key}: another run")
                self.size = document["segment_size"]
                self.runs[document["epoch"], document["run"]] = lsn(document["from"]) // self.size
            else:
                run = (int(fields[0]), int(fields[1]))
                self.pieces.setdefault(folder, []).append((run, int(fields[2], 16), int(fields[3], 16), key))
        self.epochs = [json.loads(repository.document(key)) for key in keys(repository, f"{cluster}/epochs")]

    def number(self, name):
        return int(name[8:16], 16) * (2 ** 32 // self.size) + int(name[16:], 16)

    def accepts(self, epoch, segment):
        return all(epoch >= other["number"] for other in self.epochs
                   if other["timeline"] == int(self.timeline, 16) and lsn(other["lsn"]) // self.size <= segment)

    def is_stored(self, segment):
        stored = {}
        for key in keys(self.repository, f"{self.cluster}/wal/{self.timeline}"):
            name = key.rsplit("/", 1)[1]
            if len(name) == 24 or name[24:25] == "~":
                epoch = Header(self.repository.read(key), key).epoch
                if self.accepts(epoch, self.number(name[:24])):
                    stored[self.number(name[:24])] = key
        return segment in stored or bool(stored) and segment < min(stored)

    def is_open(self, run):
        first = self.runs[run]
        for name, pieces in self.pieces.items():
            for other, start, _, _ in pieces:
                if other == run and (self.number(name) > first or (self.number(name) == first and start == 0)):
                    return True
        return self.is_stored(first)

    def holder(self, name):
        if not self.size:
            return None
        segment = self.number(name)
        begun = {run for run, start, _, _ in self.pieces.get(name, []) if start == 0 and self.accepts(run[0], segment)}
        alive = [run for run in begun
                 if not any(other > run and first < segment and self.accepts(other[0], first) and self.is_open(other)
                            for other, first in self.runs.items())]
        return max(alive, default=None)


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def unzigzag(value):
    return value >> 1 ^ -(value & 1)


def wal_facts(cursor, start, time_us):
    """One record of an index object of the WAL; the segment starts at `start`. Also the last time that was read."""
    facts = {"epoch": cursor.varint()}
    flags = cursor.varint()
    if not flags & 1:
        return facts, time_us
    facts["magic"], facts["commits"] = cursor.varint(), cursor.varint()
    if flags & 2:
        facts["first_us"] = time_us + unzigzag(cursor.varint())
        facts["last_us"] = time_us = facts["first_us"] + unzigzag(cursor.varint())
    if flags & 4:
        facts["xids"] = [cursor.varint(), cursor.varint()]
    if flags & 8:
        facts["end_of_records"] = start + unzigzag(cursor.varint())
    facts["switch"] = bool(flags & 16)
    if flags & 32:
        cursor.string()
    if flags & 64:
        cursor.string()
    if flags & 128:
        cursor.varint()
    if flags & 256:
        facts["restore_points"] = {}
        for _ in range(cursor.varint()):
            name = cursor.string().decode(errors="backslashreplace")
            facts["restore_points"][name] = [time_us + unzigzag(cursor.varint()), start + unzigzag(cursor.varint())]
    return facts, time_us


def record(cursor, files, expected_path):
    tag, path = cursor.take(1)[0], cursor.string()
    need(expected_path in (None, path), "an index entry names another path")
    if tag == 1:
        kind, mode, size, mtime, inherit = cursor.take(1)[0], *(cursor.varint() for _ in range(4))
        files.append((path, kind, mode, size, mtime >> 1 ^ -(mtime & 1), inherit, []))
    need(files and files[-1][0] == path, "a continuation without a file")
    end = 0
    for _ in range(cursor.varint()):
        offset = end + cursor.varint()
        plain, pack, at, _ = (cursor.varint() for _ in range(4))
        cursor.take(16)
        frame_length, start, digest = cursor.varint(), 0, None
        if frame_length:
            start, digest = cursor.varint(), cursor.take(16)
        files[-1][6].append((offset, plain, pack, at, start, frame_length or plain, digest))
        end = offset + plain


def pack_keys(cluster, commit):
    """The key of each pack by its number in the table."""
    packs = {}
    for item in commit["packs"]:
        name = item["name"] if "/" in item["name"] else f"{commit['id']}/{item['name']}"
        packs[item.get("number", int(name.rsplit("/", 1)[1]))] = f"{cluster}/data/{name}"
    return packs


def text(value):
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value.encode()


class Chain:
    """A backup and those it inherits from, the newest first."""

    def __init__(self, repository, cluster, backup):
        self.repository, self.cache = repository, {}
        self.commits = [json.loads(repository.document(f"{cluster}/commits/{backup}.json"))]
        for parent in self.commits[0]["parents"]:
            key = f"{cluster}/commits/{parent}.json"
            need(hashlib.sha256(repository.read(key)).hexdigest() == self.commits[0]["parent_commit_digests"][parent],
                 f"{key}: not the parent of {backup}")
            self.commits.append(json.loads(repository.document(key)))
        self.packs = [pack_keys(cluster, commit) for commit in self.commits]
        self.tables = [{entry[0]: entry for entry in repository.table(f"{cluster}/files/{commit['id']}/")}
                       for commit in self.commits]

    def entries(self):
        return self.tables[0].values()

    def content(self, path):
        """A file's bytes: what an extent of the oldest backup has, unless a newer one says otherwise."""
        size = limit = self.tables[0][path][3]
        layers = []
        for packs, table in zip(self.packs, self.tables):
            if limit == 0 or path not in table or table[path][1] != 1:
                break
            _, _, _, length, _, inherit, extents = table[path]
            limit = min(limit, length)
            layers.append((limit, packs, extents))
            limit = min(limit, inherit * self.commits[0]["block_size"])
        need(limit == 0 or len(layers) < len(self.tables), f"{path}: a full backup inherits")
        out = bytearray(size)
        for limit, packs, extents in reversed(layers):
            for extent in extents:
                offset, plain = extent[0], extent[1]
                end = min(offset + plain, limit)
                if offset < end:
                    out[offset:end] = self.extent(packs, extent)[:end - offset]
        return bytes(out)

    def extent(self, packs, extent):
        _, plain, pack, at, start, frame_length, digest = extent
        key = packs[pack]
        if key not in self.cache:
            self.cache.clear()
            self.cache[key] = self.repository.read(key)
        body = frame(self.cache[key], at, key)[3]
        need(len(body) == frame_length and start + plain <= frame_length, f"{key}: frame at {at}")
        body = body[start:start + plain]
        need(digest in (None, hash128(body)), f"{key}: extent at {at}")
        return body


def block_hashes(repository, prefix, commit):
    """The hashes of all blocks, in the order of the file table."""
    out = bytearray()
    for number, item in enumerate(commit["hashes"]):
        key = prefix + item["name"]
        data = repository.read(key)
        need(Header(data, key).kind == 9 and item["name"] == f"hashes-{number:06d}", f"{key}: no block hashes")
        at, index = 140, 0
        while at < len(data):
            need(at == 140 + 65568 * index, f"{key}: frame {index} out of place")
            kind, _, found, plain, at = frame(data, at, key)
            need(kind == 6 and found == index and len(plain) % 16 == 0, f"{key}: frame {index}")
            out += plain
            index += 1
    return bytes(out)


def check_block_hashes(repository, chain, prefix, commit):
    if not commit["block_hashes"]:
        return
    root = json.loads(repository.document("pgvigil.json"))
    need(root["id"] == commit["hash_repository"], f"{prefix}: hashes by another repository's key")
    key, size, expected = bytes.fromhex(root["hash_key"]), commit["block_size"], bytearray()
    for entry in chain.entries():
        for extent in entry[6]:
            data = chain.extent(chain.packs[0], extent)
            for at in range(0, len(data), size):
                expected += hmac.digest(key, data[at:at + size], "sha256")[:16]
    need(block_hashes(repository, prefix, commit) == bytes(expected), f"{prefix}: block hashes")


def clusters(repository):
    return [name for name in sorted(os.listdir(repository.root)) if name.isdigit()]


def keys(repository, prefix):
    for directory, _, names in sorted(os.walk(os.path.join(repository.root, prefix))):
        for name in sorted(names):
            yield os.path.relpath(os.path.join(directory, name), repository.root)


def check(root):
    repository, result = Repository(root), {}
    for cluster in clusters(repository):
        wal, backups = {}, {}
        for key in keys(repository, f"{cluster}/wal"):
            if ".part" not in key.rsplit("/", 1)[1] or ".partial" in key:
                wal[key] = hashlib.sha256(repository.wal(key)).hexdigest()
        index = {key: repository.wal_index(key) for span in (4096, 256)
                 for key in keys(repository, f"{cluster}/walindex/{span}")}
        summaries = {}
        for key in keys(repository, f"{cluster}/commitindex"):
            for commit in json.loads(repository.document(key))["commits"]:
                summaries[commit["id"]] = commit["stop_lsn"]
        tail = {}
        for key in keys(repository, f"{cluster}/tail"):
            folder = key.split("/")[-2]
            if folder != "runs":
                repository.tail_piece(key)
                plain = repository.tail(cluster, folder)
                tail[folder] = None if plain is None else hashlib.sha256(plain).hexdigest()
        for folder in ("epochs", "attempts", "gaps", "tombstones", "keeps", "walindex/expired"):
            for key in keys(repository, f"{cluster}/{folder}"):
                repository.document(key)
        for key in keys(repository, f"{cluster}/commits"):
            commit = json.loads(repository.document(key))
            backup = commit["id"]
            packs = pack_keys(cluster, commit)
            stored = list(zip(packs.values(), commit["packs"]))
            stored += [(f"{cluster}/files/{backup}/{item['name']}", item) for item in commit["table"] + commit["hashes"]]
            for key, item in stored:
                data = repository.read(key)
                need(len(data) == item["size"] and hashlib.sha256(data).hexdigest() == item["sha256"],
                     f"{key}: not what was committed")
            for key in packs.values():
                repository.pack(key)
            chain = Chain(repository, cluster, backup)
            check_block_hashes(repository, chain, f"{cluster}/files/{backup}/", commit)
            backups[backup] = {
                entry[0].decode(errors="backslashreplace"): hashlib.sha256(chain.content(entry[0])).hexdigest()
                for entry in chain.entries() if entry[1] == 1}
        result[cluster] = {"wal": wal, "backups": backups, "walindex": index, "commitindex": summaries,
                           "tail": tail}
    print(json.dumps(result, indent=1, sort_keys=True, ensure_ascii=True))


def restore(root, backup, target):
    repository = Repository(root)
    need(not os.listdir(target), f"{target} is not empty")
    [cluster] = [name for name in clusters(repository)
                 if os.path.exists(os.path.join(root, name, "commits", backup + ".json"))]
    chain = Chain(repository, cluster, backup)
    commit = chain.commits[0]
    for entry in chain.entries():
        path = os.path.join(os.fsencode(target), entry[0])
        if entry[1] == 2:
            os.makedirs(path, mode=0o700, exist_ok=True)
            continue
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, entry[2] & 0o640), "wb") as file:
            file.write(chain.content(entry[0]))
    for name, data in (("backup_label", text(commit["backup_label"])),
                       ("tablespace_map", text(commit["tablespace_map"])),
                       ("global/pg_control", bytes.fromhex(commit["control_file"]))):
        if data:
            os.makedirs(os.path.dirname(os.path.join(target, name)), mode=0o700, exist_ok=True)
            with open(os.open(os.path.join(target, name), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(data)


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "check":
        check(arguments[1])
    elif len(arguments) == 4 and arguments[0] == "restore":
        restore(*arguments[1:])
    elif len(arguments) == 3 and arguments[0] == "wal":
        sys.stdout.buffer.write(Repository(arguments[1]).wal(arguments[2]))
    elif len(arguments) == 3 and arguments[0] == "tail":
        repository = Repository(arguments[1])
        for cluster in clusters(repository):
            sys.stdout.buffer.write(repository.tail(cluster, arguments[2]) or b"")
    else:
        raise SystemExit(__doc__)


main(sys.argv[1:])
