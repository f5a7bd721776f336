#include "storage/http/http_client.h"

#include "storage/http/http_error.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <curl/curl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace pgvigil {

namespace {

// How long a cancel may go unnoticed.
constexpr std::chrono::milliseconds kPollInterval{100};
// More of an answer that is an error tells nothing.
constexpr uint64_t kErrorBodyLimit = 64 * kKiB;
constexpr long kTransferBuffer = 256 * 1024;

struct FreeHeaders {
    void operator()(curl_slist *list) const noexcept { curl_slist_free_all(list); }
};

// Not in a static initialiser: the postmaster loads the library and forks.
void initialise_curl() {
    static std::once_flag once;
    std::call_once(once, [] {
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
            throw Error(ErrorCode::kInternal, "could not initialize libcurl");
    });
}

std::string_view trimmed(std::string_view text) noexcept {
    constexpr std::string_view kSpace = " \t\r\n";
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

std::string lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return result;
}

// One request while it runs; what libcurl's callbacks see.
struct Exchange {
    const HttpRequest &request;
    HttpResponse response;
    size_t sent = 0;

    [[nodiscard]] uint64_t limit() const noexcept {
        return response.is_success() ? request.body_limit : kErrorBodyLimit;
    }
};

size_t on_read(char *buffer, size_t size, size_t count, void *opaque) noexcept {
    auto &exchange = *static_cast<Exchange *>(opaque);
    const ByteView body = *exchange.request.body;
    const size_t length = std::min(size * count, body.size() - exchange.sent);
    std::memcpy(buffer, body.data() + exchange.sent, length);
    exchange.sent += length;
    return length;
}

// libcurl would send a request again by itself when a kept connection breaks before the answer. A body that was sent
// may have been stored: whoever tries again has to know that, or he takes his own object for somebody else's.
int on_seek(void *opaque, curl_off_t offset, int origin) noexcept {
    const auto &exchange = *static_cast<const Exchange *>(opaque);
    return origin == SEEK_SET && offset == 0 && exchange.sent == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

void take_header(HttpResponse &response, std::string_view line) {
    // Each status line begins a new answer: "100 Continue" or a proxy's come before the real one.
    if (line.starts_with("HTTP/")) {
        response = {};
        const size_t space = line.find(' ');
        if (space != std::string_view::npos)
            std::from_chars(line.data() + space + 1, line.data() + line.size(), response.status);
        return;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos)
        return;
    const std::string_view value = trimmed(line.substr(colon + 1));
    response.headers.emplace_back(lower(line.substr(0, colon)), value);
    if (response.headers.back().first == "content-length")
        std::from_chars(value.data(), value.data() + value.size(), response.content_length);
}

size_t on_header(char *buffer, size_t size, size_t count, void *opaque) noexcept {
    try {
        take_header(static_cast<Exchange *>(opaque)->response, {buffer, size * count});
        return size * count;
    } catch (...) {
        return 0;
    }
}

size_t on_write(char *data, size_t size, size_t count, void *opaque) noexcept {
    auto &exchange = *static_cast<Exchange *>(opaque);
    HttpResponse &response = exchange.response;
    const size_t length = size * count;
    try {
        if (std::max<uint64_t>(response.content_length, response.body.size() + length) > exchange.limit()) {
            if (response.is_success()) {
                response.too_large = true;
                return 0;
            }
            return length; // the beginning of an error's text is enough
        }
        if (response.body.empty())
            response.body.reserve(std::max<uint64_t>(response.content_length, length));
        const auto *bytes = reinterpret_cast<const std::byte *>(data);
        response.body.insert(response.body.end(), bytes, bytes + length);
        return length;
    } catch (...) {
        return 0;
    }
}

// The sockets of one connection, while they are open.
using Sockets = std::vector<curl_socket_t>;

int on_socket_created(void *opaque, curl_socket_t socket, curlsocktype) noexcept {
    try {
        static_cast<Sockets *>(opaque)->push_back(socket);
    } catch (...) {
        return CURL_SOCKOPT_ERROR;
    }
    return CURL_SOCKOPT_OK;
}

int on_socket_close(void *opaque, curl_socket_t socket) noexcept {
    std::erase(*static_cast<Sockets *>(opaque), socket);
    return close(socket);
}

// A server that sends an answer's head and body apart, with Nagle's algorithm on, waits for our acknowledgement of the
// head; the kernel would delay that by 40 ms. The option lasts only until the next acknowledgement.
void acknowledge_quickly(const Sockets &sockets) noexcept {
    for (const curl_socket_t socket : sockets) {
        const int on = 1;
        setsockopt(socket, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
    }
}

} // namespace

std::string_view HttpResponse::header(std::string_view name) const noexcept {
    for (const auto &[key, value] : headers)
        if (key == name)
            return value;
    return {};
}

std::optional<int64_t> parse_http_date(std::string_view text) {
    const time_t seconds = curl_getdate(std::string(text).c_str(), nullptr);
    if (seconds < 0)
        return std::nullopt;
    return int64_t{seconds} * 1000;
}

// A multi handle with one easy handle: the multi interface so that waiting can be cut into short pieces, its own
// cache of kept connections, so that handing it to another thread needs no locks inside of libcurl.
class HttpClient::Connection {
  public:
    Connection() : multi_(curl_multi_init()), easy_(curl_easy_init()) {
        if (!multi_ || !easy_)
            throw Error(ErrorCode::kOutOfMemory, "out of memory");
    }

    HttpResponse perform(const HttpRequest &request, const HttpOptions &options, const CancelToken &cancel) {
        Exchange exchange{request, {}, 0};
        error_text_[0] = '\0';
        const auto headers = set_up(exchange, options);
        const CURLcode result = run(cancel);
        if (result == CURLE_OK || exchange.response.too_large)
            return std::move(exchange.response);
        throw transport_error(result, error_text_.data(), request.url, options);
    }

  private:
    struct FreeMulti {
        void operator()(CURLM *multi) const noexcept { curl_multi_cleanup(multi); }
    };
    struct FreeEasy {
        void operator()(CURL *easy) const noexcept { curl_easy_cleanup(easy); }
    };
    // Takes the transfer out of the multi handle however run() ends.
    struct Running {
        CURLM *multi;
        CURL *easy;
        ~Running() { curl_multi_remove_handle(multi, easy); }
    };

    template <class Value> void set(CURLoption option, Value value) {
        if (const CURLcode code = curl_easy_setopt(easy_.get(), option, value); code != CURLE_OK)
            throw Error(ErrorCode::kInternal, fmt::format("could not set option {} of libcurl: {}",
                                                          static_cast<int>(option), curl_easy_strerror(code)));
    }

    std::unique_ptr<curl_slist, FreeHeaders> set_up(Exchange &exchange, const HttpOptions &options) {
        const HttpRequest &request = exchange.request;
        curl_easy_reset(easy_.get());
        set(CURLOPT_URL, request.url.c_str());
        set(CURLOPT_PATH_AS_IS, 1L);
        set(CURLOPT_PROTOCOLS_STR, "http,https");
        set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
        set(CURLOPT_NOSIGNAL, 1L);
        set(CURLOPT_QUICK_EXIT, 1L); // a cancel does not wait for the name service
        set(CURLOPT_TCP_KEEPALIVE, 1L);
        set(CURLOPT_SOCKOPTFUNCTION, on_socket_created);
        set(CURLOPT_SOCKOPTDATA, &sockets_);
        set(CURLOPT_CLOSESOCKETFUNCTION, on_socket_close);
        set(CURLOPT_CLOSESOCKETDATA, &sockets_);
        set(CURLOPT_BUFFERSIZE, kTransferBuffer);
        set(CURLOPT_UPLOAD_BUFFERSIZE, kTransferBuffer);
        set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        set(CURLOPT_ERRORBUFFER, error_text_.data());
        set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
        set(CURLOPT_TIMEOUT_MS, static_cast<long>(options.total_timeout.count()));
        set(CURLOPT_LOW_SPEED_LIMIT, 1L);
        set(CURLOPT_LOW_SPEED_TIME, std::max<long>(1, static_cast<long>(options.stall_timeout.count() / 1000)));
        if (!options.ca_file.empty())
            set(CURLOPT_CAINFO, options.ca_file.c_str());
        if (request.bypass_proxy)
            set(CURLOPT_PROXY, "");
        set(CURLOPT_HEADERFUNCTION, on_header);
        set(CURLOPT_HEADERDATA, &exchange);
        set(CURLOPT_WRITEFUNCTION, on_write);
        set(CURLOPT_WRITEDATA, &exchange);
        if (request.body) {
            set(CURLOPT_UPLOAD, 1L);
            set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body->size()));
            set(CURLOPT_READFUNCTION, on_read);
            set(CURLOPT_READDATA, &exchange);
            set(CURLOPT_SEEKFUNCTION, on_seek);
            set(CURLOPT_SEEKDATA, &exchange);
        } else if (request.method == "HEAD") {
            set(CURLOPT_NOBODY, 1L);
        }
        set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
        return set_headers(request);
    }

