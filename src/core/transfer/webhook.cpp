#include "transfer/webhook.h"

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "storage/http/http_client.h"
#include "storage/repository_url.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr size_t kMaxFile = 16384;
constexpr size_t kMaxUrl = 4096;

std::string_view trimmed(std::string_view text) noexcept {
    constexpr std::string_view kSpace = " \t\r";
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

struct Descriptor {
    int number = -1;
    ~Descriptor() {
        if (number >= 0)
            ::close(number);
    }
};

std::string resolved(const std::string &path) {
    std::string buffer(PATH_MAX, '\0');
    if (::realpath(path.c_str(), buffer.data()) == nullptr)
        return path;
    return buffer.c_str();
}

std::string read_secret_file(const std::string &path) {
    const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.number < 0 && errno == ENOENT)
        throw Error(ErrorCode::kNotFound, fmt::format("webhook file \"{}\" does not exist", path));
    struct stat status{};
    if (file.number < 0 || ::fstat(file.number, &status) != 0)
        throw system_error(fmt::format("could not open webhook file \"{}\"", path), errno);
    if (!S_ISREG(status.st_mode))
        throw Error(ErrorCode::kInvalidArgument, fmt::format("webhook file \"{}\" is no regular file", path));
    // As for credentials: 0600, or 0640 when root owns it.
    const mode_t forbidden = status.st_uid == 0 ? (S_IWGRP | S_IXGRP | S_IRWXO) : (S_IRWXG | S_IRWXO);
    if ((status.st_mode & forbidden) != 0)
        throw Error(ErrorCode::kAccessDenied, fmt::format("webhook file \"{}\" may be read by others", path))
            .hint(fmt::format("Run: chmod 0600 '{}'.", path));
    std::string text(kMaxFile, '\0');
    const ssize_t length = ::read(file.number, text.data(), text.size());
    if (length < 0)
        throw system_error(fmt::format("could not read webhook file \"{}\"", path), errno);
    text.resize(static_cast<size_t>(length));
    return text;
}

// The host of a URL, and whether it is this machine; throws for what is no URL, without repeating it.
S3Endpoint endpoint_of(std::string_view url, const std::string &path) {
    const auto bad = [&](const char *what) {
        return Error(ErrorCode::kInvalidArgument, fmt::format("webhook file \"{}\" holds no usable URL", path))
            .detail(what);
    };
    S3Endpoint endpoint;
    endpoint.tls = url.starts_with("https://");
    if (!endpoint.tls && !url.starts_with("http://"))
        throw bad("Its first line does not start with https://.");
    std::string_view rest = url.substr(url.find("://") + 3);
    rest = rest.substr(0, rest.find_first_of("/?#"));
    if (rest.find('@') != std::string_view::npos)
        throw bad("A user name or password in it is not supported.");
    const size_t port = rest.starts_with('[') ? rest.find(':', std::min(rest.find(']'), rest.size())) : rest.find(':');
    endpoint.host = rest.substr(0, port);
    if (endpoint.host.empty() || url.size() > kMaxUrl ||
        std::any_of(url.begin(), url.end(), [](char c) { return c <= ' ' || c == '\x7f'; }))
        throw bad("It has no host, or characters that no URL has.");
    return endpoint;
}

std::string duration_text(int64_t ms) {
    const int64_t seconds = ms / 1000;
    if (seconds < 60)
        return fmt::format("{}.{} s", seconds, ms % 1000 / 100);
    return seconds < 3600 ? fmt::format("{} min {} s", seconds / 60, seconds % 60)
                          : fmt::format("{} h {} min", seconds / 3600, seconds % 3600 / 60);
}

std::string size_text(uint64_t bytes) {
    constexpr std::array<const char *, 5> kUnits = {"bytes", "kB", "MB", "GB", "TB"};
    auto value = static_cast<double>(bytes);
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit)
        value /= 1024;
    return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string what_ran(const JobRun &run) {
    if (!is_backup_job(run.kind))
        return run.kind == JobKind::kExpire ? "expiry" : "verification";
    return fmt::format("{} backup{}", job_name(run.kind), run.backup_id.empty() ? "" : " " + run.backup_id);
}

// One line for people.
std::string sentence(const WebhookNotice &notice) {
    const JobRun &run = notice.run;
    const std::string where = notice.cluster.empty() ? notice.host : notice.cluster + " (" + notice.host + ")";
    std::string text = fmt::format("pgvigil on {}: {} {}", where, what_ran(run), outcome_name(run.outcome));
    if (run.outcome == JobOutcome::kSucceeded && is_backup_job(run.kind))
        text += fmt::format(", {} stored", size_text(run.bytes));
    if (run.ended_ms > run.started_ms && run.started_ms != 0)
        text += fmt::format(" after {}", duration_text(run.ended_ms - run.started_ms));
    if (!run.message.empty())
        text += ": " + run.message;
    return text;
}

