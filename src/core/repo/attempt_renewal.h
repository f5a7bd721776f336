// attempts/<id>~<6 digits>.json: written by a running backup about once a minute, so that others see by the store's
// clock that it lives, and listing the packs it stored, so that the next attempt can take them over without reading
// them whole (rules A7). Threading: pure functions.
#pragma once

#include "repo/documents.h"
#include "repo/layout.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

struct RenewalDocument {
    std::string attempt;             // the backup's id
    uint32_t number = 0;             // from 0, without a hole
    int64_t time_ms = 0;             // the writer's clock
    std::vector<StoredObject> packs; // stored everywhere since the renewal before
};

[[nodiscard]] std::string encode(const RenewalDocument &document);
[[nodiscard]] RenewalDocument decode_renewal(std::string_view json, std::string_view key);

} // namespace pgvigil
