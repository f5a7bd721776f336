#include "server/pg.h"

#include "server/sql_rows.h"

#include "server/boundary.h"

#include "base/time.h"

namespace pgvigil {

Cell timestamp_cell(TimestampTz time) {
    return time == 0 ? std::nullopt : Cell(postgres_time_us(unix_us_from_postgres(time)));
}

Cell unix_ms_cell(int64_t unix_ms) {
    return unix_ms == 0 ? std::nullopt : Cell(postgres_time_us(unix_ms * 1000));
}

Cell seconds_cell(double seconds) {
    return std::to_string(seconds) + " seconds";
}

Cell text_array_cell(const std::vector<std::string> &items) {
    std::string text = "{";
    for (const std::string &item : items) {
        text += text.size() > 1 ? ",\"" : "\"";
        for (const char c : item) {
            if (c == '"' || c == '\\')
                text += '\\';
            text += c;
        }
        text += '"';
    }
    return text + "}";
}

Datum return_rows(FunctionCallInfo fcinfo, const Rows &rows, bool scalar) {
    AttInMetadata *meta = nullptr;
    pg_section([&]() noexcept {
        InitMaterializedSRF(fcinfo, scalar ? MAT_SRF_USE_EXPECTED_DESC : 0);
        meta = TupleDescGetAttInMetadata(reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo)->setDesc);
    });
    std::vector<char *> values;
    for (const Row &row : rows) {
        if (static_cast<int>(row.size()) != meta->tupdesc->natts)
            throw Error(ErrorCode::kInternal, "a row has " + std::to_string(row.size()) + " columns instead of " +
                                                  std::to_string(meta->tupdesc->natts))
                .hint("The extension's SQL objects and the loaded library are of different versions: ALTER EXTENSION "
                      "pgvigil UPDATE, or restart the server.");
        values.clear();
        for (const Cell &value : row)
            values.push_back(value ? const_cast<char *>(value->c_str()) : nullptr);
        char **const pointers = values.data();
        pg_section([=]() noexcept {
            auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
            tuplestore_puttuple(result->setResult, BuildTupleFromCStrings(meta, pointers));
        });
    }
    return static_cast<Datum>(0);
}

void require_argument(FunctionCallInfo fcinfo, int number, const char *name) {
    if (PG_ARGISNULL(number))
        throw Error(ErrorCode::kInvalidArgument, std::string("argument \"") + name + "\" is null");
}

std::string text_argument(FunctionCallInfo fcinfo, int number, const char *name) {
    require_argument(fcinfo, number, name);
    char *value = nullptr;
    pg_section([&]() noexcept { value = text_to_cstring(PG_GETARG_TEXT_PP(number)); });
    return value;
}

} // namespace pgvigil
