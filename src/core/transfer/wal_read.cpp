#include "transfer/wal_read.h"

#include "base/error.h"
#include "base/time.h"
#include "crypto/digest.h"
#include "repo/envelope.h"
#include "repo/epochs.h"
#include "repo/wal_object.h"
#include "transfer/tail_read.h"
#include "transfer/wal_read_object.h"

#include <algorithm>
#include <exception>
#include <fmt/core.h>
#include <numeric>
#include <utility>

namespace pgvigil {

namespace {

constexpr uint64_t kMaxSmallFileBytes = kMiB; // history and backup-history files
constexpr int64_t kEpochsFreshMs = 10000;
constexpr int64_t kAvoidAfterOutageMs = 30000;
constexpr size_t kLaterPageEntries = 20;

// Carries an error of the sink past the code that would blame the repository for it.
struct SinkFailure {
    std::exception_ptr cause;
};

template <class Call> void into_sink(Call &&call) {
    try {
        call();
    } catch (...) {
        throw SinkFailure{std::current_exception()};
    }
}

// The lowest epoch whose objects are read in this file's place (rules C2). transfer/wal_upload.cpp decides by the same
// rule where a writer puts its own.
uint64_t ruling_epoch(const std::vector<EpochDocument> &epochs, const WalFileName &file, uint64_t length) {
    if (file.kind == WalFileKind::kSegment)
        return lowest_accepted_epoch(epochs, file.timeline, segment_number(file, length), length);
    uint64_t ruling = 0;
    for (const EpochDocument &epoch : epochs)
        if (epoch.timeline == file.timeline)
            ruling = std::max(ruling, epoch.number);
    return ruling;
}

void check_length(const WalFileName &file, uint64_t length, const std::string &key) {
    const bool segment = file.kind == WalFileKind::kSegment || file.kind == WalFileKind::kPartial;
    if (segment ? !is_valid_segment_size(length) : length > kMaxSmallFileBytes)
        throw Error(ErrorCode::kCorrupt, fmt::format("WAL object \"{}\" has an impossible length", key))
            .detail(fmt::format("Its header says {} bytes.", length));
}

// One file from one repository: checks, digests and passes on what its objects hold.
class FileCopy {
  public:
    FileCopy(ObjectStore &store, const WalFileName &file, uint64_t system_identifier, WalSink &sink,
             const CancelToken &cancel)
        : store_(store), file_(file), system_identifier_(system_identifier), sink_(sink), cancel_(cancel) {}

    void run(WalObjectStream &stream, const ObjectHeader &header, const std::string &key) {
        const WalFacts facts = decode_wal_facts(header.extension, key);
        length_ = header.plain_length;
        check_parts(facts.parts, key);
        into_sink([&] { sink_.begin(length_); });
        for (const WalPart &part : facts.parts)
            copy_part(part);
        copy(stream, length_ - done_, key);
        if (digest_.finish() != header.digest)
            throw Error(ErrorCode::kCorrupt, fmt::format("WAL object \"{}\" does not match its digest", key));
    }

  private:
    void check_parts(const std::vector<WalPart> &parts, const std::string &key) const {
        uint64_t total = 0;
        for (const WalPart &part : parts) {
            // A part named by foreign bytes must not lead out of this segment's own names.
            if (part.key.rfind(key.substr(0, key.find('~')) + ".part", 0) != 0)
                throw Error(ErrorCode::kCorrupt, fmt::format("WAL object \"{}\" names a part that is not its own", key))
                    .detail(fmt::format("The part is \"{}\".", part.key));
            if (part.plain_length == 0 || part.plain_length > kWalPartBytes || total + part.plain_length >= length_)
                throw Error(ErrorCode::kCorrupt, fmt::format("WAL object \"{}\" has parts that do not add up", key));
            total += part.plain_length;
        }
        if (length_ - total > kWalPartBytes)
            throw Error(ErrorCode::kCorrupt, fmt::format("WAL object \"{}\" lacks parts", key));
    }