    std::unique_ptr<curl_slist, FreeHeaders> set_headers(const HttpRequest &request) {
        std::unique_ptr<curl_slist, FreeHeaders> headers;
        const auto add = [&](const std::string &line) {
            curl_slist *longer = curl_slist_append(headers.get(), line.c_str());
            if (longer == nullptr)
                throw Error(ErrorCode::kOutOfMemory, "out of memory");
            static_cast<void>(headers.release());
            headers.reset(longer);
        };
        add("Expect:"); // never wait for "100 Continue" before a body
        add("User-Agent: pgvigil");
        for (const auto &[name, value] : request.headers)
            add(name + ": " + value);
        set(CURLOPT_HTTPHEADER, headers.get());
        return headers;
    }

    CURLcode run(const CancelToken &cancel) {
        if (curl_multi_add_handle(multi_.get(), easy_.get()) != CURLM_OK)
            throw Error(ErrorCode::kInternal, "could not start a request in libcurl");
        const Running running{multi_.get(), easy_.get()};
        for (;;) {
            int active = 0;
            CURLMcode code = curl_multi_perform(multi_.get(), &active);
            if (code == CURLM_OK && active == 0)
                return finished();
            cancel.check();
            acknowledge_quickly(sockets_);
            if (code == CURLM_OK)
                code = curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(kPollInterval.count()), nullptr);
            if (code != CURLM_OK)
                throw Error(ErrorCode::kInternal, fmt::format("libcurl failed: {}", curl_multi_strerror(code)));
        }
    }

    [[nodiscard]] CURLcode finished() const {
        int left = 0;
        while (const CURLMsg *message = curl_multi_info_read(multi_.get(), &left))
            if (message->msg == CURLMSG_DONE)
                return message->data.result;
        throw Error(ErrorCode::kInternal, "a request ended in libcurl without a result");
    }

    Sockets sockets_; // outlives what closes them
    std::unique_ptr<CURLM, FreeMulti> multi_;
    std::unique_ptr<CURL, FreeEasy> easy_;
    std::array<char, CURL_ERROR_SIZE> error_text_{};
};

