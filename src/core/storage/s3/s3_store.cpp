#include "storage/s3/s3_store.h"

#include "base/error.h"
#include "storage/object_key.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

namespace pgvigil::s3 {

namespace {

constexpr std::string_view kProbeKey = ".pgvigil-probe";
constexpr std::string_view kProbeBody =
    "pgvigil created this object to learn whether this server creates conditionally.\n";
constexpr size_t kBatch = 1000; // the most keys one request lists or deletes

constexpr int kNotFound = 404;
constexpr int kConditionFailed = 412;
constexpr int kBehindEnd = 416;
constexpr int kPartial = 206;
constexpr int kNotImplemented = 501;

// After every key below a folded directory, so that a listing that continues there does not meet it again.
constexpr std::string_view kLastCharacter = "\xf4\x8f\xbf\xbf";

} // namespace

S3Store::S3Store(const RepositoryUrl &url, S3Options options)
    : url_(url), name_(url.display_name()), root_(url.prefix.empty() ? "" : url.prefix + "/"), log_(*options.log),
      client_(url, std::move(options)),
      conditional_(url.conditional_create == ConditionalCreate::kAuto ? Conditional::kUnknown
                   : url.conditional_create == ConditionalCreate::kOn ? Conditional::kHonoured
                                                                      : Conditional::kMissing) {}

std::string S3Store::what(const char *verb, std::string_view key) const {
    return fmt::format("{} \"{}\" in \"{}\"", verb, key, name_);
}

StoreFeatures S3Store::features() const {
    return {.conditional_create = conditional_.load() != Conditional::kMissing};
}

bool S3Store::is_absent(const HttpResponse &response, const std::string &what) const {
    if (response.status != kNotFound)
        return false;
    const S3Failure failure = read_failure(response);
    // A bucket that is gone, or a web server that is no store, must not look like an empty repository.
    if (failure.code != "NoSuchKey" && failure.code != "NoSuchVersion")
        throw s3_error(failure, client_.context(what));
    return true;
}

HttpResponse S3Store::put(const PutRequest &request, const std::string &what, bool conditional,
                          const CancelToken &cancel) {
    BothDigests digests;
    if (request.sha256 != nullptr)
        digests = {*request.sha256, md5(request.body)};
    else
        digests = sha256_and_md5(request.body);
    S3Call call{.method = "PUT",
                .bucket_key = bucket_key(request.key),
                .query = {},
                .headers = {{"content-md5", to_base64(digests.md5)}},
                .body = request.body,
                .sha256 = &digests.sha256,
                .what = what,
                .accepted = {}};
    if (request.role == ObjectRole::kPack && !url_.storage_class.empty())
        call.headers.emplace_back("x-amz-storage-class", url_.storage_class);
    if (conditional) {
        call.headers.emplace_back("if-none-match", "*");
        call.accepted = {kConditionFailed, kNotImplemented};
    }
    return client_.call(call, cancel);
}

void S3Store::set_conditional(Conditional conditional) {
    conditional_ = conditional;
    if (conditional == Conditional::kMissing)
        log_.emit(LogLevel::kWarning, fmt::format("the server of \"{}\" does not create conditionally", name_),
                  "Two servers that write into this repository at once are not kept apart by it.");
}

void S3Store::probe_conditional(const CancelToken &cancel) {
    const std::lock_guard lock(probe_mutex_);
    if (conditional_ != Conditional::kUnknown)
        return;
    const std::string doing = fmt::format("create an object in \"{}\"", name_);
    const PutRequest probe{.key = kProbeKey, .body = as_view(kProbeBody)};
    // The first may create it or find that of an earlier process; a server that creates it twice ignores the condition.
    for (int attempt = 0; attempt < 2; ++attempt) {
        const HttpResponse response = put(probe, doing, true, cancel);
        if (response.status == kConditionFailed) {
            set_conditional(Conditional::kHonoured);
            return;
        }
        if (response.status == kNotImplemented)
            break;
    }
    set_conditional(Conditional::kMissing);
}

PutOutcome S3Store::put_if_absent(const PutRequest &request, const CancelToken &cancel) {
    const std::string doing = what("write", request.key);
    const HttpResponse response = put(request, doing, true, cancel);
    if (response.status == kConditionFailed)
        return PutOutcome::kAlreadyExists;
    if (response.status == kNotImplemented) {
        if (url_.conditional_create == ConditionalCreate::kOn)
            throw s3_error(read_failure(response), client_.context(doing));
        set_conditional(Conditional::kMissing);
        return check_then_put(request, cancel);
    }
    return PutOutcome::kStored;
}

PutOutcome S3Store::check_then_put(const PutRequest &request, const CancelToken &cancel) {
    if (head(request.key, cancel))
        return PutOutcome::kAlreadyExists;
    static_cast<void>(put(request, what("write", request.key), false, cancel));
    return PutOutcome::kStored;
}

PutOutcome S3Store::put_new(const PutRequest &request, const CancelToken &cancel) {
    cancel.check();
    check_key(request.key);
    if (conditional_ == Conditional::kUnknown)
        probe_conditional(cancel);
    return conditional_ == Conditional::kMissing ? check_then_put(request, cancel) : put_if_absent(request, cancel);
}

std::optional<Bytes> S3Store::get(std::string_view key, uint64_t limit, const CancelToken &cancel) {
    cancel.check();
    check_key(key);
    const S3Call call{.method = "GET",
                      .bucket_key = bucket_key(key),
                      .query = {},
                      .headers = {},
                      .body = {},
                      .body_limit = limit,
                      .what = what("read", key),
                      .accepted = {kNotFound}};
    HttpResponse response = client_.call(call, cancel);
    if (is_absent(response, call.what))
        return std::nullopt;
    if (response.too_large)
        throw Error(ErrorCode::kCorrupt,
                    fmt::format("object \"{}\" in \"{}\" has {} bytes, more than the {} expected at most", key, name_,
                                response.content_length, limit));
    return std::move(response.body);
}

std::optional<Bytes> S3Store::get_range(std::string_view key, ByteRange range, const CancelToken &cancel) {
    cancel.check();
    check_key(key);
    const uint64_t last = range.offset + std::min(range.length - 1, uint64_t{INT64_MAX} - range.offset);
    const S3Call call{.method = "GET",
                      .bucket_key = bucket_key(key),
                      .query = {},
                      .headers = {{"range", fmt::format("bytes={}-{}", range.offset, last)}},
                      .body = {},
                      .body_limit = range.length,
                      .what = what("read", key),
                      .accepted = {kNotFound, kBehindEnd}};
    HttpResponse response = client_.call(call, cancel);
    if (is_absent(response, call.what))
        return std::nullopt;
    if (response.status == kBehindEnd || (response.status != kPartial && response.body.empty() && !response.too_large))
        return Bytes{};
    if (response.status != kPartial || response.too_large)
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("could not {}: the server does not answer range requests", call.what))
            .hint("A repository needs an S3 server that can send parts of objects.");
    return std::move(response.body);
}

