// Credentials that a service hands out for a while: STS for a web identity, a container's agent, EC2's metadata service
// in version 2. Metadata services are asked directly, whatever proxies the environment names.
#pragma once

#include "storage/s3/credentials.h"

#include <memory>
#include <string>

namespace pgvigil::s3 {

[[nodiscard]] std::unique_ptr<CredentialsProvider> make_web_identity_credentials(const CredentialsOptions &options,
                                                                                 std::string region);
[[nodiscard]] std::unique_ptr<CredentialsProvider> make_container_credentials(const Environment &environment);
[[nodiscard]] std::unique_ptr<CredentialsProvider> make_instance_credentials(const Environment &environment);

} // namespace pgvigil::s3
