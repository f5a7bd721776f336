// A whole restore: what the backup held is there again, and nothing that is wrong leaves something that could start.
#include "restore_support.h"

#include "base/crc32c.h"
#include "base/json.h"
#include "repo/writer_claim.h"

#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

namespace fs = std::filesystem;

class RestoreJob : public test::RestoreTest {
  protected:
    // Every regular file below the data directory and its tablespaces, by its path.
    [[nodiscard]] std::map<std::string, std::string> restored_files() const {
        std::map<std::string, std::string> files;
        for (const auto &entry :
             fs::recursive_directory_iterator(data(), fs::directory_options::follow_directory_symlink))
            if (entry.is_regular_file())
                files[entry.path().lexically_relative(data()).string()] = read(entry.path());
        return files;
    }
    // The object `key` with `change` applied to what its frames hold, checksums made right again.
    template <class Change> void rewrite(const std::string &key, Change &&change) {
        const Bytes object = stores[0]->get(key, 64 * kMiB, never).value();
        ParsedHeader parsed = parse_header(object, key);
        FrameEncoder encoder(Compression{Codec::kNone, 0});
        FrameDecoder decoder;
        Bytes frames;
        Bytes plain_all;
        for (ByteView rest = ByteView(object).subspan(parsed.length); !rest.empty();) {
            FrameHeader header;
            Bytes plain = decoder.decode(rest, header, key);
            rest = rest.subspan(kFrameHeaderBytes + header.stored_length);
            change(plain);
            encoder.append(frames, header.type, plain, header.number, header.last);
            plain_all.insert(plain_all.end(), plain.begin(), plain.end());
        }
        parsed.header.digest = sha256(plain_all);
        Bytes changed;
        append_header(changed, parsed.header);
        changed.insert(changed.end(), frames.begin(), frames.end());
        memory().overwrite_for_test(key, changed);
    }
    // The commit document with `change` applied, and the table's checksums those of what is stored now.
    template <class Change> void recommit(const std::string &id, Change &&change) {
        const std::string key = layout.commit(id);
        CommitDocument commit = decode_commit(*read_document(*stores[0], key, never), key);
        for (StoredObject &part : commit.table) {
            const Bytes object = stores[0]->get(layout.files_prefix(id) + part.name, 64 * kMiB, never).value();
            part.size = object.size();
            part.sha256 = sha256(object);
        }
        change(commit);
        memory().overwrite_for_test(key, encode_document(encode(commit), 1, random_uuid()));
    }
    static void replace(Bytes &bytes, const std::string &from, const std::string &to) {
        ASSERT_EQ(from.size(), to.size());
        std::string text(as_text(bytes));
        for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + 1))
            text.replace(at, from.size(), to);
        bytes = to_bytes(text);
    }
    void use_fresh_store() {
        stores.clear();
        repositories.clear();
        use_repositories(1);
    }
    MemoryStore &memory() { return dynamic_cast<MemoryStore &>(*stores[0]); }
};

TEST_F(RestoreJob, brings_back_what_was_backed_up) {
    use_repositories(1);
    make_cluster();
    write_file("postgresql.auto.conf", as_view("work_mem = '8MB'\nrecovery_target_xid = '77'\n"));
    restore(back_up_all());
    auto files = restored_files();
    EXPECT_TRUE(to_bytes(files["base/5/16384"]) == test::some_bytes(3 * kMiB + 8192, 1));
    EXPECT_EQ(to_bytes(files["base/5/16385"]), test::some_bytes(8192, 2));
    EXPECT_EQ(files["base/5/16386"], "");
    EXPECT_EQ(files["PG_VERSION"], "17\n");
    EXPECT_TRUE(to_bytes(files["pg_wal/000000010000000000000001"]) == segment);
    EXPECT_TRUE(files.contains("pg_wal/archive_status/000000010000000000000001.done"));
    EXPECT_TRUE(files.contains("recovery.signal"));
    EXPECT_FALSE(files.contains("standby.signal"));
    EXPECT_FALSE(files.contains("tablespace_map"));
    EXPECT_FALSE(files.contains(std::string(kTakeOverFileName)));
    EXPECT_EQ(files["global/pg_control"].size(), 8192U);
    EXPECT_EQ(files["backup_label"].find("INCREMENTAL"), std::string::npos);
    EXPECT_NE(files["backup_label"].find("START TIMELINE: 1\n"), std::string::npos);
    EXPECT_NE(files["postgresql.auto.conf"].find("work_mem = '8MB'\n"), std::string::npos);
    EXPECT_EQ(files["postgresql.auto.conf"].find("'77'"), std::string::npos);
    EXPECT_TRUE(fs::is_directory(data("pg_logical/snapshots")));
    EXPECT_TRUE(fs::is_directory(data("pg_notify")));
}

