// What the tests of backups share: a data directory on disk, a backup of it in memory stores, and a reader that puts a
// backup's files together again from its documents, table and packs, as any reader of the format would.
#pragma once

#include "codec/frame.h"
#include "crypto/digest.h"
#include "repo/envelope.h"
#include "repo/file_table.h"
#include "repo/repository.h"
#include "storage/memory/memory_store.h"
#include "storage_test_support.h"
#include "transfer/backup_writer.h"

#include <cstring>
#include <fstream>
#include <map>
#include <sys/stat.h>
#include <unistd.h>

namespace pgvigil::test {

inline constexpr uint64_t kCluster = 7123456789012345678;
inline constexpr const char *kVersionDirectory = "PG_17_202406281";

// Bytes that differ from place to place, half of them compressible.
inline Bytes some_bytes(size_t size, uint64_t seed) {
    Bytes bytes(size);
    uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
    for (size_t i = 0; i < size; ++i) {
        if (i % 16 == 0)
            state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        bytes[i] = static_cast<std::byte>(i % 16 < 8 ? state >> (8 * (i % 8)) : seed);
    }
    return bytes;
}

struct RestoredFile {
    FileKind kind = FileKind::kRegular;
    uint32_t mode = 0;
    Bytes content;
};
using RestoredTree = std::map<std::string, RestoredFile>;

// Reads a committed backup; checks every size, digest and hash on the way. nullopt when there is no such commit.
class BackupReadBack {
  public:
    BackupReadBack(ObjectStore &store, const std::string &id) : store_(store), layout_(kCluster), id_(id) {}

    [[nodiscard]] std::optional<CommitDocument> commit() const {
        const auto json = read_document(store_, layout_.commit(id_), never_);
        return json ? std::optional(decode_commit(*json, layout_.commit(id_))) : std::nullopt;
    }
    [[nodiscard]] std::optional<RestoredTree> files() const {
        const auto document = commit();
        if (!document)
            return std::nullopt;
        std::map<uint32_t, Bytes> packs;
        for (const StoredObject &object : document->packs)
            packs[object.number] = fetch(pack_key(layout_, id_, object), object);
        std::map<std::string, Bytes> table;
        for (const StoredObject &object : document->table)
            table[object.name] = fetch(layout_.files_prefix(id_) + object.name, object);
        FileTableReader reader([&](const std::string &name, std::optional<ByteRange> range) {
            const Bytes &object = table.at(name);
            if (!range)
                return object;
            const ByteView part = ByteView(object).subspan(range->offset, range->length);
            return Bytes(part.begin(), part.end());
        });
        RestoredTree tree;
        std::string last;
        reader.for_each([&](FileEntry &&entry) {
            EXPECT_TRUE(last.empty() || compare_paths(last, entry.path) < 0) << entry.path;
            last = entry.path;
            tree[entry.path] = {entry.kind, entry.mode, content_of(entry, packs)};
        });
        return tree;
    }

  private:
    Bytes fetch(const std::string &key, const StoredObject &object) const {
        const Bytes bytes = store_.get(key, 64 * kMiB, never_).value();
        EXPECT_EQ(bytes.size(), object.size);
        EXPECT_EQ(sha256(bytes), object.sha256);
        return bytes;
    }
    static Bytes content_of(const FileEntry &entry, const std::map<uint32_t, Bytes> &packs) {
        Bytes content(entry.size);
        FrameDecoder decoder;
        uint64_t end = 0;
        for (const ExtentRef &extent : entry.extents) {
            EXPECT_GE(extent.offset, end) << entry.path;
            EXPECT_LE(extent.plain_length, kMaxExtentBytes);
            EXPECT_EQ(extent.offset % 8192, 0U);
            end = extent.offset + extent.plain_length;
            EXPECT_LE(end, entry.size) << entry.path;
            const ByteView frame = ByteView(packs.at(extent.pack)).subspan(extent.place.offset, extent.place.length);
            FrameHeader header;
            const Bytes plain = decoder.decode(frame, header, entry.path);
            EXPECT_EQ(plain.size(), extent.frame_length);
            EXPECT_EQ(header.hash, extent.hash);
            EXPECT_LE(uint64_t{extent.frame_offset} + extent.plain_length, plain.size());
            const ByteView own = ByteView(plain).subspan(extent.frame_offset, extent.plain_length);
            EXPECT_EQ(content_hash(own), extent.own_hash);
            std::copy(own.begin(), own.end(), content.begin() + static_cast<ptrdiff_t>(extent.offset));
        }
        return content;
    }

