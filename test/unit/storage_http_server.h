// An HTTP server inside of a test, for what no real server does on demand: closing without an answer, hanging,
// answering 503 once, handing out credentials that end in a minute. Plain http on a free port of the loopback
// interface.
#pragma once

#include <arpa/inet.h>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace pgvigil::test {

struct ServerRequest {
    std::string method;
    std::string target;                         // path and query as sent
    std::map<std::string, std::string> headers; // lower-case names
    std::string body;
    int connection = 0; // from 1
};

struct ServerReply {
    int status = 200;
    std::map<std::string, std::string> headers = {};
    std::string body = {};
    bool close_without_answer = false;
    bool hang = false; // until the server goes
    // Announced in the place of the body's size, to cut an answer short.
    size_t content_length = std::string::npos;
};

class HttpServer {
  public:
    using Handler = std::function<ServerReply(const ServerRequest &)>;

    explicit HttpServer(Handler handler)
        : handler_(std::move(handler)), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof(address);
        if (bind(listener_, reinterpret_cast<sockaddr *>(&address), length) != 0 || listen(listener_, 64) != 0 ||
            getsockname(listener_, reinterpret_cast<sockaddr *>(&address), &length) != 0)
            throw std::runtime_error("could not listen");
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept_all(); });
    }
    HttpServer(const HttpServer &) = delete;
    HttpServer &operator=(const HttpServer &) = delete;
    ~HttpServer() {
        stopping_ = true;
        acceptor_.join();
        for (std::thread &thread : threads_)
            thread.join();
        close(listener_);
    }

    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] std::vector<ServerRequest> requests() const {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

  private:
    // False when nothing comes and the server is to stop, or the other side has closed.
    bool receive(int connection, std::string &data) const {
        while (!stopping_) {
            pollfd entry{connection, POLLIN, 0};
            if (poll(&entry, 1, 20) <= 0)
                continue;
            char buffer[65536];
            const ssize_t got = recv(connection, buffer, sizeof(buffer), 0);
            if (got <= 0)
                return false;
            data.append(buffer, static_cast<size_t>(got));
            return true;
        }
        return false;
    }

    bool read_request(int connection, std::string &data, ServerRequest &request) const {
        size_t head_end = 0;
        while ((head_end = data.find("\r\n\r\n")) == std::string::npos)
            if (!receive(connection, data))
                return false;
        const size_t first_space = data.find(' ');
        request.method = data.substr(0, first_space);
        request.target = data.substr(first_space + 1, data.find(' ', first_space + 1) - first_space - 1);
        for (size_t at = data.find("\r\n") + 2; at < head_end;) {
            const size_t end = data.find("\r\n", at);
            const size_t colon = data.find(':', at);
            std::string name = data.substr(at, colon - at);
            for (char &c : name)
                c = static_cast<char>(tolower(c));
            request.headers[name] =
                data.substr(data.find_first_not_of(' ', colon + 1), end - data.find_first_not_of(' ', colon + 1));
            at = end + 2;
        }
        const size_t length =
            request.headers.contains("content-length") ? std::stoul(request.headers["content-length"]) : 0;
        while (data.size() < head_end + 4 + length)
            if (!receive(connection, data))
                return false;
        request.body = data.substr(head_end + 4, length);
        data.erase(0, head_end + 4 + length);
        return true;
    }

    static bool send_all(int connection, const std::string &text) {
        for (size_t sent = 0; sent < text.size();) {
            const ssize_t got = send(connection, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
            if (got <= 0)
                return false;
            sent += static_cast<size_t>(got);
        }
        return true;
    }

    void serve(int connection, int number) {
        std::string data;
        ServerRequest request;
        while (read_request(connection, data, request)) {
            request.connection = number;
            {
                const std::lock_guard lock(mutex_);
                requests_.push_back(request);
            }
            const ServerReply reply = handler_(request);
            while (reply.hang && !stopping_)
                usleep(10000);
            if (reply.close_without_answer || reply.hang)
                break;
            const size_t length = reply.content_length == std::string::npos ? reply.body.size() : reply.content_length;
            std::string text =
                "HTTP/1.1 " + std::to_string(reply.status) + " X\r\ncontent-length: " + std::to_string(length) + "\r\n";
            for (const auto &[name, value] : reply.headers)
                text += name + ": " + value + "\r\n";
            text += "\r\n";
            if (request.method != "HEAD")
                text += reply.body;
            if (!send_all(connection, text) || length != reply.body.size())
                break;
            request = {};
        }
        close(connection);
    }

    void accept_all() {
        int number = 0;
        while (!stopping_) {
            pollfd entry{listener_, POLLIN, 0};
            if (poll(&entry, 1, 20) <= 0)
                continue;
            const int connection = accept(listener_, nullptr, nullptr);
            if (connection >= 0)
                threads_.emplace_back([this, connection, n = ++number] { serve(connection, n); });
        }
    }

    const Handler handler_;
    const int listener_;
    int port_ = 0;
    std::atomic<bool> stopping_{false};
    mutable std::mutex mutex_;
    std::vector<ServerRequest> requests_;
    std::vector<std::thread> threads_; // of the acceptor
    std::thread acceptor_;
};

} // namespace pgvigil::test
