// The plain bytes of an index object of the WAL: one record per stored segment. See docs/repository-format.md.
// Threading: pure functions. Errors: kCorrupt naming the key.
#pragma once

#include "repo/wal_index.h"

#include <string_view>
#include <vector>

namespace pgvigil {

[[nodiscard]] Bytes encode_indexed_segments(const WalBlock &block, const std::vector<IndexedSegment> &segments);
[[nodiscard]] std::vector<IndexedSegment> decode_indexed_segments(const WalBlock &block, ByteView plain,
                                                                  std::string_view key);

} // namespace pgvigil