    ObjectStore &store_;
    const CancelToken never_;
    const ClusterLayout layout_;
    const std::string id_;
};

class BackupTest : public ::testing::Test {
  protected:
    BackupTest() {
        source.data_directory = directory.path();
        source.server_major_version = 17;
        source.tablespace_version_directory = kVersionDirectory;
        source.start_lsn = Lsn{0x1000000};
    }
    void use_repositories(size_t count) {
        for (size_t i = 0; i < count; ++i)
            use_store(std::make_shared<MemoryStore>("memory:" + std::to_string(i)));
    }
    void use_store(std::shared_ptr<ObjectStore> store) {
        stores.push_back(std::move(store));
        ObjectStore &last = *stores.back();
        repositories.push_back(std::make_shared<Repository>(
            stores.back(), create_repository_document(last, CancelToken()), last.display_name(), kCluster));
    }
    void make_directory(const std::string &path) const {
        std::filesystem::create_directories(directory.path() + "/" + path);
    }
    void write_file(const std::string &path, ByteView content) const {
        const std::string full = directory.path() + "/" + path;
        std::filesystem::create_directories(std::filesystem::path(full).parent_path());
        std::ofstream(full, std::ios::binary | std::ios::trunc) << as_text(content);
        chmod(full.c_str(), 0600);
    }
    void make_cluster() const {
        write_file("PG_VERSION", as_view("17\n"));
        write_file("postgresql.conf", as_view("shared_preload_libraries = 'pgvigil'\n"));
        write_file("base/5/16384", some_bytes(3 * kMiB + 8192, 1));
        write_file("base/5/16385", some_bytes(8192, 2));
        write_file("base/5/16386", {});
        write_file("global/1262", some_bytes(16384, 3));
        write_file("pg_xact/0000", some_bytes(8192, 4));
        make_directory("pg_wal");
        make_directory("pg_logical/snapshots");
    }
    [[nodiscard]] AttemptDocument attempt() const {
        AttemptDocument document;
        document.system_identifier = kCluster;
        document.timeline = 1;
        document.start_lsn = source.start_lsn;
        document.host = "here";
        document.instance = random_uuid();
        document.started_ms = 1763625600000;
        return document;
    }
    [[nodiscard]] CommitDocument facts() const {
        CommitDocument document;
        document.server_version = 170000;
        document.wal_segment_size = 16 * kMiB;
        document.start_lsn = source.start_lsn;
        document.start_timeline = 1;
        document.stop_lsn = Lsn{0x2000000};
        document.stop_timeline = 1;
        document.backup_label = "START WAL LOCATION: 0/1000028\n";
        return document;
    }
    // The whole of a backup; returns its id.
    std::string back_up(BackupOptions options = {}) {
        BackupWriter writer(repositories, options, progress, log);
        const std::string id = writer.begin(attempt(), true, never);
        writer.copy(source, never);
        committed_in = writer.commit(facts(), never);
        return id;
    }
    [[nodiscard]] RestoredTree restored(const std::string &id, size_t repository = 0) const {
        return BackupReadBack(*stores[repository], id).files().value();
    }
    static std::vector<std::string> paths(const RestoredTree &tree) {
        std::vector<std::string> result;
        for (const auto &[path, file] : tree)
            result.push_back(path + (file.kind == FileKind::kDirectory ? "/" : ""));
        return result;
    }

    TemporaryDirectory directory;
    BackupSource source;
    BackupProgress progress;
    RememberingLog log;
    const CancelToken never;
    std::vector<std::shared_ptr<ObjectStore>> stores;
    std::vector<std::shared_ptr<Repository>> repositories;
    std::vector<std::string> committed_in;
    const ClusterLayout layout{kCluster};
};

} // namespace pgvigil::test