    void copy_part(const WalPart &part) {
        WalObjectStream stream(store_, part.key, cancel_);
        const auto header = stream.open();
        if (!header)
            throw Error(ErrorCode::kNotFound, fmt::format("part \"{}\" of a WAL segment is missing", part.key));
        if (header->kind != ObjectKind::kWalPart || header->plain_length != part.plain_length ||
            header->digest != part.digest)
            throw Error(ErrorCode::kCorrupt, fmt::format("part \"{}\" is not what its segment names", part.key));
        copy(stream, part.plain_length, part.key);
    }

    void copy(WalObjectStream &stream, uint64_t length, const std::string &key) {
        stream.read(length, [&](ByteView plain) {
            if (done_ == 0 && file_.kind == WalFileKind::kSegment)
                check_first_page(plain, file_, length_, system_identifier_, key);
            digest_.update(plain);
            into_sink([&] { sink_.write(plain); });
            done_ += plain.size();
        });
    }

    ObjectStore &store_;
    const WalFileName &file_;
    const uint64_t system_identifier_;
    WalSink &sink_;
    const CancelToken &cancel_;
    Sha256 digest_;
    uint64_t length_ = 0;
    uint64_t done_ = 0;
};

} // namespace

void WalMemorySink::begin(uint64_t length) {
    if (length > limit_)
        throw Error(ErrorCode::kCorrupt, fmt::format("a file of {} bytes is larger than expected", length))
            .detail(fmt::format("At most {} bytes are accepted.", limit_));
    content_.clear();
    content_.reserve(length);
}

void WalMemorySink::write(ByteView plain) {
    content_.insert(content_.end(), plain.begin(), plain.end());
}

WalReader::WalReader(std::vector<std::shared_ptr<Repository>> repositories, uint64_t system_identifier, LogSink &log)
    : system_identifier_(system_identifier), log_(log) {
    for (auto &repository : repositories)
        sources_.push_back({std::move(repository), {}});
}

std::vector<size_t> WalReader::order() const {
    std::vector<size_t> indexes(sources_.size());
    std::iota(indexes.begin(), indexes.end(), size_t{0});
    const int64_t now = boot_time_ms();
    const std::lock_guard lock(mutex_);
    std::stable_partition(indexes.begin(), indexes.end(),
                          [&](size_t index) { return sources_[index].avoid_until_ms <= now; });
    return indexes;
}

std::optional<WalFileFacts> WalReader::read(std::string_view name, WalSink &sink, const CancelToken &cancel) {
    const auto file = parse_wal_file_name(name);
    if (!file)
        throw Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not the name of a WAL file", name));
    std::optional<Error> failure;
    for (const size_t index : order()) {
        Source &source = sources_[index];
        try {
            auto found = read_from(source, *file, name, sink, cancel);
            if (found)
                return found;
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            failure = error.with_context(
                fmt::format("could not read \"{}\" from \"{}\"", name, source.repository->store().display_name()));
            log_.emit(LogLevel::kWarning, failure->message(), failure->detail());
            const std::lock_guard lock(mutex_);
            if (error.is_retryable() || error.code() == ErrorCode::kUnavailable)
                source.avoid_until_ms = boot_time_ms() + kAvoidAfterOutageMs;
        } catch (const SinkFailure &failed) {
            std::rethrow_exception(failed.cause);
        }
    }
    if (failure)
        throw std::move(*failure);
    return std::nullopt;
}

std::vector<EpochDocument> WalReader::epochs_of(Source &source, const CancelToken &cancel) {
    std::vector<EpochDocument> known;
    {
        const std::lock_guard lock(mutex_);
        if (source.epochs_read_ms != 0 && boot_time_ms() - source.epochs_read_ms < kEpochsFreshMs)
            return source.epochs;
        known = source.epochs;
    }
    const int64_t started = boot_time_ms();
    // Epoch documents never change: only new ones are fetched.
    for (EpochDocument &epoch : list_epochs(*source.repository, known.empty() ? 0 : known.back().number, cancel))
        known.push_back(std::move(epoch));
    const std::lock_guard lock(mutex_);
    source.epochs = known;
    source.epochs_read_ms = std::max<int64_t>(started, 1);
    return known;
}

void WalReader::confirm(Source &source, const CancelToken &cancel) {
    {
        const std::lock_guard lock(mutex_);
        if (source.confirmed)
            return;
    }
    ObjectStore &store = source.repository->store();
    if (!read_repository_document(store, cancel))
        throw Error(ErrorCode::kForeign, fmt::format("there is no pgvigil repository at \"{}\"", store.display_name()))
            .hint("Check the URL; a file system may not be mounted, a prefix mistyped.");
    const std::lock_guard lock(mutex_);
    source.confirmed = true;
}

std::optional<WalFileFacts> WalReader::read_from(Source &source, const WalFileName &file, std::string_view name,
                                                 WalSink &sink, const CancelToken &cancel) {
    Repository &repository = *source.repository;
    ObjectStore &store = repository.store();
    std::string key = repository.layout().wal_file(name);
    auto stream = std::make_unique<WalObjectStream>(store, key, cancel);
    auto header = stream->open();
    if (!header) {
        confirm(source, cancel);
        return std::nullopt;
    }
    if (header->kind != ObjectKind::kWal)
        throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" is not a WAL file's object", key));
    check_length(file, header->plain_length, key);

    const uint64_t ruling = ruling_epoch(epochs_of(source, cancel), file, header->plain_length);
    if (header->epoch < ruling) {
        const std::string newer = repository.layout().wal_file_of_epoch(name, ruling);
        auto newer_stream = std::make_unique<WalObjectStream>(store, newer, cancel);
        auto newer_header = newer_stream->open();
        if (newer_header) {
            if (newer_header->kind != ObjectKind::kWal)
                throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" is not a WAL file's object", newer));
            check_length(file, newer_header->plain_length, newer);
            key = newer;
            stream = std::move(newer_stream);
            header = std::move(newer_header);
        } else if (file.kind == WalFileKind::kSegment) {
            return std::nullopt; // what is there was written by someone who was no longer the writer
        }
    }
    FileCopy(store, file, system_identifier_, sink, cancel).run(*stream, *header, key);
    return WalFileFacts{header->plain_length, header->plain_length, store.display_name(), key, header->epoch};
}

