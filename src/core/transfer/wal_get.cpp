#include "transfer/wal_get.h"

#include "base/backoff.h"
#include "base/error.h"
#include "transfer/wal_get_file.h"

#include <fmt/core.h>

namespace pgvigil {

namespace {

using Clock = std::chrono::steady_clock;

std::optional<WalFileFacts> try_once(WalReader &reader, const WalGetRequest &request, const CancelToken &cancel) {
    WalFileSink sink(request.destination, request.name, request.path);
    try {
        auto found = reader.read(request.name, sink, cancel);
        if (!found)
            return std::nullopt;
        // The server makes the file durable when it takes it over.
        sink.finish(false);
        return found;
    } catch (const OffPath &) {
        return std::nullopt;
    }
}

// A tail that ends before the path leaves its segment, with more WAL behind it, is a hole.
void check_tail_end(WalReader &reader, const WalGetRequest &request, const WalFileFacts &found,
                    const CancelToken &cancel) {
    const WalFileName file = parse_wal_file_name(request.name).value();
    const uint64_t wanted = request.path.steps.empty() ? found.length : request.path.bytes_of(file);
    if (found.end >= wanted || !reader.anything_later(request.name, cancel))
        return;
    throw Error(ErrorCode::kNotFound,
                fmt::format("only the first {} bytes of \"{}\" were streamed to \"{}\", though later WAL is in a "
                            "repository",
                            found.end, request.name, found.repository))
        .detail("Ending recovery here would lose what was committed after this point.")
        .hint("If the rest is lost for good, restore to a target before it.")
        .retryable();
}

// What was streamed of a segment that is in no repository.
std::optional<WalFileFacts> try_tail(WalReader &reader, const WalGetRequest &request, LogSink &log,
                                     const CancelToken &cancel) {
    const auto file = parse_wal_file_name(request.name);
    if (!request.tails || !file || file->kind != WalFileKind::kSegment || request.path.excludes(*file))
        return std::nullopt;
    WalFileSink sink(request.destination, request.name, request.path);
    try {
        auto found = reader.read_tail(request.name, sink, cancel);
        if (!found)
            return std::nullopt;
        if (found->streamed) {
            if (const std::string why = request.tail_objection ? request.tail_objection() : ""; !why.empty()) {
                log.emit(LogLevel::kWarning, fmt::format("what was streamed of \"{}\" is not used", request.name), why);
                return std::nullopt;
            }
            check_tail_end(reader, request, *found, cancel);
        }
        sink.finish(false);
        return found;
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

std::optional<WalFileFacts> get_wal_file(WalReader &reader, const WalGetRequest &request, LogSink &log,
                                         const CancelToken &cancel) {
    if (request.mode == WalGetMode::kStandby)
        return try_once(reader, request, cancel);
    const auto deadline = Clock::now() + request.patience;
    Backoff backoff(std::chrono::milliseconds(200), std::chrono::milliseconds(5000));
    for (;;) {
        try {
            auto found = try_once(reader, request, cancel);
            if (!found)
                found = try_tail(reader, request, log, cancel);
            if (!found)
                check_end(reader, request, cancel);
            return found;
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
