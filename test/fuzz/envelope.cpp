// Headers and documents of foreign origin; the same with the checksum made right, so that what is behind it is reached.

#include "repo/envelope.h"

#include "base/crc32c.h"
#include "fuzz/fuzz.h"

#include <algorithm>

using namespace pgvigil;

namespace {

void read(ByteView bytes) {
    fuzz::accepted([&] {
        const ParsedHeader parsed = parse_header(bytes, "fuzz");
        Bytes again;
        append_header(again, parsed.header);
        fuzz::require(parsed.length <= bytes.size() && std::ranges::equal(again, bytes.first(parsed.length)),
                      "a header is not written back the same");
    });
    fuzz::accepted([&] { (void)decode_document(bytes, "fuzz"); });
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    read(input);
    constexpr size_t kFixed = 136;
    if (input.size() < kFixed + 4)
        return 0;
    Bytes sealed(input.begin(), input.end());
    const size_t extension = std::min<size_t>(load_le<uint32_t>(sealed.data() + 20), sealed.size() - kFixed - 4);
    const uint32_t crc = crc32c(ByteView(sealed).first(kFixed + extension));
    for (size_t i = 0; i < 4; ++i) {
        sealed[20 + i] = static_cast<std::byte>(extension >> (8 * i));
        sealed[kFixed + extension + i] = static_cast<std::byte>(crc >> (8 * i));
    }
    read(sealed);
    return 0;
}
