// Reads WAL files (segments, timeline history, backup history) from repositories, by PostgreSQL's own names.
//
// Guarantees: what read() returns has the length and the SHA-256 its header states, and a segment's first page belongs
// to this cluster and address. Repositories are asked in their order; damage or an outage in one is a warning while
// another has the file. "Absent" is answered only when every repository confirmed it. Of two writers' objects only the
// one whose epoch holds at the file's place is read (rules C2).
// Threading: every member may be called by several threads at once. Memory: about 8 MiB for each call.
// Errors: the last repository's error when none has the file and not all could say so.
#pragma once

#include "base/bytes.h"
#include "base/log.h"
#include "base/wal_name.h"
#include "repo/repository.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

// Where the bytes go. Nothing written is good before read() has returned.
class WalSink {
  public:
    virtual ~WalSink() = default;
    // The file will have `length` bytes. Called again when another repository is tried: start over.
    virtual void begin(uint64_t length) = 0;
    virtual void write(ByteView plain) = 0;
};

// Collects a small file in memory; throws kCorrupt when it is larger than `limit` bytes.
class WalMemorySink final : public WalSink {
  public:
    explicit WalMemorySink(uint64_t limit) : limit_(limit) {}
    void begin(uint64_t length) override;
    void write(ByteView plain) override;
    [[nodiscard]] const Bytes &content() const noexcept { return content_; }

  private:
    const uint64_t limit_;
    Bytes content_;
};

struct WalFileFacts {
    uint64_t length = 0;    // bytes of the file
    uint64_t end = 0;       // bytes that are WAL: fewer than `length` in what was streamed of an unfinished segment
    std::string repository; // that it came from
    std::string key;
    uint64_t epoch = 0;    // of who wrote it
    bool streamed = false; // from the tail, zeroes behind `end`
};

class WalReader {
  public:
    WalReader(std::vector<std::shared_ptr<Repository>> repositories, uint64_t system_identifier, LogSink &log);

    // nullopt when the file is in no repository, each of which said so.
    std::optional<WalFileFacts> read(std::string_view name, WalSink &sink, const CancelToken &cancel);

    // What was streamed of a segment that read() did not find (rules B7): the longest tail of the highest epoch, filled
    // with zeroes to the segment's size; or the complete segment, if it was stored meanwhile. nullopt when there is
    // nothing, as every repository said. Throws, to be tried again, unless all could be asked and every byte that was
    // streamed is there. To be used where the end of recovery is the end of the WAL, and nowhere else (rules B9).
    std::optional<WalFileFacts> read_tail(std::string_view name, WalSink &sink, const CancelToken &cancel);

    // Whether any repository holds something that comes after `name` on its timeline: a later segment or the tail of
    // one, or, for a history file, any segment of the timeline. What was written by someone who was not the writer
    // there any more does not count. Throws unless every repository could be asked.
    [[nodiscard]] bool anything_later(std::string_view name, const CancelToken &cancel);

    // The epoch that rules the segment `name` if its writer has stored nothing that counts since it began, while WAL of
    // former writers, which does not count any more, is there at or behind the segment: what looks like the end of the
    // WAL may not be one. nullopt otherwise, and for other files. Throws unless every repository could be asked.
    [[nodiscard]] std::optional<EpochDocument> silent_take_over(std::string_view name, const CancelToken &cancel);

  private:
    struct Source {
        std::shared_ptr<Repository> repository;
        std::vector<EpochDocument> epochs; // ascending
        int64_t epochs_read_ms = 0;        // boot time; 0 = never
        bool confirmed = false;            // its root document was seen
        int64_t avoid_until_ms = 0;        // boot time; after an outage others are asked first
    };

    std::vector<size_t> order() const;
    std::vector<EpochDocument> epochs_of(Source &source, const CancelToken &cancel);
    // What is not there is only absent if the repository itself is: an unmounted directory must not end a recovery.
    void confirm(Source &source, const CancelToken &cancel);
    struct TailOffer;
    std::vector<TailOffer> tail_offers(std::string_view name, const CancelToken &cancel);
    std::optional<WalFileFacts> read_from(Source &source, const WalFileName &file, std::string_view name, WalSink &sink,
                                          const CancelToken &cancel);
    [[nodiscard]] bool has_later(Source &source, const WalFileName &file, std::string_view name,
                                 const CancelToken &cancel);
    // Whether the object of a segment counts: who wrote it was the writer there (rules C2).
    [[nodiscard]] bool is_accepted(Source &source, const WalFileName &file, const std::string &key,
                                   const CancelToken &cancel);

    const uint64_t system_identifier_;
    LogSink &log_;
    mutable std::mutex mutex_; // of the mutable parts of sources_
    std::vector<Source> sources_;
};

} // namespace pgvigil
