// Timeline history files and names of relation files.

#include "pgdata/history_file.h"

#include "fuzz/fuzz.h"
#include "pgdata/relation_path.h"

using namespace pgvigil;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const std::string_view text = as_text(fuzz::view(data, size));
    fuzz::accepted([&] {
        TimelineId last = 0;
        for (const TimelineSwitch &entry : parse_history_file(text, 1000)) {
            fuzz::require(entry.timeline > last && entry.timeline < 1000, "timelines out of order");
            last = entry.timeline;
        }
    });
    (void)parse_relation_path(text);
    (void)parse_relation_file_name(text);
    (void)is_temp_relation_name(text);
    return 0;
}
