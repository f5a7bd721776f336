#include "crypto/digest.h"

#include "base/error.h"
#include "base/signal_mask.h"

#include <future>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <system_error>

namespace pgvigil {

namespace {

[[noreturn]] void fail(const char *what) {
    char text[256] = "";
    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    throw Error(ErrorCode::kInternal, std::string("could not compute ") + what + ": " + text);
}

struct FreeDigest {
    void operator()(EVP_MD *digest) const noexcept { EVP_MD_free(digest); }
};

// Fetched once: an implicit fetch per digest costs more than hashing a small document. MD5 is asked for without the
// FIPS property, because Content-MD5 is no use of cryptography.
const EVP_MD *sha256_algorithm() {
    static const std::unique_ptr<EVP_MD, FreeDigest> digest(EVP_MD_fetch(nullptr, "SHA256", nullptr));
    if (!digest)
        fail("SHA-256");
    return digest.get();
}

const EVP_MD *md5_algorithm() {
    static const std::unique_ptr<EVP_MD, FreeDigest> digest(EVP_MD_fetch(nullptr, "MD5", "-fips"));
    if (!digest)
        fail("MD5");
    return digest.get();
}

unsigned char *raw(std::byte *bytes) noexcept {
    return reinterpret_cast<unsigned char *>(bytes);
}
const unsigned char *raw(const std::byte *bytes) noexcept {
    return reinterpret_cast<const unsigned char *>(bytes);
}

} // namespace

void Sha256::Free::operator()(evp_md_ctx_st *context) const noexcept {
    EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
    if (!context_)
        throw Error(ErrorCode::kOutOfMemory, "out of memory");
    start();
}

void Sha256::start() {
    if (EVP_DigestInit_ex2(context_.get(), sha256_algorithm(), nullptr) != 1)
        fail("SHA-256");
}

void Sha256::update(ByteView bytes) {
    if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1)
        fail("SHA-256");
}

Sha256Digest Sha256::finish() {
    Sha256Digest digest;
    if (EVP_DigestFinal_ex(context_.get(), raw(digest.data()), nullptr) != 1)
        fail("SHA-256");
    start();
    return digest;
}

Sha256Digest sha256(ByteView bytes) {
    Sha256Digest digest;
    if (EVP_Digest(bytes.data(), bytes.size(), raw(digest.data()), nullptr, sha256_algorithm(), nullptr) != 1)
        fail("SHA-256");
    return digest;
}

Md5Digest md5(ByteView bytes) {
    Md5Digest digest;
    if (EVP_Digest(bytes.data(), bytes.size(), raw(digest.data()), nullptr, md5_algorithm(), nullptr) != 1)
        fail("MD5");
    return digest;
}

BothDigests sha256_and_md5(ByteView bytes) {
    // Below this a thread costs more than it saves.
    constexpr size_t kWorthAThread = kMiB;
    std::future<Md5Digest> other;
    if (bytes.size() >= kWorthAThread) {
        const SignalsBlocked blocked;
        try {
            other = std::async(std::launch::async, [bytes] { return md5(bytes); });
        } catch (const std::system_error &) {
            // No thread to be had: one after the other, then.
        }
    }
    const Sha256Digest first = sha256(bytes);
    return {first, other.valid() ? other.get() : md5(bytes)};
}

Sha256Digest hmac_sha256(ByteView key, ByteView bytes) {
    // HMAC() takes a null key as "the previous one".
    const std::byte empty{};
    Sha256Digest digest;
    unsigned int length = digest.size();
    if (HMAC(sha256_algorithm(), key.empty() ? &empty : key.data(), static_cast<int>(key.size()), raw(bytes.data()),
             bytes.size(), raw(digest.data()), &length) == nullptr)
        fail("HMAC-SHA-256");
    return digest;
}

std::string to_base64(ByteView bytes) {
    // EVP_EncodeBlock() also writes a terminating zero.
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
    const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char *>(text.data()), raw(bytes.data()),
                                       static_cast<int>(bytes.size()));
    text.resize(static_cast<size_t>(length));
    return text;
}

std::optional<Bytes> from_base64(std::string_view text) {
    if (text.size() % 4 != 0)
        return std::nullopt;
    Bytes bytes(text.size() / 4 * 3);
    const int length = EVP_DecodeBlock(raw(bytes.data()), reinterpret_cast<const unsigned char *>(text.data()),
                                       static_cast<int>(text.size()));
    if (length < 0)
        return std::nullopt;
    const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    bytes.resize(static_cast<size_t>(length) - padding);
    // The decoder is lenient (spaces, stray bits); what is stored must have one form only.
    if (to_base64(bytes) != text)
        return std::nullopt;
    return bytes;
}

} // namespace pgvigil
