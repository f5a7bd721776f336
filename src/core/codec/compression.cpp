#include "codec/compression.h"

#include "base/error.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <lz4.h>
#include <utility>
#include <zstd.h>

namespace pgvigil {

namespace {

constexpr int kMinZstdLevel = -7;
constexpr int kMaxZstdLevel = 19;

template <auto Free> struct Deleter {
    template <class T> void operator()(T *object) const noexcept { Free(object); }
};

Error bad_compression(std::string_view text) {
    return Error(ErrorCode::kInvalidArgument, "invalid compression \"" + std::string(text.substr(0, 80)) + "\"")
        .detail("Expected \"none\", \"lz4\", \"zstd\" or \"zstd:<level>\" with a level from -7 to 19.");
}

} // namespace

Compression parse_compression(std::string_view text) {
    if (text == "none")
        return {Codec::kNone, 0};
    if (text == "lz4")
        return {Codec::kLz4, 0};
    if (text == "zstd")
        return {Codec::kZstd, 1};
    constexpr std::string_view kPrefix = "zstd:";
    if (!text.starts_with(kPrefix))
        throw bad_compression(text);
    const std::string_view digits = text.substr(kPrefix.size());
    int level = 0;
    const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), level);
    if (status != std::errc() || end != digits.data() + digits.size() || level < kMinZstdLevel || level > kMaxZstdLevel)
        throw bad_compression(text);
    return {Codec::kZstd, level};
}

std::string to_string(const Compression &compression) {
    switch (compression.codec) {
    case Codec::kNone:
        return "none";
    case Codec::kLz4:
        return "lz4";
    case Codec::kZstd:
        break;
    }
    return "zstd:" + std::to_string(compression.level);
}

struct Compressor::State {
    explicit State(Compression wanted) : compression(wanted) {
        if (compression.codec != Codec::kZstd)
            return;
        zstd.reset(ZSTD_createCCtx());
        if (zstd == nullptr)
            throw Error(ErrorCode::kOutOfMemory, "could not create a zstd context").retryable();
        ZSTD_CCtx_setParameter(zstd.get(), ZSTD_c_compressionLevel, compression.level);
        // The frame around it has a better checksum and knows the length.
        ZSTD_CCtx_setParameter(zstd.get(), ZSTD_c_checksumFlag, 0);
        ZSTD_CCtx_setParameter(zstd.get(), ZSTD_c_contentSizeFlag, 0);
    }

    size_t bound(size_t plain) const noexcept {
        if (compression.codec == Codec::kZstd)
            return ZSTD_compressBound(plain);
        return static_cast<size_t>(LZ4_compressBound(static_cast<int>(plain)));
    }

    // The compressed length, or 0 when it failed or did not fit.
    size_t run(ByteView plain, std::span<std::byte> out) {
        if (compression.codec == Codec::kZstd) {
            const size_t length = ZSTD_compress2(zstd.get(), out.data(), out.size(), plain.data(), plain.size());
            return ZSTD_isError(length) != 0 ? 0 : length;
        }
        const int length =
            LZ4_compress_default(reinterpret_cast<const char *>(plain.data()), reinterpret_cast<char *>(out.data()),
                                 static_cast<int>(plain.size()), static_cast<int>(out.size()));
        return static_cast<size_t>(length);
    }

    Compression compression;
    std::unique_ptr<ZSTD_CCtx, Deleter<ZSTD_freeCCtx>> zstd;
    Bytes scratch;
};

Compressor::Compressor(Compression compression) : state_(std::make_unique<State>(compression)) {}
Compressor::~Compressor() = default;
Compressor::Compressor(Compressor &&) noexcept = default;
Compressor &Compressor::operator=(Compressor &&) noexcept = default;

Codec Compressor::compress(ByteView plain, Bytes &out) {
    const Codec codec = state_->compression.codec;
    if (codec != Codec::kNone && !plain.empty() && plain.size() <= LZ4_MAX_INPUT_SIZE) {
        // Into memory that stays in the processor's cache: room for the worst case at the end of `out` would be filled
        // with zeroes first, every time.
        Bytes &scratch = state_->scratch;
        scratch.resize(std::max(scratch.size(), state_->bound(plain.size())));
        const size_t length = state_->run(plain, scratch);
        if (length > 0 && length < plain.size()) {
            out.insert(out.end(), scratch.begin(), scratch.begin() + static_cast<ptrdiff_t>(length));
            return codec;
        }
    }
    out.insert(out.end(), plain.begin(), plain.end());
    return Codec::kNone;
}

struct Decompressor::State {
    std::unique_ptr<ZSTD_DCtx, Deleter<ZSTD_freeDCtx>> zstd;
};

Decompressor::Decompressor() : state_(std::make_unique<State>()) {}
Decompressor::~Decompressor() = default;
Decompressor::Decompressor(Decompressor &&) noexcept = default;
Decompressor &Decompressor::operator=(Decompressor &&) noexcept = default;

void Decompressor::decompress(Codec codec, ByteView stored, std::span<std::byte> plain) {
    bool good = false;
    if (codec == Codec::kNone) {
        good = stored.size() == plain.size();
        if (good)
            std::copy(stored.begin(), stored.end(), plain.begin());
    } else if (codec == Codec::kLz4) {
        constexpr size_t kLimit = std::numeric_limits<int>::max();
        if (stored.size() <= kLimit && plain.size() <= kLimit) {
            const int length = LZ4_decompress_safe(reinterpret_cast<const char *>(stored.data()),
                                                   reinterpret_cast<char *>(plain.data()),
                                                   static_cast<int>(stored.size()), static_cast<int>(plain.size()));
            good = length >= 0 && static_cast<size_t>(length) == plain.size();
        }
    } else if (codec == Codec::kZstd) {
        // In one pass: the output is the window, whatever window the bytes ask for nothing is allocated (rules E7).
        if (state_->zstd == nullptr) {
            state_->zstd.reset(ZSTD_createDCtx());
            if (state_->zstd == nullptr)
                throw Error(ErrorCode::kOutOfMemory, "could not create a zstd context").retryable();
        }
        good = ZSTD_decompressDCtx(state_->zstd.get(), plain.data(), plain.size(), stored.data(), stored.size()) ==
               plain.size();
    }
    if (!good)
        throw Error(ErrorCode::kCorrupt, "compressed data is damaged")
            .detail("It does not decompress to " + std::to_string(plain.size()) + " bytes.");
}

} // namespace pgvigil