Json time_or_null(int64_t unix_ms) {
    return unix_ms == 0 ? Json() : Json(iso_time_ms(unix_ms));
}

Json text_or_null(const std::string &text) {
    return text.empty() ? Json() : Json(text);
}

} // namespace

WebhookTarget parse_webhook_file(std::string_view text, const std::string &path) {
    WebhookTarget target;
    bool insecure = false;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = trimmed(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.empty() || line.front() == '#')
            continue;
        if (target.url.empty())
            target.url = line;
        else if (line == "insecure=on")
            insecure = true;
        else
            throw Error(ErrorCode::kInvalidArgument, fmt::format("webhook file \"{}\" has a line too many", path))
                .detail("Expected a URL, and perhaps a line \"insecure=on\".");
    }
    const S3Endpoint endpoint = endpoint_of(target.url, path);
    target.host = endpoint.host;
    if (!endpoint.tls && !endpoint.is_loopback() && !insecure)
        throw Error(ErrorCode::kInvalidArgument,
                    fmt::format("webhook file \"{}\" names \"{}\" by plain http", path, endpoint.host))
            .detail("Anybody on the way could read the URL, which is a secret.")
            .hint("Use https, or add a line \"insecure=on\".");
    return target;
}

WebhookTarget read_webhook_file(const std::string &path, const std::vector<std::string> &forbidden_directories) {
    const std::string real = resolved(path);
    for (const std::string &directory : forbidden_directories) {
        const std::string parent = resolved(directory) + "/";
        if (real.starts_with(parent))
            throw Error(ErrorCode::kAccessDenied,
                        fmt::format("webhook file \"{}\" stands in the data directory or a tablespace", path))
                .detail("It would become part of every backup.")
                .hint("Move it to another directory.");
    }
    return parse_webhook_file(read_secret_file(path), path);
}

std::string webhook_body(const WebhookNotice &notice) {
    const JobRun &run = notice.run;
    const Json body = {
        {"text", sentence(notice)},
        {"job", job_name(run.kind)},
        {"outcome", outcome_name(run.outcome)},
        {"trigger", trigger_name(run.trigger)},
        {"cluster", text_or_null(notice.cluster)},
        {"system_identifier", std::to_string(notice.system_identifier)},
        {"host", notice.host},
        {"backup_id", text_or_null(run.backup_id)},
        {"scheduled_for", time_or_null(run.slot_s * 1000)},
        {"started_at", time_or_null(run.started_ms)},
        {"ended_at", time_or_null(run.ended_ms)},
        {"duration_seconds", static_cast<double>(std::max<int64_t>(run.ended_ms - run.started_ms, 0)) / 1000},
        {"bytes", run.bytes},
        {"bytes_read", notice.bytes_read},
        {"failures", notice.failures},
        {"error", run.outcome == JobOutcome::kSucceeded ? Json() : text_or_null(run.message)},
        {"version", notice.product_version}};
    return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void send_webhook(const WebhookTarget &target, const std::string &body, const CancelToken &cancel) {
    HttpOptions options;
    options.connect_timeout = std::chrono::seconds(5);
    options.stall_timeout = std::chrono::seconds(10);
    options.total_timeout = std::chrono::seconds(20);
    HttpClient client(options);
    HttpRequest request;
    request.method = "POST";
    request.url = target.url;
    request.headers = {{"Content-Type", "application/json"}};
    request.body = ByteView(reinterpret_cast<const std::byte *>(body.data()), body.size());
    request.body_limit = 64 * kKiB;
    request.bypass_proxy = S3Endpoint{false, target.host, 0}.is_loopback();
    HttpResponse response;
    try {
        response = client.perform(request, cancel);
    } catch (const Error &error) {
        if (error.code() == ErrorCode::kCancelled)
            throw;
        // Without what only repositories know: endpoint=… and ca_file=… are no help here.
        throw Error(error.code(), error.message()).detail(error.detail()).retryable(error.is_retryable());
    }
    if (!response.is_success())
        throw Error(ErrorCode::kUnavailable,
                    fmt::format("the webhook at \"{}\" answered with status {}", target.host, response.status))
            .retryable(response.status == 429 || response.status >= 500);
}

} // namespace pgvigil
