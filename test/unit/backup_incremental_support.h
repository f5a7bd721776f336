// What the tests of incremental backups share: a data directory whose changes are recorded as WAL summaries would, and
// each backup's state to compare with.
#pragma once

#include "backup_support.h"

#include "repo/chain_table.h"

#include <map>
#include <set>
#include <thread>

namespace pgvigil::test {

using State = std::map<std::string, Bytes>;

class IncrementalTest : public BackupTest {
  protected:
    static constexpr size_t kBlock = 8192;

    IncrementalTest() { use_repositories(1); }

    // Other repositories, the same files.
    void reset() {
        stores.clear();
        repositories.clear();
        ids.clear();
        states.clear();
        changes = std::make_shared<BlockChanges>();
        use_repositories(1);
    }

    [[nodiscard]] Bytes content(const std::string &path) const {
        std::ifstream file(directory.path() + "/" + path, std::ios::binary);
        const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
        return to_bytes(text);
    }
    [[nodiscard]] bool exists(const std::string &path) const {
        return std::filesystem::exists(directory.path() + "/" + path);
    }
    void create(const std::string &path, uint32_t blocks, uint64_t seed) {
        limit(path, 0);
        write_file(path, some_bytes(blocks * kBlock, seed + 1000 * ++writes_));
        for (uint32_t block = 0; block < blocks; ++block)
            note(path, block);
    }
    void remove(const std::string &path) {
        limit(path, 0);
        std::filesystem::remove(directory.path() + "/" + path);
    }
    void change_blocks(const std::string &path, const std::set<uint32_t> &blocks) {
        for (const uint32_t block : blocks) {
            quiet_change(path, block);
            note(path, block);
        }
    }
    // A change that no WAL tells of.
    void quiet_change(const std::string &path, uint32_t block) {
        Bytes bytes = content(path);
        const Bytes other = some_bytes(kBlock, 5000 + 1000 * ++writes_);
        if ((block + 1) * kBlock <= bytes.size())
            std::copy(other.begin(), other.end(), bytes.begin() + static_cast<ptrdiff_t>(block * kBlock));
        write_file(path, bytes);
    }
    void zero_block(const std::string &path, uint32_t block) {
        Bytes bytes = content(path);
        std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(block * kBlock), kBlock, std::byte{0});
        write_file(path, bytes);
        note(path, block);
    }
    void truncate(const std::string &path, uint32_t blocks) {
        Bytes bytes = content(path);
        if (bytes.size() <= blocks * kBlock)
            return;
        bytes.resize(blocks * kBlock);
        write_file(path, bytes);
        limit(path, blocks);
    }
    // With `seed` 0 by pages of zeroes, which are not logged.
    void extend(const std::string &path, uint32_t blocks, uint64_t seed) {
        Bytes bytes = content(path);
        const size_t before = bytes.size() / kBlock;
        if (before >= blocks)
            return;
        const Bytes more = seed == 0 ? Bytes((blocks - before) * kBlock)
                                     : some_bytes((blocks - before) * kBlock, seed + 1000 * ++writes_);
        bytes.insert(bytes.end(), more.begin(), more.end());
        write_file(path, bytes);
        for (size_t block = before; block < blocks && seed != 0; ++block)
            note(path, static_cast<uint32_t>(block));
    }
    void drop_database(uint32_t database) {
        changes->add_entry({1663, database, 0, RelationFork::kMain}, 0);
        std::filesystem::remove_all(directory.path() + "/base/" + std::to_string(database));
    }
    void random_change(const std::string &path, uint32_t kind, uint32_t at) {
        if (!exists(path) || kind == 0) {
            create(path, at, at + 1);
            return;
        }
        const auto blocks = static_cast<uint32_t>(content(path).size() / kBlock);
        if (kind == 1)
            remove(path);
        else if (kind == 2)
            truncate(path, at);
        else if (kind == 3)
            extend(path, at, at + 1);
        else if (kind == 4)
            extend(path, at, 0);
        else if (at < blocks && kind == 5)
            zero_block(path, at);
        else if (at < blocks)
            change_blocks(path, {at, (at * 7) % blocks, at / 2});
    }

