// The JSON documents of a repository: refused with an error that names the object, or understood; what is understood is
// written back with the same meaning.

#include "fuzz/fuzz.h"
#include "pgdata/history_file.h"
#include "repo/documents.h"

using namespace pgvigil;

namespace {

template <class Decode> void check(std::string_view text, Decode decode) {
    std::string once;
    if (fuzz::accepted([&] { once = encode(decode(text, "fuzz.json")); }))
        fuzz::require(encode(decode(once, "fuzz.json")) == once, "a document is not written back the same");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const std::string_view text = as_text(fuzz::view(data, size));
    check(text, decode_repository);
    check(text, decode_epoch);
    check(text, decode_attempt);
    check(text, decode_commit);
    fuzz::accepted([&] { (void)parse_history_file(text, 7); });
    return 0;
}
