"""Zstandard from the system's library; calls release Python's lock, so threads use all cores."""
import ctypes
import ctypes.util

_library = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
for _name in ("ZSTD_compressBound", "ZSTD_compress", "ZSTD_decompress"):
    getattr(_library, _name).restype = ctypes.c_size_t
_library.ZSTD_isError.argtypes = [ctypes.c_size_t]
_library.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
_library.ZSTD_compress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
_library.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


def _checked(size):
    if _library.ZSTD_isError(size):
        raise ValueError("zstd failed")
    return size


def compress(data, level):
    buffer = ctypes.create_string_buffer(_library.ZSTD_compressBound(len(data)))
    size = _checked(_library.ZSTD_compress(buffer, len(buffer), data, len(data), level))
    return ctypes.string_at(buffer, size)


def decompress(data, plain_size):
    """Returns a writable buffer of plain_size bytes."""
    buffer = ctypes.create_string_buffer(plain_size)
    if _checked(_library.ZSTD_decompress(buffer, plain_size, data, len(data))) != plain_size:
        raise ValueError("zstd: unexpected length")
    return memoryview(buffer)
