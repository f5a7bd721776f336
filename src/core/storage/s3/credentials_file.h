// The files of ~/.aws: credentials and config, and the file pgvigil.credentials_file names, which has the form of the
// former.
// Threading: pure functions over files. Errors: kInvalidArgument or kAccessDenied, naming the file and never its
// content.
#pragma once

#include "storage/s3/credentials.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace pgvigil::s3 {

using IniSection = std::map<std::string, std::string>;
using IniFile = std::map<std::string, IniSection>;

// "[section]" and "name = value" lines; '#' and ';' begin comments. Throws kInvalidArgument naming `path` and the
// line's number.
[[nodiscard]] IniFile parse_ini(std::string_view text, std::string_view path);

// The section of ~/.aws/config for the profile in force; empty when there is none.
[[nodiscard]] IniSection config_section(const CredentialsOptions &options);

[[nodiscard]] std::unique_ptr<CredentialsProvider> make_file_credentials(const CredentialsOptions &options);

// A file of at most 1 MiB; nullopt when it does not exist.
[[nodiscard]] std::optional<std::string> read_small_file(const std::string &path);

} // namespace pgvigil::s3
