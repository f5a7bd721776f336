#include "transfer/wal_get.h"

#include "base/backoff.h"
#include "base/error.h"
#include "transfer/wal_get_file.h"

#include <fmt/core.h>

namespace pgvigil {

namespace {

using Clock = std::chrono::steady_clock;

std::optional<uint64_t> try_once(WalReader &reader, const WalGetRequest &request, const CancelToken &cancel) {
    WalFileSink sink(request.destination, request.name, request.path);
    try {
        const auto found = reader.read(request.name, sink, cancel);
        if (!found)
            return std::nullopt;
        // The server makes the file durable when it takes it over.
        sink.finish(false);
        return found->length;
    } catch (const OffPath &) {
        return std::nullopt;
    }
}

// Whether the absence of the file means that replay has reached the end.
void check_end(WalReader &reader, const WalGetRequest &request, const CancelToken &cancel) {
    const auto file = parse_wal_file_name(request.name);
    // The server asks for timeline 1's history too, which nobody writes.
    const bool never_there = file && file->kind == WalFileKind::kHistory && file->timeline == 1;
    if (never_there || (file && request.path.excludes(*file)) || !reader.anything_later(request.name, cancel))
        return;
    throw Error(ErrorCode::kNotFound, fmt::format("\"{}\" is in no repository, though later WAL is", request.name))
        .detail("Ending recovery here would lose what was committed after this point.")
        .hint("If the file is lost for good, restore to a target before it.")
        .retryable();
}

} // namespace

std::optional<uint64_t> get_wal_file(WalReader &reader, const WalGetRequest &request, LogSink &log,
                                     const CancelToken &cancel) {
    if (request.mode == WalGetMode::kStandby)
        return try_once(reader, request, cancel);
    const auto deadline = Clock::now() + request.patience;
    Backoff backoff(std::chrono::milliseconds(200), std::chrono::milliseconds(5000));
    for (;;) {
        try {
            auto length = try_once(reader, request, cancel);
            if (!length)
                check_end(reader, request, cancel);
            return length;
        } catch (const Error &error) {
            const auto wait = backoff.next();
            if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kInvalidArgument ||
                Clock::now() + wait >= deadline)
                throw;
            log.emit(LogLevel::kWarning, error.message() + "; trying again", error.detail());
            if (!cancel.wait_for(wait))
                cancel.check();
        }
    }
}

} // namespace pgvigil
