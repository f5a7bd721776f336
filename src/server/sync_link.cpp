#include "server/pg.h"

#include "server/sync_link.h"

#include "server/boundary.h"

#include "base/error.h"

#include <algorithm>
#include <array>
#include <pwd.h>
#include <unistd.h>
#include <vector>

namespace pgvigil {

namespace {

constexpr int kConnectTimeoutS = 10;

// What libpq's calls allocate goes away with the connection.
MemoryContext link_memory() {
    static MemoryContext context = nullptr;
    if (context == nullptr)
        pg_section(
            []() noexcept { context = AllocSetContextCreate(TopMemoryContext, "pgvigil link", ALLOCSET_SMALL_SIZES); });
    return context;
}

template <class F> void in_link_memory(F call) {
    const MemoryContext context = link_memory();
    pg_section([=]() noexcept {
        const MemoryContext before = MemoryContextSwitchTo(context);
        call();
        MemoryContextSwitchTo(before);
    });
}

std::string quoted(const std::string &value) {
    std::string text = "'";
    for (const char c : value) {
        if (c == '\'' || c == '\\')
            text += '\\';
        text += c;
    }
    return text + "'";
}

std::string first_of(const std::string &list) {
    std::string first = list.substr(0, list.find(','));
    while (!first.empty() && first.front() == ' ')
        first.erase(0, 1);
    while (!first.empty() && first.back() == ' ')
        first.pop_back();
    if (first.size() > 1 && first.front() == '"' && first.back() == '"')
        first = first.substr(1, first.size() - 2);
    return first;
}

uint64_t number_at(const char *bytes) {
    uint64_t number = 0;
    for (int i = 0; i < 8; ++i)
        number = number << 8 | static_cast<unsigned char>(bytes[i]);
    return number;
}

void append(std::string &message, uint64_t number) {
    for (int shift = 56; shift >= 0; shift -= 8)
        message += static_cast<char>(number >> shift & 0xFF);
}

Error link_error(const std::string &what, std::string why) {
    while (!why.empty() && why.back() == '\n')
        why.pop_back();
    // libpq speaks in lines.
    std::replace(why.begin(), why.end(), '\n', ' ');
    return Error(ErrorCode::kUnavailable, what + (why.empty() ? "" : ": " + why));
}

} // namespace

std::string sync_user(const std::string &setting) {
    if (!setting.empty())
        return setting;
    if (const char *const name = getenv("PGUSER"); name != nullptr && *name != '\0') // NOLINT(concurrency-mt-unsafe)
        return name;
    std::array<char, 4096> buffer{};
    ::passwd entry{};
    ::passwd *found = nullptr;
    if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
        return entry.pw_name;
    return {};
}

std::string sync_host() {
    std::string host = first_of(Unix_socket_directories != nullptr ? Unix_socket_directories : "");
    if (!host.empty())
        return host;
    host = first_of(ListenAddresses != nullptr ? ListenAddresses : "");
    if (host == "*" || host == "0.0.0.0")
        return "127.0.0.1";
    return host == "::" ? "::1" : host;
}

SyncLink::SyncLink(const std::string &user, const char *name) {
    const std::string host = sync_host();
    if (host.empty())
        throw Error(ErrorCode::kUnavailable, "this server listens nowhere")
            .hint("Synchronous mode needs a directory in unix_socket_directories.");
    // The name stands in the connection string as well: it goes before what the environment says.
    const std::string conninfo = "host=" + quoted(host) + " port=" + std::to_string(PostPortNumber) +
                                 " user=" + quoted(sync_user(user)) + " application_name=" + quoted(name) +
                                 " connect_timeout=" + std::to_string(kConnectTimeoutS);
    const char *const text = conninfo.c_str();
    WalReceiverConn *connection = nullptr;
    char *problem = nullptr;
    WalReceiverConn **const target = &connection;
    char **const why = &problem;
    in_link_memory([=]() noexcept {
        MemoryContextReset(CurrentMemoryContext);
        load_file("libpqwalreceiver", false);
        *target = compat::connect_for_replication(text, name, why);
    });
    if (connection == nullptr)
        throw link_error("could not connect to this server for replication", problem != nullptr ? problem : "");
    connection_ = connection;
}

SyncLink::~SyncLink() {
    WalReceiverConn *const connection = connection_;
    if (connection == nullptr)
        return;
    try {
        pg_section([=]() noexcept { walrcv_disconnect(connection); });
    } catch (...) {
        ErrorReport ignored;
        take_pg_error(ignored);
    }
}

void SyncLink::start(const FlushPosition &from) {
    WalReceiverConn *const connection = connection_;
    WalRcvStreamOptions options;
    memset(&options, 0, sizeof options);
    options.startpoint = from.lsn.value;
    options.proto.physical.startpointTLI = from.timeline;
    bool same_server = false;
    bool started = false;
    bool *const same = &same_server;
    bool *const streams = &started;
    const WalRcvStreamOptions *const wanted = &options;
    in_link_memory([=]() noexcept {
        TimeLineID timeline = 0;
        char own[32];
        snprintf(own, sizeof own, UINT64_FORMAT, GetSystemIdentifier());
        *same = strcmp(walrcv_identify_system(connection, &timeline), own) == 0;
        *streams = *same && walrcv_startstreaming(connection, wanted);
    });
    if (!same_server)
        throw Error(ErrorCode::kUnavailable, "the server at \"" + sync_host() + "\" is another cluster's");
    if (!started)
        throw Error(ErrorCode::kUnavailable, "the server does not stream its own timeline");
    received_ = from.lsn;
    receive();
}

void SyncLink::take(const char *message, int length) {
    // Kind, start of the data, end of WAL, time; then the data. A keepalive: kind, end of WAL, time, reply wanted.
    constexpr int kDataHeader = 1 + 3 * 8;
    constexpr int kKeepalive = 1 + 2 * 8 + 1;
    if (message[0] == 'w' && length >= kDataHeader)
        received_ = std::max(received_, Lsn{number_at(message + 1) + static_cast<uint64_t>(length - kDataHeader)});
    else if (message[0] == 'k' && length >= kKeepalive)
        wants_reply_ = wants_reply_ || message[kKeepalive - 1] != 0;
}

void SyncLink::receive() {
    WalReceiverConn *const connection = connection_;
    for (;;) {
        char *message = nullptr;
        pgsocket socket = PGINVALID_SOCKET;
        int length = 0;
        char **const target = &message;
        pgsocket *const fd = &socket;
        int *const size = &length;
        in_link_memory([=]() noexcept { *size = walrcv_receive(connection, target, fd); });
        if (length < 0)
            throw Error(ErrorCode::kUnavailable, "the server ended the replication connection");
        if (length == 0) {
            socket_ = socket;
            return;
        }
        take(message, length);
    }
}

void SyncLink::reply(Lsn position) {
    std::string message = "r";
    for (int i = 0; i < 3; ++i)
        append(message, position.value);
    append(message, static_cast<uint64_t>(GetCurrentTimestamp()));
    message += '\0';
    WalReceiverConn *const connection = connection_;
    const char *const text = message.data();
    const auto length = static_cast<int>(message.size());
    in_link_memory([=]() noexcept { walrcv_send(connection, text, length); });
    wants_reply_ = false;
}

} // namespace pgvigil
