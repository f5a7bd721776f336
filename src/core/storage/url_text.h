// Percent-encoding (RFC 3986), as URLs of repositories, S3 requests and S3 listings need it.
// Threading: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pgvigil {

// Every byte but the unreserved ones (letters, digits, "-._~") and those in `keep` becomes %XX, upper case.
[[nodiscard]] std::string percent_encode(std::string_view text, std::string_view keep = {});

// nullopt when a % is not followed by two hexadecimal digits, or stands for a zero byte.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text);

} // namespace pgvigil
