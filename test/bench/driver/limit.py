"""The limit: the same bytes read, compressed on all cores and PUT, or fetched, decompressed and written, by a program
that does nothing else. Payloads are signed, as every PUT of S3 over plain SDKs is; nothing else is hashed."""
import concurrent.futures
import os
import threading
import time

import zstd
from s3client import S3Client

PIECE = 8 << 20
LEVEL = 1
_local = threading.local()


def _client(store):
    if not hasattr(_local, "client"):
        _local.client = S3Client(store.endpoint, store.bucket, store.access_key, store.secret_key, store.region)
    return _local.client


def _pool():
    return concurrent.futures.ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1))


def pieces_of(paths, piece):
    """(path, offset, length) of everything in files, large ones in pieces."""
    for path in paths:
        size = os.path.getsize(path)
        for offset in range(0, size, piece):
            yield path, offset, min(piece, size - offset)


def _groups(pieces, limit):
    """Small files travel together."""
    group, size = [], 0
    for piece in pieces:
        if group and size + piece[2] > limit:
            yield group
            group, size = [], 0
        group.append(piece)
        size += piece[2]
    if group:
        yield group


def upload(store, prefix, paths, piece=PIECE):
    """Reads, compresses and PUTs objects of up to `piece` plain bytes; returns (seconds, what was stored)."""
    begin = time.monotonic()

    def one(number, group):
        parts = []
        for path, offset, length in group:
            with open(path, "rb", buffering=0) as file:
                parts.append(os.pread(file.fileno(), length, offset))
        plain = parts[0] if len(parts) == 1 else b"".join(parts)
        packed = zstd.compress(plain, LEVEL)
        key = f"{prefix}/{number}"
        _client(store).put(key, packed)
        return key, group, len(plain)

    with _pool() as pool:
        stored = list(pool.map(lambda item: one(*item), enumerate(_groups(pieces_of(paths, piece), piece))))
    return time.monotonic() - begin, stored


def upload_one(store, key, path):
    """One file as one object, by one thread; returns the seconds."""
    begin = time.monotonic()
    with open(path, "rb", buffering=0) as file:
        plain = file.read()
    _client(store).put(key, zstd.compress(plain, LEVEL))
    return time.monotonic() - begin


def download(store, stored, directory):
    """Fetches, decompresses, writes and syncs what upload() stored; returns the seconds."""
    begin = time.monotonic()
    os.makedirs(directory)
    names, descriptors = {}, {}
    for _, group, _ in stored:
        for path, _, _ in group:
            if path not in names:
                names[path] = os.path.join(directory, str(len(names)))
                descriptors[path] = os.open(names[path], os.O_CREAT | os.O_WRONLY, 0o600)

    def one(item):
        key, group, size = item
        plain = zstd.decompress(_client(store).get(key), size)
        position = 0
        for path, offset, length in group:
            os.pwrite(descriptors[path], plain[position:position + length], offset)
            position += length

    def finish(descriptor):
        os.fsync(descriptor)
        os.close(descriptor)

    with _pool() as pool:
        list(pool.map(one, stored))
        list(pool.map(finish, descriptors.values()))
    return time.monotonic() - begin
