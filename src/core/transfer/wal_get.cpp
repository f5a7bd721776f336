#include "transfer/wal_get.h"

#include "base/backoff.h"
#include "base/error.h"
#include "base/time.h"
#include "transfer/wal_get_file.h"

#include <filesystem>
#include <fmt/core.h>
#include <system_error>
#include <utility>

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

// What the plan counted on and the server has not got in its pg_wal, as a backup that brings its own WAL puts it there.
bool is_demanded(const WalGetRequest &request, const WalFileName &file) {
    const auto there = std::filesystem::path(request.destination).replace_filename(request.name);
    std::error_code failed;
    return request.path.demands(file) && (there == request.destination || !std::filesystem::exists(there, failed));
}

Error early_end(std::string message, const char *what) {
    return Error(ErrorCode::kNotFound, std::move(message))
        .detail("Ending recovery here would lose what was committed after this point.")
        .hint(fmt::format("If {} is lost for good, restore to a target before it.", what))
        .retryable();
}

// A tail that ends before the path leaves its segment is a hole where the plan has that end, or more WAL is behind it.
void check_tail_end(WalReader &reader, const WalGetRequest &request, const WalFileFacts &found,
                    const CancelToken &cancel) {
    const WalFileName file = parse_wal_file_name(request.name).value();
    const uint64_t wanted = request.path.steps.empty() ? found.length : request.path.bytes_of(file);
    if (found.end >= wanted)
        return;
    const std::string message = fmt::format("only the first {} bytes of \"{}\" were streamed to \"{}\"", found.end,
                                            request.name, found.repository);
    if (is_demanded(request, file))
        throw early_end(fmt::format("{}, though {} were there when recovery was planned", message, wanted), "the rest");
    if (reader.anything_later(request.name, cancel))
        throw early_end(message + ", though later WAL is in a repository", "the rest");
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
    if (never_there || (file && request.path.excludes(*file)))
        return;
    if (reader.anything_later(request.name, cancel))
        throw early_end(fmt::format("\"{}\" is in no repository, though later WAL is", request.name), "the file");
    if (const auto epoch = reader.silent_take_over(request.name, cancel))
        throw Error(ErrorCode::kNotFound,
                    fmt::format("who took over before \"{}\" has stored nothing yet", request.name))
            .detail(
                fmt::format("Epoch {} of host \"{}\" began at {} on timeline {} ({}, {}); behind that there is only "
                            "WAL of a former writer.",
                            epoch->number, epoch->host, to_string(epoch->lsn), epoch->timeline, epoch->reason,
                            iso_time_ms(epoch->created_ms)))
            .hint(fmt::format("Wait until the new writer has stored its WAL, or restore to a target before {}.",
                              to_string(epoch->lsn)))
            .retryable();
    if (file && is_demanded(request, *file))
        throw early_end(
            fmt::format("\"{}\" is in no repository, though it was when recovery was planned", request.name),
            "the file");
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
