// Repository URLs typed by a user: refused with a message, or understood; the normalised form means the same.

#include "codec/compression.h"
#include "fuzz/fuzz.h"
#include "storage/repository_url.h"

using namespace pgvigil;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const std::string_view text = as_text(fuzz::view(data, size));
    RepositoryUrl url;
    if (fuzz::accepted([&] { url = parse_repository_url(text); })) {
        const std::string normalised = url.normalised();
        fuzz::require(parse_repository_url(normalised).normalised() == normalised, "a normalised URL is not stable");
        fuzz::require(!url.display_name().empty(), "a URL without a name for messages");
    }
    fuzz::accepted([&] { (void)parse_repository_list(text); });
    Compression compression;
    if (fuzz::accepted([&] { compression = parse_compression(text); }))
        fuzz::require(parse_compression(to_string(compression)) == compression, "a compression is not written back");
    return 0;
}
