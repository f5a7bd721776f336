// What the tests of WAL archiving share: segments as PostgreSQL writes them, a pg_wal directory, repositories in memory
// whose operations a test can watch, hold up and break.
#pragma once

#include "base/wal_name.h"
#include "codec/frame.h"
#include "crypto/digest.h"
#include "repo/wal_object.h"
#include "storage/memory/memory_store.h"
#include "storage_test_support.h"
#include "transfer/wal_archiver.h"

#include <cstring>
#include <fstream>
#include <functional>
#include <poll.h>

namespace pgvigil::test {

inline constexpr uint64_t kSystemIdentifier = 7123456789012345678;
inline constexpr uint16_t kMagic = 0xd116; // PostgreSQL 17
inline constexpr size_t kWalPage = 8192;

struct SegmentSpec {
    std::string name;
    uint64_t size = kMiB;
    uint64_t system_identifier = kSystemIdentifier;
    std::optional<TimelineId> page_timeline = {}; // the name's when unset
    unsigned filling = 1;                         // different fillings, different bytes
    bool compressible = true;
};

// Page headers as in a real segment; between them bytes that are no records.
inline Bytes make_segment(const SegmentSpec &spec) {
    const WalFileName name = parse_wal_file_name(spec.name).value();
    const uint64_t start = segment_number(name, spec.size) * spec.size;
    Bytes segment(spec.size);
    uint64_t state = spec.filling * 0x9e3779b97f4a7c15ULL + start;
    for (size_t at = 0; at + 8 <= segment.size(); at += 8) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        const uint64_t value = spec.compressible && at % 64 >= 8 ? spec.filling : state;
        std::memcpy(segment.data() + at, &value, 8);
    }
    for (size_t at = 0; at < segment.size(); at += kWalPage) {
        ByteWriter header;
        header.u16(kMagic);
        header.u16(at == 0 ? 2 : 0); // XLP_LONG_HEADER
        header.u32(spec.page_timeline.value_or(name.timeline));
        header.u64(start + at);
        header.u32(0);
        header.u32(0);
        if (at == 0) {
            header.u64(spec.system_identifier);
            header.u32(static_cast<uint32_t>(spec.size));
            header.u32(kWalPage);
        }
        std::memcpy(segment.data() + at, header.view().data(), header.size());
    }
    return segment;
}

enum class StoreCall { kPut, kGet, kRange, kHead, kList, kRemove };

// A memory store that tells a test of every call before and after its effect; what the test throws is thrown to the
// caller.
class WatchedStore : public MemoryStore {
  public:
    using MemoryStore::MemoryStore;
    std::function<void(StoreCall call, std::string_view key, const CancelToken &cancel)> before;
    std::function<void(StoreCall call, std::string_view key)> after;

    PutOutcome put_new(const PutRequest &request, const CancelToken &cancel) override {
        tell(StoreCall::kPut, request.key, cancel);
        return told(StoreCall::kPut, request.key, MemoryStore::put_new(request, cancel));
    }
    std::optional<Bytes> get(std::string_view key, uint64_t limit, const CancelToken &cancel) override {
        tell(StoreCall::kGet, key, cancel);
        return told(StoreCall::kGet, key, MemoryStore::get(key, limit, cancel));
    }
    std::optional<Bytes> get_range(std::string_view key, ByteRange range, const CancelToken &cancel) override {
        tell(StoreCall::kRange, key, cancel);
        return told(StoreCall::kRange, key, MemoryStore::get_range(key, range, cancel));
    }
    std::optional<ObjectInfo> head(std::string_view key, const CancelToken &cancel) override {
        tell(StoreCall::kHead, key, cancel);
        return told(StoreCall::kHead, key, MemoryStore::head(key, cancel));
    }
    ListPage list(const ListRequest &request, const CancelToken &cancel) override {
        tell(StoreCall::kList, request.prefix, cancel);
        return told(StoreCall::kList, request.prefix, MemoryStore::list(request, cancel));
    }
    std::vector<DeleteFailure> remove(const std::vector<std::string> &keys, const CancelToken &cancel) override {
        tell(StoreCall::kRemove, keys.front(), cancel);
        return told(StoreCall::kRemove, keys.front(), MemoryStore::remove(keys, cancel));
    }