bool WalReader::anything_later(std::string_view name, const CancelToken &cancel) {
    const auto file = parse_wal_file_name(name);
    if (!file)
        throw Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not the name of a WAL file", name));
    return std::any_of(sources_.begin(), sources_.end(), [&](Source &source) {
        confirm(source, cancel);
        return has_later(source, *file, name, cancel) ||
               is_streamed_behind(*source.repository, epochs_of(source, cancel), name, cancel);
    });
}

bool WalReader::has_later(Source &source, const WalFileName &file, std::string_view name, const CancelToken &cancel) {
    Repository &repository = *source.repository;
    const std::string prefix = repository.layout().wal_prefix(file.timeline);
    const bool history = file.kind == WalFileKind::kHistory;
    const std::string_view segment = name.substr(0, 24);
    // "~~" sorts after every suffix that an object of this very segment may have.
    std::string after = history ? prefix : repository.layout().wal_file(segment) + "~~";
    for (;;) {
        const ListPage page =
            repository.store().list({.prefix = prefix, .start_after = after, .limit = kLaterPageEntries}, cancel);
        for (const ObjectInfo &object : page.objects) {
            const std::string_view base = std::string_view(object.key).substr(object.key.rfind('/') + 1);
            const auto other = parse_wal_file_name(base.substr(0, 24));
            const bool whole = base.size() == 24 || (base.size() > 24 && base[24] == '~');
            if (other && whole && other->kind == WalFileKind::kSegment && (history || base.substr(0, 24) > segment) &&
                is_accepted(source, *other, object.key, cancel))
                return true;
        }
        if (!page.more)
            return false;
        after = page.last;
    }
}

bool WalReader::is_accepted(Source &source, const WalFileName &file, const std::string &key,
                            const CancelToken &cancel) {
    const std::vector<EpochDocument> epochs = epochs_of(source, cancel);
    // Nobody wrote before the first.
    if (epochs.size() < 2)
        return true;
    const auto header = read_header(source.repository->store(), key, cancel);
    return header && header->header.epoch >= ruling_epoch(epochs, file, header->header.plain_length);
}

} // namespace pgvigil
