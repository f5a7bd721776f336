#include "server/pg.h"

#include "server/setting_check.h"

namespace pgvigil {

void describe_bad_setting(const std::string &message, const std::string &detail, const std::string &hint) noexcept {
    static char text[1024];
    static char advice[512];
    const char first = message.empty() ? '\0' : message[0];
    const bool lower = first >= 'a' && first <= 'z';
    snprintf(text, sizeof text, "%c%s.%s%s", lower ? first - 'a' + 'A' : first,
             message.empty() ? "" : message.c_str() + 1, detail.empty() ? "" : " ", detail.c_str());
    strlcpy(advice, hint.c_str(), sizeof advice);
    GUC_check_errdetail("%s", text);
    if (advice[0] != '\0')
        GUC_check_errhint("%s", advice);
}

void check_absolute_path(const std::string &path) {
    if (!path.empty() && path[0] != '/')
        throw Error(ErrorCode::kInvalidArgument, "\"" + path + "\" is not an absolute path")
            .detail("Expected the path of a file, starting with \"/\", or an empty string.");
}

} // namespace pgvigil
