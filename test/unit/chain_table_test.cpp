// Every file of every backup of a chain, looked up through the tables of its ancestors, is what it was (rules A1).
#include "chain_support.h"

#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

using test::ChainHistory;
using test::kCluster;

// Reads a backup of a history through the chain, block by block, from the packs it names.
class ChainReader {
  public:
    ChainReader(ObjectStore &store, const std::string &id) : store_(store) {
        CommitDocument commit = load(id);
        std::vector<std::string> chain{id};
        chain.insert(chain.end(), commit.parents.begin(), commit.parents.end());
        std::vector<FileTableReader> tables;
        for (const std::string &member : chain) {
            commits_.push_back(load(member));
            const std::string prefix = layout_.files_prefix(member);
            tables.emplace_back(
                [this, prefix](const std::string &name, std::optional<ByteRange> range) {
                    ++fetches[prefix];
                    const Bytes object = store_.get(prefix + name, 64 * kMiB, never_).value();
                    if (!range)
                        return object;
                    const ByteView part = ByteView(object).subspan(range->offset, range->length);
                    return Bytes(part.begin(), part.end());
                },
                prefix, commits_.back().table);
        }
        table_.emplace(std::move(tables), ChainHistory::kBlock);
    }

    std::map<std::string, Bytes> files() {
        std::map<std::string, Bytes> files;
        while (const auto found = table_->next())
            if (found->entry.kind == FileKind::kRegular)
                files[found->entry.path] = content(*found);
        return files;
    }

    std::map<std::string, size_t> fetches; // by prefix

  private:
    [[nodiscard]] CommitDocument load(const std::string &id) const {
        return decode_commit(*read_document(store_, layout_.commit(id), never_), id);
    }
    Bytes content(const ChainEntry &found) {
        Bytes bytes(found.entry.size);
        uint64_t end = 0;
        for (const ChainPiece &piece : found.pieces) {
            RC_ASSERT(piece.offset >= end && piece.length > 0);
            end = piece.offset + piece.length;
            RC_ASSERT(end <= found.entry.size);
            RC_ASSERT(piece.extent_offset + piece.length <= piece.extent.plain_length);
            RC_ASSERT(piece.offset == piece.extent.offset + piece.extent_offset);
            const Bytes plain = frame(piece);
            const size_t from = piece.extent.frame_offset + piece.extent_offset;
            std::copy_n(plain.begin() + static_cast<ptrdiff_t>(from), piece.length,
                        bytes.begin() + static_cast<ptrdiff_t>(piece.offset));
        }
        return bytes;
    }
    Bytes frame(const ChainPiece &piece) {
        const CommitDocument &commit = commits_[piece.backup];
        for (const StoredObject &pack : commit.packs)
            if (pack.number == piece.extent.pack) {
                const auto bytes = store_.get_range(pack_key(layout_, commit.id, pack),
                                                    {piece.extent.place.offset, piece.extent.place.length}, never_);
                FrameHeader header;
                return decoder_.decode(bytes.value(), header, pack.name);
            }
        throw std::runtime_error("no such pack");
    }

    ObjectStore &store_;
    const ClusterLayout layout_{kCluster};
    const CancelToken never_;
    std::vector<CommitDocument> commits_;
    std::optional<ChainTable> table_;
    FrameDecoder decoder_;
};

CommitDocument some_facts() {
    CommitDocument facts;
    facts.wal_segment_size = 16 * kMiB;
    facts.server_version = 170000;
    return facts;
}

std::map<std::string, Bytes> expected(const ChainHistory &history, const std::string &id) {
    std::map<std::string, Bytes> files;
    for (const auto &[path, blocks] : history.states().at(id))
        files[path] = ChainHistory::bytes_of(blocks);
    return files;
}

uint32_t always_most(uint32_t limit) {
    return limit - 1;
}

TEST(ChainTable, DroppedTruncatedAndExtendedBlocksDoNotShineThrough) {
    MemoryStore store("memory:");
    ChainHistory history(store);
    for (uint32_t block = 0; block < 10; ++block)
        for (const char *path : {"base/truncated", "base/dropped", "base/same", "base/written"})
            history.write(path, block);
    history.back_up(true, some_facts(), always_most);
    history.truncate("base/truncated", 3);
    history.zero("base/truncated", 9); // extended by blocks that are not written
    history.drop("base/dropped");
    history.zero("base/dropped", 9);
    history.write("base/written", 4);
    history.zero("base/written", 5);
    history.back_up(false, some_facts(), always_most);
    history.write("base/truncated", 5);
    history.truncate("base/same", 5);
    history.back_up(false, some_facts(), always_most);
    history.drop("base/same");
    history.back_up(false, some_facts(), always_most);
    history.write("base/same", 1);
    history.back_up(false, some_facts(), always_most);
    for (const auto &[id, state] : history.states())
        EXPECT_EQ(ChainReader(store, id).files(), expected(history, id)) << id;
}

