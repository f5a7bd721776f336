// Packs of foreign origin, and footers of foreign origin in a pack that is whole otherwise.

#include "repo/pack.h"

#include "base/crc32c.h"
#include "fuzz/fuzz.h"

using namespace pgvigil;

namespace {

void read(ByteView pack) {
    fuzz::accepted([&] {
        for (const PackedExtent &extent : read_pack_footer(pack, "fuzz")) {
            fuzz::require(uint64_t{extent.place.offset} + extent.place.length <= pack.size() &&
                              extent.frame_length <= kMaxExtentBytes,
                          "a frame outside of its pack");
            fuzz::require(extent.plain_length > 0 &&
                              uint64_t{extent.frame_offset} + extent.plain_length <= extent.frame_length,
                          "an extent outside of its frame");
        }
    });
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input = fuzz::view(data, size);
    read(input);
    if (input.empty() || input.size() > kMiB)
        return 0;
    Bytes pack;
    ObjectHeader header;
    header.kind = ObjectKind::kPack;
    header.digest_id = 0;
    append_header(pack, header);
    const size_t footer_at = pack.size();
    FrameEncoder({Codec::kNone, 0})
        .append(pack, FrameType::kPackFooter, input.subspan(1), std::to_integer<uint32_t>(input[0]), true);
    ByteWriter trailer;
    trailer.u32(static_cast<uint32_t>(footer_at));
    trailer.u32(static_cast<uint32_t>(pack.size() - footer_at));
    trailer.u64(0);
    trailer.bytes(as_view("PGVPACK\n"));
    trailer.u32(0);
    trailer.u32(crc32c(trailer.view()));
    pack.insert(pack.end(), trailer.view().begin(), trailer.view().end());
    read(pack);
    return 0;
}