TEST_F(RestoreJob, writes_a_manifest_of_what_it_wrote) {
    use_repositories(1);
    make_cluster();
    RestoreOptions how = restore_options();
    how.take_over = "the machine burnt";
    how.sync = true;
    restore(back_up_all(), how);
    EXPECT_EQ(read(data(std::string(kTakeOverFileName))), "the machine burnt\n");
    const Json manifest = parse_json(read(data("backup_manifest")), "backup_manifest");
    std::map<std::string, uint64_t> listed;
    for (const Json &file : manifest.at("Files"))
        listed[file.at("Path").get<std::string>()] = file.at("Size").get<uint64_t>();
    for (const auto &[path, content] : restored_files()) {
        const bool ignored = path.rfind("pg_wal/", 0) == 0 || path == "backup_manifest" ||
                             path == "postgresql.auto.conf" || path == "recovery.signal";
        EXPECT_EQ(listed.contains(path), !ignored) << path;
        if (!ignored) {
            EXPECT_EQ(listed[path], content.size()) << path;
        }
    }
    EXPECT_EQ(manifest.at("WAL-Ranges").size(), 1U);
}

TEST_F(RestoreJob, gives_modes_to_the_owner_or_to_the_group_too) {
    use_repositories(1);
    make_cluster();
    group_access = true;
    restore(back_up_all());
    for (const auto &entry : fs::recursive_directory_iterator(data()))
        EXPECT_EQ(static_cast<unsigned>(entry.status().permissions()), entry.is_directory() ? 0750U : 0640U)
            << entry.path();
    EXPECT_EQ(static_cast<unsigned>(fs::status(data()).permissions()), 0750U);
}

TEST_F(RestoreJob, maps_tablespaces) {
    use_repositories(1);
    make_cluster();
    const test::TemporaryDirectory space;
    fs::create_directories(space.path() + "/" + test::kVersionDirectory + "/5");
    std::ofstream(space.path() + "/" + test::kVersionDirectory + "/5/16999") << std::string(8192, 'x');
    make_directory("pg_tblspc");
    fs::create_symlink(space.path(), directory.path() + "/pg_tblspc/16400");
    source.tablespaces = {{16400, space.path()}};
    const std::string id = back_up_all();
    // Its own place is taken.
    const Error taken = restore_error(id);
    EXPECT_EQ(taken.code(), ErrorCode::kConflict);
    EXPECT_NE(taken.message().find(space.path()), std::string::npos);
    EXPECT_FALSE(can_start());
    fs::remove_all(data());

    RestoreOptions how = restore_options();
    how.tablespace_map = {{space.path(), target.path() + "/new space"}};
    restore(id, how);
    EXPECT_EQ(fs::read_symlink(data("pg_tblspc/16400")), target.path() + "/new space");
    EXPECT_EQ(read(data(std::string("pg_tblspc/16400/") + test::kVersionDirectory + "/5/16999")),
              std::string(8192, 'x'));
    EXPECT_EQ(read(data("tablespace_map")), "16400 " + target.path() + "/new space\n");

    how.tablespace_map = {{"/nowhere", "/somewhere"}};
    EXPECT_EQ(restore_error(id, how).code(), ErrorCode::kInvalidArgument);
}

TEST_F(RestoreJob, refuses_a_directory_that_is_in_use) {
    use_repositories(1);
    make_cluster();
    const std::string id = back_up_all();
    fs::create_directories(data());
    std::ofstream(data("precious")) << "mine";
    EXPECT_EQ(restore_error(id).code(), ErrorCode::kConflict);
    std::ofstream(data("postmaster.pid")) << "1\n";
    EXPECT_EQ(restore_error(id).code(), ErrorCode::kBusy);
    EXPECT_EQ(read(data("precious")), "mine");
    EXPECT_EQ(std::distance(fs::directory_iterator(data()), {}), 2);
}

