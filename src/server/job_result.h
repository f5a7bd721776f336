// How a job other than a backup ended. Threading: a value.
#pragma once

#include "base/error.h"

#include <cstdint>
#include <optional>
#include <string>

namespace pgvigil {

struct JobResult {
    std::string message;          // what was done, in one line
    uint64_t bytes = 0;           // read by a verification, freed by expiry
    std::optional<Error> problem; // found by a run that came to its end: trying again would find it again
};

} // namespace pgvigil
