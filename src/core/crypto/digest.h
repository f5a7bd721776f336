// Message digests and base64, all by OpenSSL: SHA-256 and HMAC-SHA-256 protect, MD5 is only what the S3 protocol calls
// Content-MD5.
// Threading: free functions may be called from any thread; a streaming object belongs to one thread at a time.
// Errors: kInternal when OpenSSL refuses a digest (it never does for valid arguments).
#pragma once

#include "base/bytes.h"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace pgvigil {

using Sha256Digest = std::array<std::byte, 32>;
using Md5Digest = std::array<std::byte, 16>;

// A SHA-256 over bytes that arrive piece by piece.
class Sha256 {
  public:
    Sha256();

    void update(ByteView bytes);
    // The digest of everything since construction or the previous finish(); starts over.
    [[nodiscard]] Sha256Digest finish();

  private:
    struct Free {
        void operator()(evp_md_ctx_st *context) const noexcept;
    };
    void start();
    std::unique_ptr<evp_md_ctx_st, Free> context_;
};

[[nodiscard]] Sha256Digest sha256(ByteView bytes);
[[nodiscard]] Md5Digest md5(ByteView bytes);

struct BothDigests {
    Sha256Digest sha256;
    Md5Digest md5;
};
// Both of the same bytes; of many bytes at the same time, on a second thread.
[[nodiscard]] BothDigests sha256_and_md5(ByteView bytes);

[[nodiscard]] Sha256Digest hmac_sha256(ByteView key, ByteView bytes);

// Standard alphabet with padding, one line.
[[nodiscard]] std::string to_base64(ByteView bytes);
// nullopt unless `text` is exactly what to_base64() would write.
[[nodiscard]] std::optional<Bytes> from_base64(std::string_view text);

} // namespace pgvigil