  private:
    void tell(StoreCall call, std::string_view key, const CancelToken &cancel) {
        if (before)
            before(call, key, cancel);
    }
    template <class Result> Result told(StoreCall call, std::string_view key, Result result) {
        if (after)
            after(call, key);
        return result;
    }
};

// The plain bytes of a WAL file as a reader puts them together; nullopt when the object is absent.
inline std::optional<Bytes> read_wal_file(ObjectStore &store, const std::string &key) {
    const CancelToken never;
    const auto object = store.get(key, 64 * kMiB, never);
    if (!object)
        return std::nullopt;
    const ParsedHeader header = parse_header(*object, key);
    Bytes plain;
    FrameDecoder decoder;
    for (const WalPart &part : decode_wal_facts(header.header.extension, key).parts) {
        const Bytes bytes = store.get(part.key, 64 * kMiB, never).value();
        const size_t before = plain.size();
        decode_wal_frames(bytes, parse_header(bytes, part.key), plain, decoder, part.key);
        EXPECT_EQ(plain.size() - before, part.plain_length);
        EXPECT_EQ(sha256(ByteView(plain).subspan(before)), part.digest);
    }
    decode_wal_frames(*object, header, plain, decoder, key);
    EXPECT_EQ(plain.size(), header.header.plain_length);
    EXPECT_EQ(sha256(plain), header.header.digest);
    return plain;
}

inline std::vector<std::string> keys_of(ObjectStore &store, const std::string &prefix = "") {
    std::vector<std::string> keys;
    for_each_page(store, {.prefix = prefix}, CancelToken(), [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects)
            keys.push_back(object.key);
    });
    return keys;
}

class ArchiverTest : public ::testing::Test {
  protected:
    void use_repositories(size_t count) {
        for (size_t i = 0; i < count; ++i) {
            stores.push_back(std::make_shared<WatchedStore>("memory:" + std::to_string(i)));
            repositories.push_back(
                std::make_shared<Repository>(stores.back(), create_repository_document(*stores.back(), CancelToken()),
                                             "memory:" + std::to_string(i), kSystemIdentifier));
        }
    }
    [[nodiscard]] WalArchiverOptions options() const {
        WalArchiverOptions options;
        options.system_identifier = kSystemIdentifier;
        options.segment_size = segment_size;
        options.page_magic = kMagic;
        options.wal_directory = directory.path();
        options.epoch = 1;
        options.epoch_timeline = 1;
        return options;
    }
    void write_file(const std::string &name, ByteView bytes) const {
        std::ofstream(directory.path() + "/" + name, std::ios::binary) << as_text(bytes);
    }
    Bytes write_segment(const std::string &name, unsigned filling = 1) const {
        Bytes bytes = make_segment({.name = name, .size = segment_size, .filling = filling});
        write_file(name, bytes);
        return bytes;
    }
    // Waits as the owner does, on the event.
    static WalFileState wait_for(WalArchiver &archiver, const std::string &name) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (archiver.state(name) == WalFileState::kPending && std::chrono::steady_clock::now() < deadline) {
            pollfd event{archiver.event_fd(), POLLIN, 0};
            poll(&event, 1, 100);
            archiver.clear_event();
        }
        return archiver.state(name);
    }
    static WalFileState archive(WalArchiver &archiver, const std::string &name) {
        archiver.forget(name);
        EXPECT_TRUE(archiver.submit(name));
        return wait_for(archiver, name);
    }
    Error failure_of(const std::string &name) {
        WalArchiver archiver(options(), repositories, log);
        EXPECT_EQ(archive(archiver, name), WalFileState::kFailed);
        return archiver.failure(name).value_or(Error(ErrorCode::kInternal, "none"));
    }
    void expect_archived(const WalArchiverOptions &how, const std::string &name) {
        WalArchiver archiver(how, repositories, log);
        EXPECT_EQ(archive(archiver, name), WalFileState::kDone)
            << (archiver.failure(name) ? archiver.failure(name)->message() : "");
    }

    uint64_t segment_size = kMiB;
    TemporaryDirectory directory;
    RememberingLog log;
    std::vector<std::shared_ptr<WatchedStore>> stores;
    std::vector<std::shared_ptr<Repository>> repositories;
    const ClusterLayout layout{kSystemIdentifier};
};

} // namespace pgvigil::test