void S3Store::check_bucket(const CancelToken &cancel) {
    if (bucket_seen_)
        return;
    static_cast<void>(list_bucket({.limit = 1}, "", cancel));
    bucket_seen_ = true;
}

std::optional<ObjectInfo> S3Store::head(std::string_view key, const CancelToken &cancel) {
    cancel.check();
    check_key(key);
    const S3Call call{.method = "HEAD",
                      .bucket_key = bucket_key(key),
                      .query = {},
                      .headers = {},
                      .body = {},
                      .what = what("look up", key),
                      .accepted = {301, 307, 400, 401, 403, kNotFound}};
    const HttpResponse response = client_.call(call, cancel);
    if (response.status == kNotFound) {
        // Without a body it does not say what is absent.
        check_bucket(cancel);
        return std::nullopt;
    }
    if (!response.is_success()) {
        // Nor does it say why it refuses: a GET does, and brings about a region's correction.
        if (!get_range(key, {0, 1}, cancel))
            return std::nullopt;
        throw s3_error(read_failure(response), client_.context(call.what)).retryable();
    }
    ObjectInfo info;
    info.key = key;
    info.size = response.content_length;
    info.modified_ms = parse_http_date(response.header("last-modified")).value_or(0);
    return info;
}

S3Listing S3Store::list_bucket(const ListRequest &request, const std::string &after, const CancelToken &cancel) {
    S3Call call{.method = "GET",
                .bucket_key = "",
                .query = {{"list-type", "2"},
                          {"encoding-type", "url"},
                          {"max-keys", std::to_string(std::min(request.limit, kBatch))}},
                .headers = {},
                .body = {},
                .what = request.prefix.empty() ? fmt::format("list \"{}\"", name_) : what("list", request.prefix),
                .accepted = {}};
    if (const std::string prefix = bucket_key(request.prefix); !prefix.empty())
        call.query.emplace_back("prefix", prefix);
    if (request.directories)
        call.query.emplace_back("delimiter", "/");
    if (!after.empty())
        call.query.emplace_back("start-after", bucket_key(after));
    return read_listing(client_.call(call, cancel), client_.context(call.what));
}

