// What the tests of chains share: a history of files that are written, truncated, extended, dropped and created again,
// and backups of it, written object by object as the format says, without the program's own backup writer.
#pragma once

#include "restore_support.h"

#include "repo/block_hashes.h"
#include "repo/chain_table.h"
#include "repo/pack.h"

#include <map>
#include <set>

namespace pgvigil::test {

// One file of a made-up cluster, in blocks; a block is one number, 0 for zeroes.
struct ModelFile {
    std::vector<uint32_t> blocks;
    // Since the last backup: nothing at or above `kept` is what it was then, nor are `changed` ones below.
    uint32_t kept = 0;
    std::set<uint32_t> changed;
};

class ChainHistory {
  public:
    static constexpr uint32_t kBlock = 1024; // bytes
    using State = std::map<std::string, std::vector<uint32_t>>;
    // How a backup chooses what the rules leave open; a number below `limit`.
    using Choose = std::function<uint32_t(uint32_t limit)>;

    explicit ChainHistory(ObjectStore &store) : store_(store) {}

    // From now on backups have hashes of their blocks, made with the repository's key.
    void hash_with(const Repository &repository) {
        hash_key_ = from_hex(repository.document().hash_key);
        hash_repository_ = repository.id();
    }

    void write(const std::string &path, uint32_t block) {
        ModelFile &file = files_[path];
        if (block >= file.blocks.size())
            file.blocks.resize(block + 1, 0);
        file.blocks[block] = ++last_value_;
        file.changed.insert(block);
    }
    // A block that becomes zeroes has changed; one that a file is extended by may be nothing but a hole.
    void zero(const std::string &path, uint32_t block) {
        ModelFile &file = files_[path];
        if (block >= file.blocks.size())
            file.blocks.resize(block + 1, 0);
        else
            file.changed.insert(block);
        file.blocks[block] = 0;
    }
    void truncate(const std::string &path, uint32_t blocks) {
        const auto found = files_.find(path);
        if (found == files_.end() || found->second.blocks.size() < blocks)
            return;
        found->second.blocks.resize(blocks);
        found->second.kept = std::min(found->second.kept, blocks);
    }
    void drop(const std::string &path) { files_.erase(path); }

    // Stores the state of now; incremental from the backup before. Returns its id.
    std::string back_up(bool full, CommitDocument facts, const Choose &choose) {
        const auto number = static_cast<int64_t>(states_.size());
        facts.id = make_backup_id(1763625600000 + number * 1000, full);
        facts.full = full;
        facts.block_size = kBlock;
        if (full)
            chain_.clear();
        for (const std::string &parent : chain_) {
            facts.parents.push_back(parent);
            facts.parent_commit_digests[parent] =
                to_hex(sha256(store_.get(layout_.commit(parent), 16 * kMiB, never_).value()));
        }
        write_backup(facts, choose);
        chain_.insert(chain_.begin(), facts.id);
        for (auto &[path, file] : files_) {
            states_[facts.id][path] = file.blocks;
            file.kept = static_cast<uint32_t>(file.blocks.size());
            file.changed.clear();
        }
        (void)states_[facts.id];
        return facts.id;
    }

    [[nodiscard]] const std::map<std::string, State> &states() const { return states_; }

    static Bytes bytes_of(const std::vector<uint32_t> &blocks) {
        Bytes bytes;
        for (const uint32_t value : blocks) {
            const Bytes block = block_of(value);
            bytes.insert(bytes.end(), block.begin(), block.end());
        }
        return bytes;
    }

  private:
    static Bytes block_of(uint32_t value) {
        Bytes block(kBlock);
        for (size_t i = 0; value != 0 && i < kBlock; ++i)
            block[i] = static_cast<std::byte>((value >> (8 * (i % 4))) + i / 64);
        return block;
    }

    // Which runs of blocks the backup stores of a file.
    static std::vector<std::pair<uint32_t, uint32_t>> runs_of(const ModelFile &file, uint32_t inherit_below,
                                                              const Choose &choose) {
        std::vector<std::pair<uint32_t, uint32_t>> runs; // first, count
        for (uint32_t block = 0; block < file.blocks.size(); ++block) {
            const bool stored = block < inherit_below ? file.changed.contains(block) : file.blocks[block] != 0;
            if (!stored)
                continue;
            if (!runs.empty() && runs.back().first + runs.back().second == block && choose(3) != 0)
                ++runs.back().second;
            else
                runs.emplace_back(block, 1);
        }
        return runs;
    }