    using Edit = std::function<void(CommitDocument &document)>;
    std::string full(const Edit &edit = {}) { return back_up_as(true, {}, edit); }
    std::string incremental(ChangeMethod method, const std::function<void()> &before_commit = {}) {
        source.method = method;
        source.changes = changes;
        return back_up_as(false, before_commit, {});
    }
    // A backup that dies after its copy, once its packs are stored.
    std::string interrupted(bool is_full) {
        BackupWriter writer(repositories, options, progress, log);
        const std::string id = writer.begin(attempt_of(is_full), is_full, never);
        writer.copy(source, never);
        for (uint64_t stored = 0, looks = 0; looks < 10;) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            const uint64_t now = progress.bytes_stored;
            looks = now == stored && now > 0 ? looks + 1 : 0;
            stored = now;
        }
        return id;
    }
    [[nodiscard]] AttemptDocument attempt_of(bool is_full) {
        AttemptDocument document = attempt();
        document.instance = instance;
        document.started_ms += 1000 * static_cast<int64_t>(++attempts_);
        if (!is_full)
            document.parents.assign(ids.rbegin(), ids.rend());
        return document;
    }

    [[nodiscard]] CommitDocument commit_of(const std::string &id) const {
        return BackupReadBack(*stores[0], id).commit().value();
    }
    [[nodiscard]] FileTableReader table_of(const std::string &id) const {
        return FileTableReader([this, id](const std::string &name, std::optional<ByteRange> range) {
            const std::string key = layout.files_prefix(id) + name;
            return range ? stores[0]->get_range(key, *range, never).value()
                         : stores[0]->get(key, 64 * kMiB, never).value();
        });
    }
    [[nodiscard]] FileEntry entry_of(const std::string &id, const std::string &path) const {
        return table_of(id).find(path).value();
    }
    // The files of a backup, each piece from the backup that stores it.
    [[nodiscard]] State restored_state(const std::string &id) const {
        std::vector<CommitDocument> commits{commit_of(id)};
        for (const std::string &parent : commits[0].parents)
            commits.push_back(commit_of(parent));
        std::vector<FileTableReader> tables;
        for (const CommitDocument &commit : commits)
            tables.push_back(table_of(commit.id));
        ChainTable chain(std::move(tables), kBlock);
        State state;
        FrameDecoder decoder;
        while (const auto entry = chain.next()) {
            if (entry->entry.kind != FileKind::kRegular)
                continue;
            Bytes &bytes = state[entry->entry.path];
            bytes.resize(entry->entry.size);
            for (const ChainPiece &piece : entry->pieces) {
                const CommitDocument &commit = commits[piece.backup];
                const auto pack = std::find_if(commit.packs.begin(), commit.packs.end(),
                                               [&](const auto &p) { return p.number == piece.extent.pack; });
                const Bytes frame = stores[0]
                                        ->get_range(pack_key(layout, commit.id, *pack),
                                                    {piece.extent.place.offset, piece.extent.place.length}, never)
                                        .value();
                FrameHeader header;
                const Bytes plain = decoder.decode(frame, header, entry->entry.path);
                std::copy_n(plain.begin() + piece.extent.frame_offset + piece.extent_offset, piece.length,
                            bytes.begin() + static_cast<ptrdiff_t>(piece.offset));
            }
        }
        return state;
    }
    [[nodiscard]] bool same(const std::string &id) const { return restored_state(id) == states.at(id); }
    void expect_state(const std::string &id) const {
        const State found = restored_state(id);
        const State &expected = states.at(id);
        for (const auto &[path, bytes] : expected) {
            ASSERT_TRUE(found.contains(path)) << path;
            EXPECT_TRUE(found.at(path) == bytes) << path << " of " << id;
        }
        EXPECT_EQ(found.size(), expected.size());
    }

    std::shared_ptr<BlockChanges> changes = std::make_shared<BlockChanges>();
    std::vector<std::string> ids; // of the chain, the oldest first
    std::map<std::string, State> states;
    BackupOptions options;
    const Uuid instance = random_uuid();

  private:
    static std::optional<RelationForkId> fork_of(const std::string &path) {
        const auto relation = parse_relation_path(path);
        if (!relation)
            return std::nullopt;
        return RelationForkId{relation->tablespace, relation->database, relation->file.number, relation->file.fork};
    }
    void note(const std::string &path, uint32_t block) {
        const auto offset = static_cast<uint16_t>(block);
        if (const auto fork = fork_of(path))
            changes->add_blocks(*fork, 0, std::span(&offset, 1));
    }
    void limit(const std::string &path, uint32_t blocks) {
        if (const auto fork = fork_of(path))
            changes->add_entry(*fork, blocks);
    }
    std::string back_up_as(bool is_full, const std::function<void()> &before_commit, const Edit &edit) {
        progress.bytes_done = 0;
        progress.blocks_changed = 0;
        progress.bytes_reused = 0;
        if (is_full)
            ids.clear();
        BackupWriter writer(repositories, options, progress, log);
        const std::string id = writer.begin(attempt_of(is_full), is_full, never);
        writer.copy(source, never);
        if (before_commit)
            before_commit();
        CommitDocument document = facts();
        (void)writer.commit(document, never);
        if (edit)
            rewrite_commit(id, edit);
        ids.push_back(id);
        for (const auto &item : std::filesystem::recursive_directory_iterator(directory.path()))
            if (item.is_regular_file()) {
                const std::string path = item.path().string().substr(directory.path().size() + 1);
                states[id][path] = content(path);
            }
        changes = std::make_shared<BlockChanges>();
        return id;
    }
    void rewrite_commit(const std::string &id, const Edit &edit) {
        CommitDocument document = commit_of(id);
        edit(document);
        (void)stores[0]->remove({layout.commit(id)}, never);
        const std::string key = layout.commit(id);
        const Bytes body = encode_document(encode(document), 0, Uuid{});
        ASSERT_EQ(stores[0]->put_new({.key = key, .body = body}, never), PutOutcome::kStored);
    }
    uint64_t writes_ = 0;
    uint64_t attempts_ = 0;
};

// The same outside of a fixture.
struct IncrementalHarness : IncrementalTest {
    void TestBody() override {}
    using IncrementalTest::create;
    using IncrementalTest::full;
    using IncrementalTest::ids;
    using IncrementalTest::incremental;
    using IncrementalTest::interrupted;
    using IncrementalTest::make_directory;
    using IncrementalTest::options;
    using IncrementalTest::random_change;
    using IncrementalTest::same;
    using IncrementalTest::write_file;
};

} // namespace pgvigil::test