ListPage S3Store::list(const ListRequest &request, const CancelToken &cancel) {
    cancel.check();
    const auto start_after = [&](std::string_view entry) {
        // A key inside of a folded directory stands for that directory.
        PageBuilder rules(request);
        const std::string_view directory = rules.folded_directory(entry);
        return directory.empty() ? std::string(entry) : std::string(directory) + std::string(kLastCharacter);
    };
    std::string after = request.start_after.empty() ? "" : start_after(request.start_after);
    for (;;) {
        const S3Listing listing = list_bucket(request, after, cancel);
        ListPage page;
        std::string last;
        for (const ObjectInfo &object : listing.objects) {
            std::string key = object.key.substr(std::min(root_.size(), object.key.size()));
            last = std::max(last, key);
            if (key != kProbeKey && key > request.start_after)
                page.objects.push_back({std::move(key), object.size, object.modified_ms});
        }
        for (const std::string &directory : listing.directories) {
            std::string key = directory.substr(std::min(root_.size(), directory.size()));
            last = std::max(last, key);
            if (key > request.start_after)
                page.directories.push_back(std::move(key));
        }
        if (listing.truncated && page.objects.empty() && page.directories.empty() && !last.empty()) {
            after = start_after(last);
            continue;
        }
        std::sort(page.objects.begin(), page.objects.end(), [](const auto &a, const auto &b) { return a.key < b.key; });
        std::sort(page.directories.begin(), page.directories.end());
        page.more = listing.truncated && !last.empty();
        if (!page.objects.empty())
            page.last = page.objects.back().key;
        if (!page.directories.empty())
            page.last = std::max(page.last, page.directories.back());
        return page;
    }
}

std::vector<DeleteFailure> S3Store::remove_batch(const std::vector<std::string> &bucket_keys,
                                                 const CancelToken &cancel) {
    const std::string body = delete_document(bucket_keys);
    const S3Call call{.method = "POST",
                      .bucket_key = "",
                      .query = {{"delete", ""}},
                      .headers = {{"content-md5", to_base64(md5(as_view(body)))}, {"content-type", "application/xml"}},
                      .body = as_view(body),
                      .what = fmt::format("delete {} objects in \"{}\"", bucket_keys.size(), name_),
                      .accepted = {403}};
    const HttpResponse response = client_.call(call, cancel);
    if (response.is_success())
        return read_delete_result(response, client_.context(call.what));
    const S3Failure failure = read_failure(response);
    const Error error = s3_error(failure, client_.context(call.what));
    if (failure.code != "AccessDenied")
        throw Error(error);
    std::vector<DeleteFailure> failures;
    for (const std::string &key : bucket_keys)
        failures.push_back({key, true, false, error.message()});
    return failures;
}

std::vector<DeleteFailure> S3Store::remove(const std::vector<std::string> &keys, const CancelToken &cancel) {
    std::vector<DeleteFailure> failures;
    for (size_t start = 0; start < keys.size(); start += kBatch) {
        cancel.check();
        std::vector<std::string> batch;
        for (size_t i = start; i < std::min(start + kBatch, keys.size()); ++i) {
            check_key(keys[i]);
            batch.push_back(bucket_key(keys[i]));
        }
        for (DeleteFailure &failure : remove_batch(batch, cancel)) {
            failure.key.erase(0, std::min(root_.size(), failure.key.size()));
            failures.push_back(std::move(failure));
        }
    }
    return failures;
}

HttpResponse S3Store::ask_bucket(const char *setting, const CancelToken &cancel) {
    const S3Call call{.method = "GET",
                      .bucket_key = "",
                      .query = {{setting, ""}},
                      .headers = {},
                      .body = {},
                      .what = fmt::format("ask for the {} of \"{}\"", setting, name_),
                      .accepted = {400, 403, kNotFound, 405, kNotImplemented}};
    return client_.call(call, cancel);
}

std::optional<bool> S3Store::keeps_versions(const CancelToken &cancel) {
    const HttpResponse response = ask_bucket("versioning", cancel);
    if (!response.is_success())
        return std::nullopt;
    return read_versioning(response, client_.context(fmt::format("ask whether \"{}\" keeps versions", name_)));
}

std::optional<BucketRules> S3Store::bucket_rules(const CancelToken &cancel) {
    const S3Context context = client_.context(fmt::format("ask for the rules of \"{}\"", name_));
    BucketRules rules;
    rules.versioning = keeps_versions(cancel);
    read_object_lock(ask_bucket("object-lock", cancel), context, rules);
    rules.ends_noncurrent = read_noncurrent_end(ask_bucket("lifecycle", cancel), root_, context);
    return rules;
}

int64_t S3Store::clock_ms(const CancelToken &cancel) {
    const S3Call call{.method = "GET",
                      .bucket_key = "",
                      .query = {{"list-type", "2"}, {"max-keys", "1"}, {"prefix", bucket_key(kProbeKey)}},
                      .headers = {},
                      .body = {},
                      .what = fmt::format("ask \"{}\" for its time", name_),
                      .accepted = {}};
    const auto time = parse_http_date(client_.call(call, cancel).header("date"));
    if (!time)
        throw Error(ErrorCode::kUnavailable, fmt::format("could not {}: the answer has no date", call.what));
    return *time;
}

} // namespace pgvigil::s3