// Counts a connection as used until it goes out of scope.
class HttpClient::Lease {
  public:
    Lease(HttpClient &client, std::unique_ptr<Connection> connection)
        : client_(client), connection_(std::move(connection)) {}
    Lease(const Lease &) = delete;
    Lease &operator=(const Lease &) = delete;
    ~Lease() { client_.give_back(keep_ ? std::move(connection_) : nullptr); }

    Connection &operator*() const noexcept { return *connection_; }
    void keep() noexcept { keep_ = true; }

  private:
    HttpClient &client_;
    std::unique_ptr<Connection> connection_;
    // A connection on which something went wrong is not used again.
    bool keep_ = false;
};

HttpClient::HttpClient(HttpOptions options) : options_(std::move(options)) {}

HttpClient::~HttpClient() = default;

std::unique_ptr<HttpClient::Connection> HttpClient::take(const CancelToken &cancel) {
    std::unique_lock lock(mutex_);
    while (in_use_ >= options_.max_connections) {
        returned_.wait_for(lock, kPollInterval);
        cancel.check();
    }
    std::unique_ptr<Connection> connection;
    if (!idle_.empty()) {
        connection = std::move(idle_.back());
        idle_.pop_back();
    } else {
        connection = std::make_unique<Connection>();
    }
    ++in_use_;
    return connection;
}

void HttpClient::give_back(std::unique_ptr<Connection> connection) noexcept {
    {
        const std::lock_guard lock(mutex_);
        --in_use_;
        if (connection) {
            try {
                idle_.push_back(std::move(connection));
            } catch (const std::bad_alloc &) {
                connection.reset();
            }
        }
    }
    returned_.notify_one();
}

HttpResponse HttpClient::perform(const HttpRequest &request, const CancelToken &cancel) {
    cancel.check();
    initialise_curl();
    Lease lease(*this, take(cancel));
    HttpResponse response = (*lease).perform(request, options_, cancel);
    if (!response.too_large)
        lease.keep();
    return response;
}

} // namespace pgvigil
