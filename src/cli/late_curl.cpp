#include "cli/late_curl.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <curl/curl.h>
#include <dlfcn.h>

// curl's headers check the arguments of these by macros; here they are defined.
#undef curl_easy_setopt

namespace pgvigil::cli {

void load_curl_late() noexcept {}

namespace {

constexpr int kInternalExit = 70;

void *curl_function(const char *name) {
    static void *const library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    void *const function = library == nullptr ? nullptr : dlsym(library, name);
    if (function == nullptr) {
        std::fprintf(stderr, "pgvigil: error: could not load libcurl: %s\n",
                     dlerror()); // NOLINT(concurrency-mt-unsafe)
        std::_Exit(kInternalExit);
    }
    return function;
}

// Every kind of option has one type of argument (curl/curl.h, CURLOPTTYPE_…).
constexpr int kOptionKinds = 10000;
constexpr int kLongOption = CURLOPTTYPE_LONG / kOptionKinds;
constexpr int kOffsetOption = CURLOPTTYPE_OFF_T / kOptionKinds;

} // namespace

} // namespace pgvigil::cli

#define LATE(name) (reinterpret_cast<decltype(&::name)>(pgvigil::cli::curl_function(#name)))

extern "C" {

CURLcode curl_global_init(long flags) {
    return LATE(curl_global_init)(flags);
}
CURL *curl_easy_init(void) {
    return LATE(curl_easy_init)();
}
void curl_easy_cleanup(CURL *handle) {
    LATE(curl_easy_cleanup)(handle);
}
void curl_easy_reset(CURL *handle) {
    LATE(curl_easy_reset)(handle);
}
// The named parameter is an enumeration because curl declares it so.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wvarargs"
CURLcode curl_easy_setopt(CURL *handle, CURLoption option, ...) {
    static const auto set = LATE(curl_easy_setopt);
    va_list arguments;
    va_start(arguments, option);
    CURLcode code = CURLE_OK;
    switch (static_cast<int>(option) / pgvigil::cli::kOptionKinds) {
    // long and curl_off_t are one type on some machines only.
    case pgvigil::cli::kLongOption: // NOLINT(bugprone-branch-clone)
        code = set(handle, option, va_arg(arguments, long));
        break;
    case pgvigil::cli::kOffsetOption:
        code = set(handle, option, va_arg(arguments, curl_off_t));
        break;
    default: // objects, functions and blobs: pointers
        code = set(handle, option, va_arg(arguments, void *));
    }
    va_end(arguments);
    return code;
}
#pragma GCC diagnostic pop
const char *curl_easy_strerror(CURLcode code) {
    return LATE(curl_easy_strerror)(code);
}
time_t curl_getdate(const char *text, const time_t *unused) {
    return LATE(curl_getdate)(text, unused);
}
CURLM *curl_multi_init(void) {
    return LATE(curl_multi_init)();
}
CURLMcode curl_multi_cleanup(CURLM *handle) {
    return LATE(curl_multi_cleanup)(handle);
}
CURLMcode curl_multi_add_handle(CURLM *handle, CURL *easy) {
    return LATE(curl_multi_add_handle)(handle, easy);
}
CURLMcode curl_multi_remove_handle(CURLM *handle, CURL *easy) {
    return LATE(curl_multi_remove_handle)(handle, easy);
}
CURLMcode curl_multi_perform(CURLM *handle, int *running) {
    static const auto perform = LATE(curl_multi_perform);
    return perform(handle, running);
}
CURLMcode curl_multi_poll(CURLM *handle, struct curl_waitfd extra[], unsigned int count, int timeout, int *ready) {
    static const auto poll = LATE(curl_multi_poll);
    return poll(handle, extra, count, timeout, ready);
}
CURLMsg *curl_multi_info_read(CURLM *handle, int *queued) {
    static const auto read = LATE(curl_multi_info_read);
    return read(handle, queued);
}
const char *curl_multi_strerror(CURLMcode code) {
    return LATE(curl_multi_strerror)(code);
}
struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text) {
    return LATE(curl_slist_append)(list, text);
}
void curl_slist_free_all(struct curl_slist *list) {
    LATE(curl_slist_free_all)(list);
}

} // extern "C"
