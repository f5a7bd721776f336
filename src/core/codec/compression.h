// Compression of single buffers with the codecs a frame may name.
// Threading: a Compressor or Decompressor belongs to one thread at a time (it owns a reused context); make one per
// thread.
#pragma once

#include "base/bytes.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace pgvigil {

// The numbers are stored; never renumber.
enum class Codec : uint8_t { kNone = 0, kLz4 = 1, kZstd = 2 };

struct Compression {
    Codec codec = Codec::kZstd;
    int level = 1; // zstd only: -7 to 19 (the decoder's window stays within 32 MiB)

    friend bool operator==(const Compression &, const Compression &) = default;
};

// "none", "lz4", "zstd", "zstd:<level>". Throws kInvalidArgument naming the value and what is expected.
[[nodiscard]] Compression parse_compression(std::string_view text);
[[nodiscard]] std::string to_string(const Compression &compression);

class Compressor {
  public:
    explicit Compressor(Compression compression);
    ~Compressor();
    Compressor(Compressor &&) noexcept;
    Compressor &operator=(Compressor &&) noexcept;

    // Appends the compressed form of `plain` to `out` and returns the codec used: kNone, with the plain bytes appended,
    // when compression would not make it smaller.
    Codec compress(ByteView plain, Bytes &out);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

class Decompressor {
  public:
    Decompressor();
    ~Decompressor();
    Decompressor(Decompressor &&) noexcept;
    Decompressor &operator=(Decompressor &&) noexcept;

    // Fills `plain` exactly. Throws kCorrupt when `stored` does not decompress to plain.size() bytes; never writes past
    // it.
    void decompress(Codec codec, ByteView stored, std::span<std::byte> plain);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace pgvigil
