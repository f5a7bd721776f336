// HTTP/1.1 over libcurl: one request at a time per connection, connections kept alive and reused, several at once.
//
// Guarantees: answers are bounded; redirects are not followed; certificates and host names are verified; a cancelled
// request ends within about 100 ms. Nothing of libcurl is initialised before the first request, so that a process may
// fork after constructing a client.
// Threading: perform() may be called by many threads; beyond max_connections callers wait.
// Errors: perform() throws for requests without an answer (kUnavailable, kTimeout, kCancelled); any answer, 5xx
// included, is a value.
#pragma once

#include "base/bytes.h"
#include "base/cancel.h"
#include "base/error.h"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pgvigil {

using NameValues = std::vector<std::pair<std::string, std::string>>;

struct HttpOptions {
    std::string ca_file; // "" for the system's certificates
    std::chrono::milliseconds connect_timeout{10000};
    std::chrono::milliseconds stall_timeout{30000}; // without a byte moving
    std::chrono::milliseconds total_timeout{0};     // of a whole request; 0 = no limit
    size_t max_connections = 16;
};

struct HttpRequest {
    std::string method; // GET, HEAD, PUT, POST or DELETE
    std::string url;
    NameValues headers;
    std::optional<ByteView> body; // PUT and POST; must outlive the call
    // A 2xx answer with a longer body is cut off: HttpResponse::too_large.
    uint64_t body_limit = 16 * kMiB;
    // For metadata services and this machine's own servers, which no proxy can reach.
    bool bypass_proxy = false;
};

struct HttpResponse {
    int status = 0;
    NameValues headers; // lower-case names
    Bytes body;
    bool too_large = false;
    uint64_t content_length = 0; // as announced

    [[nodiscard]] bool is_success() const noexcept { return status >= 200 && status < 300; }
    // "" when absent.
    [[nodiscard]] std::string_view header(std::string_view name) const noexcept;
};

class HttpClient {
  public:
    explicit HttpClient(HttpOptions options);
    ~HttpClient();
    HttpClient(const HttpClient &) = delete;
    HttpClient &operator=(const HttpClient &) = delete;

    [[nodiscard]] HttpResponse perform(const HttpRequest &request, const CancelToken &cancel);

  private:
    class Connection;
    class Lease;

    [[nodiscard]] std::unique_ptr<Connection> take(const CancelToken &cancel);
    void give_back(std::unique_ptr<Connection> connection) noexcept;

    const HttpOptions options_;
    std::mutex mutex_;
    std::condition_variable returned_;
    std::vector<std::unique_ptr<Connection>> idle_;
    size_t in_use_ = 0;
};

// An HTTP date ("Fri, 20 Nov 2026 09:00:00 GMT") as milliseconds since 1970 UTC; nullopt when it is none.
[[nodiscard]] std::optional<int64_t> parse_http_date(std::string_view text);

} // namespace pgvigil
