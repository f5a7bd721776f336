// What went wrong with a request that got no answer, in words a user can act on.
#pragma once

#include "base/error.h"
#include "storage/http/http_client.h"

#include <curl/curl.h>
#include <string>

namespace pgvigil {

// `text` is libcurl's own explanation; may be empty. Retryable unless it is about certificates or settings.
[[nodiscard]] Error transport_error(CURLcode code, const char *text, const std::string &url,
                                    const HttpOptions &options);

} // namespace pgvigil