TEST_F(RestoreJob, damage_anywhere_names_the_object_and_leaves_nothing_that_starts) {
    use_repositories(1);
    make_cluster();
    const std::string id = back_up_all();
    size_t tried = 0;
    for (const std::string &key : test::keys_of(*stores[0], layout.root())) {
        if (key.find("/attempts/") != std::string::npos)
            continue;
        const Bytes good = stores[0]->get(key, 64 * kMiB, never).value();
        for (const size_t at : {size_t{3}, good.size() / 3, good.size() / 2}) {
            for (const bool truncate : {false, true}) {
                Bytes bad = good;
                if (truncate)
                    bad.resize(at);
                else
                    bad[at] ^= std::byte{0x10};
                memory().overwrite_for_test(key, bad);
                RestoreProgress restoring;
                try {
                    run_restore(repositories, id, restore_options(), restoring, log, never);
                    // What no restore reads (a pack's own header, hashes of blocks) may be damaged.
                    EXPECT_TRUE(key.find("/data/") != std::string::npos || key.find("/hashes-") != std::string::npos)
                        << key << " at " << at;
                } catch (const Error &error) {
                    const std::string text = error.message() + error.detail();
                    EXPECT_NE(text.find(key.substr(key.rfind('/') + 1)), std::string::npos) << key << ": " << text;
                    EXPECT_FALSE(can_start()) << key;
                    ++tried;
                }
                fs::remove_all(data());
            }
        }
        memory().overwrite_for_test(key, good);
    }
    EXPECT_GE(tried, 20U);
    ASSERT_TRUE(stores[0]->remove({layout.pack(id, 0)}, never).empty());
    EXPECT_NE(restore_error(id).message().find(layout.pack(id, 0)), std::string::npos);
    EXPECT_FALSE(can_start());
}

TEST_F(RestoreJob, another_repository_helps_out) {
    use_repositories(2);
    make_cluster();
    const std::string id = back_up_all();
    for (const std::string &key : test::keys_of(*stores[0], layout.root())) {
        Bytes bad = stores[0]->get(key, 64 * kMiB, never).value();
        if (key.find("/commits/") != std::string::npos)
            continue;
        bad[bad.size() / 2] ^= std::byte{0x10};
        memory().overwrite_for_test(key, bad);
    }
    restore(id);
    EXPECT_TRUE(to_bytes(read(data("base/5/16384"))) == test::some_bytes(3 * kMiB + 8192, 1));
    EXPECT_FALSE(log.warnings().empty());
}

TEST_F(RestoreJob, a_table_with_hostile_paths_writes_nothing_outside) {
    use_repositories(1);
    make_cluster();
    write_file("base/5/16385xxxxxxxxxx", test::some_bytes(100, 5));
    const std::string name = "base/5/16385xxxxxxxxxx";
    // All of the length of that name.
    for (const std::string hostile : {"../../../../../escaped", "/tmp/pgvigil-escaped-x", "base/../../../escapedx",
                                      "base//5/16385xxxxxxxxx", "base/./5/16385xxxxxxxx", "global/pg_control\0xxxx"}) {
        std::string same_length = hostile.substr(0, name.size());
        same_length.resize(name.size(), 'x');
        const std::string id = back_up_all();
        for (const std::string &key : test::keys_of(*stores[0], layout.files_prefix(id)))
            rewrite(key, [&](Bytes &plain) { replace(plain, name, same_length); });
        recommit(id, [](CommitDocument &) {});
        EXPECT_EQ(restore_error(id).code(), ErrorCode::kCorrupt) << hostile;
        EXPECT_FALSE(can_start());
        EXPECT_FALSE(fs::exists(target.path() + "/escaped"));
        EXPECT_FALSE(fs::exists("/tmp/pgvigil-escaped"));
        fs::remove_all(data());
        use_fresh_store();
    }
}

TEST_F(RestoreJob, a_table_may_not_hold_what_decides_how_the_server_starts) {
    make_cluster();
    for (const std::string name : {"standby.signal", "recovery.signal", "backup_label", "tablespace_map",
                                   "postmaster.pid", "pgvigil.take_over", "pgvigil.identity", "backup_manifest"}) {
        use_fresh_store();
        const std::string harmless(name.size(), 'z');
        write_file(harmless, as_view("x"));
        const std::string id = back_up_all();
        fs::remove(directory.path() + "/" + harmless);
        for (const std::string &key : test::keys_of(*stores[0], layout.files_prefix(id)))
            rewrite(key, [&](Bytes &plain) { replace(plain, harmless, name); });
        recommit(id, [](CommitDocument &) {});
        EXPECT_EQ(restore_error(id).code(), ErrorCode::kCorrupt) << name;
        EXPECT_FALSE(can_start());
        fs::remove_all(data());
    }
}

