#include "crypto/digest.h"

#include <gtest/gtest.h>

namespace pgvigil {
namespace {

TEST(Digest, Sha256OfPublishedVectors) {
    EXPECT_EQ(to_hex(sha256(as_view(""))), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(to_hex(sha256(as_view("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Digest, StreamingEqualsOneShotAndStartsOver) {
    Sha256 digest;
    digest.update(as_view("a"));
    digest.update(as_view(""));
    digest.update(as_view("bc"));
    EXPECT_EQ(digest.finish(), sha256(as_view("abc")));
    EXPECT_EQ(digest.finish(), sha256(as_view("")));
}

TEST(Digest, HmacOfRfc4231) {
    EXPECT_EQ(to_hex(hmac_sha256(as_view("Jefe"), as_view("what do ya want for nothing?"))),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    EXPECT_EQ(to_hex(hmac_sha256(as_view(""), as_view(""))),
              "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(Digest, Md5OfRfc1321) {
    EXPECT_EQ(to_hex(md5(as_view("message digest"))), "f96b697d7cb7938d525a2f31aaf161d0");
}

TEST(Digest, BothAtOnceAreEachItself) {
    for (const size_t size : {size_t{0}, size_t{100}, kMiB, 3 * kMiB + 1}) {
        const Bytes bytes(size, std::byte{0x5a});
        const BothDigests both = sha256_and_md5(bytes);
        EXPECT_EQ(both.sha256, sha256(bytes));
        EXPECT_EQ(both.md5, md5(bytes));
    }
}

TEST(Digest, Base64HasOneFormOnly) {
    for (const auto &[plain, encoded] :
         {std::pair{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}}) {
        EXPECT_EQ(to_base64(as_view(plain)), encoded);
        EXPECT_EQ(from_base64(encoded), to_bytes(plain));
    }
    for (const char *wrong : {"Zg=", "Zg", "Zh==", "Z===", " Zg==", "Zg==\n", "Zm9v!", "===="})
        EXPECT_EQ(from_base64(wrong), std::nullopt) << wrong;
}

} // namespace
} // namespace pgvigil
