// What the tests of reading WAL share: segments in memory stores, as the archiver writes them, and epochs.
#pragma once

#include "wal_archiver_support.h"

#include "transfer/wal_read.h"

namespace pgvigil::test {

class WalReadTest : public ArchiverTest {
  protected:
    // Archives a segment of `filling` into the repository `index` alone, as the writer of `epoch`.
    Bytes archive_into(size_t index, const std::string &name, unsigned filling = 1, uint64_t epoch = 1,
                       Lsn epoch_start = {}, TimelineId epoch_timeline = 1) {
        const Bytes bytes = write_segment(name, filling);
        put_file(index, name, epoch, epoch_start, epoch_timeline);
        return bytes;
    }
    void put_file(size_t index, const std::string &name, uint64_t epoch = 1, Lsn epoch_start = {},
                  TimelineId epoch_timeline = 1) {
        WalArchiverOptions how = options();
        how.epoch = epoch;
        how.epoch_start = epoch_start;
        how.epoch_timeline = epoch_timeline;
        how.memory_limit = 400 * kMiB;
        WalArchiver archiver(how, {repositories.at(index)}, log);
        EXPECT_EQ(archive(archiver, name), WalFileState::kDone)
            << (archiver.failure(name) ? archiver.failure(name)->message() : "");
    }
    void put_epoch(size_t index, uint64_t number, TimelineId timeline, Lsn lsn) {
        EpochDocument epoch;
        epoch.number = number;
        epoch.timeline = timeline;
        epoch.lsn = lsn;
        epoch.instance = random_uuid();
        epoch.host = "host";
        epoch.reason = "test";
        const Bytes object = encode_document(encode(epoch), number, random_uuid());
        EXPECT_EQ(stores.at(index)->put_new({.key = layout.epoch(number), .body = object}, never), PutOutcome::kStored);
    }
    [[nodiscard]] WalReader reader() { return {repositories, kSystemIdentifier, log}; }
    std::optional<Bytes> read(WalReader &reader, const std::string &name) {
        WalMemorySink sink(256 * kMiB);
        return reader.read(name, sink, never) ? std::optional(sink.content()) : std::nullopt;
    }
    std::optional<Bytes> read(const std::string &name) {
        WalReader fresh(repositories, kSystemIdentifier, log);
        return read(fresh, name);
    }
    template <class Call> Error error_of(Call &&call) {
        try {
            (void)call();
        } catch (const Error &error) {
            return error;
        }
        ADD_FAILURE() << "nothing was thrown";
        return {ErrorCode::kInternal, "none"};
    }
    // Any call to the store fails as an unreachable server's would.
    void take_down(size_t index) {
        stores.at(index)->before = [](StoreCall, std::string_view, const CancelToken &) {
            throw Error(ErrorCode::kUnavailable, "the store is down").retryable();
        };
    }
    void damage(size_t index, const std::string &key, size_t from_end) {
        Bytes object = stores.at(index)->get(key, 64 * kMiB, never).value();
        object.at(object.size() - from_end) ^= std::byte{0x20};
        stores.at(index)->overwrite_for_test(key, std::move(object));
    }

    const CancelToken never;
};

inline constexpr const char *kFirst = "000000010000000000000001";
inline constexpr const char *kSecond = "000000010000000000000002";
inline constexpr const char *kThird = "000000010000000000000003";

} // namespace pgvigil::test