TEST_F(RestoreJob, a_hostile_commit_is_refused) {
    use_repositories(1);
    make_cluster();
    const std::string id = back_up_all();
    const std::vector<std::function<void(CommitDocument &)>> changes = {
        [](CommitDocument &commit) { commit.tablespaces = {{16400, "relative/place"}}; },
        [](CommitDocument &commit) { commit.tablespaces = {{16400, "/tmp/../etc/x"}}; },
        [](CommitDocument &commit) { commit.control_file[0] ^= std::byte{1}; },
        [](CommitDocument &commit) { commit.control_file.clear(); },
        [](CommitDocument &commit) { commit.backup_label.clear(); },
        [](CommitDocument &commit) { commit.wal_segment_size = 12345; },
        [](CommitDocument &commit) { commit.wal_ranges = {{1, Lsn{0x3000000}, Lsn{0x2000000}}}; },
        [](CommitDocument &commit) { commit.packs.clear(); },
        [](CommitDocument &commit) { commit.packs[0].name = "../../../../etc/passwd"; },
        [](CommitDocument &commit) { commit.packs[0].size = 100; },
        [](CommitDocument &commit) { commit.table.clear(); },
    };
    for (size_t i = 0; i < changes.size(); ++i) {
        const Bytes good = stores[0]->get(layout.commit(id), 64 * kMiB, never).value();
        recommit(id, changes[i]);
        EXPECT_EQ(restore_error(id).code(), ErrorCode::kCorrupt) << i;
        EXPECT_FALSE(can_start()) << i;
        fs::remove_all(data());
        memory().overwrite_for_test(layout.commit(id), good);
    }
    restore(id);
}

TEST_F(RestoreJob, a_cancelled_restore_cannot_start) {
    use_repositories(1);
    make_cluster();
    const std::string id = back_up_all();
    CancelToken cancelled;
    cancelled.cancel();
    RestoreProgress restoring;
    EXPECT_THROW(run_restore(repositories, id, restore_options(), restoring, log, cancelled), Error);
    EXPECT_FALSE(can_start());
}

TEST_F(RestoreJob, missing_wal_is_an_error) {
    use_repositories(1);
    make_cluster();
    const std::string id = back_up_all();
    ASSERT_TRUE(stores[0]->remove({layout.wal_file("000000010000000000000001")}, never).empty());
    EXPECT_EQ(restore_error(id).code(), ErrorCode::kNotFound);
    EXPECT_FALSE(can_start());
}

struct Tree : RestoreJob {
    void TestBody() override {}
    using RestoreJob::back_up_all;
    using RestoreJob::data;
    using RestoreJob::read;
    using RestoreJob::restore;
    using RestoreJob::use_repositories;
    using RestoreJob::write_file;
};

RC_GTEST_PROP(RestoreJobProperty, restoring_a_backup_gives_the_tree_back, ()) {
    Tree tree;
    tree.use_repositories(1);
    std::map<std::string, Bytes> expected;
    const auto count = *rc::gen::inRange<size_t>(0, 12);
    for (size_t i = 0; i < count; ++i) {
        const auto blocks = *rc::gen::element<size_t>(0, 1, 2, 63, 128, 129);
        const auto odd = *rc::gen::element<size_t>(0, 0, 0, 1, 100);
        Bytes content = test::some_bytes(blocks * 8192 + odd, i + 1);
        // Runs of zeroes, which no extent holds.
        if (*rc::gen::arbitrary<bool>() && blocks > 2)
            std::fill(content.begin() + 8192, content.begin() + static_cast<ptrdiff_t>(blocks / 2 * 8192),
                      std::byte{0});
        const std::string path = "base/" + std::to_string(*rc::gen::inRange(1, 4)) + "/" + std::to_string(20000 + i);
        tree.write_file(path, content);
        expected[path] = std::move(content);
    }
    BackupOptions how;
    how.threads = *rc::gen::inRange(1U, 4U);
    tree.restore(tree.back_up_all(how));
    for (const auto &[path, content] : expected)
        RC_ASSERT(to_bytes(Tree::read(tree.data(path))) == content);
    const Json manifest = parse_json(Tree::read(tree.data("backup_manifest")), "backup_manifest");
    for (const Json &file : manifest.at("Files")) {
        const std::string content = Tree::read(tree.data(file.at("Path").get<std::string>()));
        Bytes crc = from_hex(file.at("Checksum").get<std::string>());
        const uint32_t computed = crc32c(as_view(content));
        RC_ASSERT(load_le<uint32_t>(crc.data()) == computed);
    }
}

} // namespace
} // namespace pgvigil
