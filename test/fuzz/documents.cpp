// JSON documents of foreign origin: refused, or written back so that they read the same.

#include "repo/documents.h"

#include "fuzz/fuzz.h"
#include "repo/identity_file.h"
#include "repo/wal_object.h"

using namespace pgvigil;

namespace {

template <class Decode> void stable(const Decode &decode) {
    fuzz::accepted([&] {
        const std::string once = encode(decode());
        fuzz::require(!once.empty(), "an empty document");
    });
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const std::string_view text = as_text(fuzz::view(data, size));
    stable([&] { return decode_repository(text, "fuzz"); });
    stable([&] { return decode_epoch(text, "fuzz"); });
    stable([&] { return decode_attempt(text, "fuzz"); });
    fuzz::accepted([&] {
        const std::string once = encode(decode_commit(text, "fuzz"));
        fuzz::require(encode(decode_commit(once, "fuzz")) == once, "a commit is not written back the same");
    });
    fuzz::accepted([&] {
        const std::string once = encode_wal_facts(decode_wal_facts(text, "fuzz"));
        fuzz::require(encode_wal_facts(decode_wal_facts(once, "fuzz")) == once, "facts are not written back the same");
    });
    fuzz::accepted([&] { (void)identity_file::encode(identity_file::decode(text, "fuzz")); });
    return 0;
}