    void write_backup(CommitDocument &facts, const Choose &choose) {
        std::vector<FileEntry> entries;
        PackBuilder builder({Codec::kZstd, 1}, 1, random_uuid(), kMaxPackBytes);
        uint32_t pack = 0;
        const auto put_pack = [&] {
            facts.packs.push_back(put(layout_.pack(facts.id, pack), builder.finish()));
            facts.packs.back().number = pack++;
        };
        for (const auto &[path, file] : files_) {
            FileEntry entry;
            entry.path = path;
            entry.size = file.blocks.size() * kBlock;
            const auto most = std::min(file.kept, static_cast<uint32_t>(file.blocks.size()));
            if (!facts.full && most > 0)
                entry.inherit_below = choose(4) == 0 ? choose(most + 1) : most;
            // Now one frame for each run, now several runs in one.
            const auto runs = runs_of(file, entry.inherit_below, choose);
            for (size_t i = 0; i < runs.size();) {
                const size_t count = std::min<size_t>(1 + choose(3), runs.size() - i);
                add_frame(builder, entry, file, std::span(runs).subspan(i, count), pack);
                i += count;
            }
            entries.push_back(std::move(entry));
            if (choose(4) == 0 && !builder.empty())
                put_pack();
        }
        if (!builder.empty())
            put_pack();
        write_table(facts, entries);
        write_hashes(facts, entries);
        put(layout_.commit(facts.id), encode_document(encode(facts), 1, random_uuid()));
    }

    static void add_frame(PackBuilder &builder, FileEntry &entry, const ModelFile &file,
                          std::span<const std::pair<uint32_t, uint32_t>> runs, uint32_t pack) {
        Bytes plain;
        std::vector<BundledExtent> bundle;
        for (const auto &[first, count] : runs) {
            const Bytes own = bytes_of({file.blocks.begin() + first, file.blocks.begin() + first + count});
            ExtentRef extent;
            extent.offset = uint64_t{first} * kBlock;
            extent.plain_length = static_cast<uint32_t>(own.size());
            extent.pack = pack;
            extent.frame_offset = static_cast<uint32_t>(plain.size());
            extent.own_hash = content_hash(own);
            entry.extents.push_back(extent);
            bundle.push_back({entry.path, extent.offset, extent.plain_length, extent.own_hash});
            plain.insert(plain.end(), own.begin(), own.end());
        }
        const ContentHash hash = content_hash(plain);
        const PackPlace place = bundle.size() > 1 ? builder.add_bundle(std::move(bundle), plain, hash)
                                                  : builder.add(entry.path, bundle.front().file_offset, plain, hash);
        for (size_t i = entry.extents.size() - runs.size(); i < entry.extents.size(); ++i) {
            entry.extents[i].place = place;
            entry.extents[i].frame_length = static_cast<uint32_t>(plain.size());
            entry.extents[i].hash = hash;
        }
    }

    void write_table(CommitDocument &facts, std::vector<FileEntry> &entries) {
        std::sort(entries.begin(), entries.end(),
                  [](const FileEntry &a, const FileEntry &b) { return compare_paths(a.path, b.path) < 0; });
        FileTableWriter table({Codec::kZstd, 1}, 1, random_uuid(), [&](const std::string &name, Bytes object) {
            facts.table.push_back(put(layout_.files_prefix(facts.id) + name, std::move(object)));
        });
        std::set<std::string> directories;
        for (const FileEntry &entry : entries) {
            for (size_t slash = entry.path.find('/'); slash != std::string::npos;
                 slash = entry.path.find('/', slash + 1)) {
                FileEntry directory;
                directory.path = entry.path.substr(0, slash);
                directory.kind = FileKind::kDirectory;
                if (directories.insert(directory.path).second)
                    table.add(directory);
            }
            table.add(entry);
            ++facts.totals.files;
            facts.totals.logical_bytes += entry.size;
        }
        table.finish();
    }

    void write_hashes(CommitDocument &facts, const std::vector<FileEntry> &entries) {
        if (hash_key_.empty())
            return;
        facts.block_hashes = true;
        facts.hash_repository = hash_repository_;
        BlockHasher hasher(hash_key_);
        BlockHashWriter writer(1, random_uuid(), [&](const std::string &name, Bytes object) {
            facts.hashes.push_back(put(layout_.files_prefix(facts.id) + name, object));
        });
        for (const FileEntry &entry : entries) {
            const Bytes content = bytes_of(files_.at(entry.path).blocks);
            for (const ExtentRef &extent : entry.extents) {
                std::vector<BlockHash> hashes;
                hasher.append(hashes, ByteView(content).subspan(extent.offset, extent.plain_length), kBlock);
                writer.add(hashes);
            }
        }
        writer.finish();
    }

    StoredObject put(const std::string &key, const Bytes &body) {
        EXPECT_EQ(store_.put_new({.key = key, .body = body}, never_), PutOutcome::kStored) << key;
        StoredObject stored;
        stored.name = key.substr(key.rfind('/') + 1);
        stored.size = body.size();
        stored.sha256 = sha256(body);
        return stored;
    }

    ObjectStore &store_;
    const ClusterLayout layout_{kCluster};
    const CancelToken never_;
    std::map<std::string, ModelFile> files_;
    std::map<std::string, State> states_;
    std::vector<std::string> chain_; // the newest first
    uint32_t last_value_ = 0;
    Bytes hash_key_;
    Uuid hash_repository_{};
};

} // namespace pgvigil::test
