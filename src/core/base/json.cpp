#include "base/json.h"

namespace pgvigil {

Json parse_json(std::string_view text, std::string_view what) {
    const std::string name(what);
    if (text.size() > kMaxDocumentBytes)
        throw Error(ErrorCode::kCorrupt, "document \"" + name + "\" is too large")
            .detail("It has " + std::to_string(text.size()) + " bytes; at most " + std::to_string(kMaxDocumentBytes) +
                    " are accepted.");
    try {
        const auto limit_depth = [](int depth, Json::parse_event_t event, Json & /*value*/) {
            const bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
            if (opens && depth >= kMaxDocumentDepth)
                throw Error(ErrorCode::kCorrupt, "nested too deeply");
            return true;
        };
        Json document = Json::parse(text, limit_depth);
        if (!document.is_object())
            throw Error(ErrorCode::kCorrupt, "not an object");
        return document;
    } catch (const nlohmann::json::exception &error) {
        throw Error(ErrorCode::kCorrupt, "document \"" + name + "\" is not valid JSON").detail(error.what());
    } catch (const Error &error) {
        throw error.with_context("document \"" + name + "\"");
    }
}

} // namespace pgvigil