TEST(ChainTable, AParentsTableIsReadOnlyWhenSomethingInheritsFromIt) {
    MemoryStore store("memory:");
    ChainHistory history(store);
    history.write("base/1", 0);
    history.back_up(true, some_facts(), always_most);
    const std::string middle = history.back_up(false, some_facts(), always_most);
    history.drop("base/1");
    history.write("base/1", 0);
    const std::string newest = history.back_up(false, some_facts(), always_most);
    const ClusterLayout layout(kCluster);
    ChainReader reader(store, newest);
    EXPECT_EQ(reader.files(), expected(history, newest));
    EXPECT_EQ(reader.fetches.size(), 1U);
    ChainReader whole(store, middle);
    EXPECT_EQ(whole.files(), expected(history, middle));
    EXPECT_EQ(whole.fetches.size(), 2U);
}

FileEntry entry_of(uint64_t size, uint32_t inherit_below, std::vector<std::pair<uint64_t, uint32_t>> extents) {
    FileEntry entry;
    entry.path = "base/1";
    entry.size = size;
    entry.inherit_below = inherit_below;
    for (const auto &[offset, length] : extents) {
        ExtentRef extent;
        extent.offset = offset;
        extent.plain_length = length;
        entry.extents.push_back(extent);
    }
    return entry;
}

TEST(ChainTable, AFullBackupInheritsNothing) {
    const FileEntry newest = entry_of(8192, 1, {});
    const std::vector<ChainLink> links{{&newest, 0}};
    try {
        (void)resolve_chain(links, 8192);
        FAIL();
    } catch (const Error &error) {
        EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
        EXPECT_NE(error.detail().find("base/1"), std::string::npos);
    }
}

TEST(ChainTable, PiecesSayWhereTheHashesOfTheirBlocksAre) {
    const FileEntry newest = entry_of(10 * 8192, 10, {{8192, 8192}, {5 * 8192, 3 * 8192}});
    const FileEntry oldest = entry_of(9 * 8192 + 100, 0, {{0, 4 * 8192}, {4 * 8192, 5 * 8192 + 100}});
    const std::vector<ChainLink> links{{&newest, 100}, {&oldest, 200}};
    const auto pieces = resolve_chain(links, 8192);
    // offset, length, backup, offset in the extent, first block of the extent in its table
    const std::vector<std::array<uint64_t, 5>> wanted = {
        {0, 8192, 1, 0, 200},        {8192, 8192, 0, 0, 100},         {2 * 8192, 2 * 8192, 1, 2 * 8192, 200},
        {4 * 8192, 8192, 1, 0, 204}, {5 * 8192, 3 * 8192, 0, 0, 101}, {8 * 8192, 8192 + 100, 1, 4 * 8192, 204},
    };
    ASSERT_EQ(pieces.size(), wanted.size());
    for (size_t i = 0; i < pieces.size(); ++i)
        EXPECT_EQ((std::array<uint64_t, 5>{pieces[i].offset, pieces[i].length, pieces[i].backup,
                                           pieces[i].extent_offset, pieces[i].extent_block}),
                  wanted[i])
            << i;
}

// Anything that happens to a few files, with backups between.
RC_GTEST_PROP(ChainTableProperty, EveryBackupOfAHistoryIsItsState, ()) {
    MemoryStore store("memory:");
    ChainHistory history(store);
    const std::vector<std::string> paths = {"base/1", "base/1/2", "base/10", "global/1"};
    const auto choose = [](uint32_t limit) { return *rc::gen::inRange<uint32_t>(0, limit); };
    history.back_up(true, some_facts(), choose);
    const int steps = *rc::gen::inRange(1, 60);
    for (int i = 0; i < steps; ++i) {
        // "base/1" is a directory of "base/1/2".
        const std::string &path = paths[*rc::gen::inRange<size_t>(1, paths.size())];
        const uint32_t block = choose(12);
        switch (*rc::gen::inRange(0, 8)) {
        case 0:
            history.truncate(path, block);
            break;
        case 1:
            history.drop(path);
            break;
        case 2:
            history.zero(path, block);
            break;
        case 3:
            history.back_up(false, some_facts(), choose);
            break;
        case 4:
            if (choose(6) == 0)
                history.back_up(true, some_facts(), choose);
            break;
        default:
            history.write(path, block);
        }
    }
    history.back_up(false, some_facts(), choose);
    for (const auto &[id, state] : history.states())
        RC_ASSERT(ChainReader(store, id).files() == expected(history, id));
}

} // namespace
} // namespace pgvigil
