// What the tests of restoring share: a backup with its WAL in memory stores, and a directory to restore it into.
#pragma once

#include "backup_support.h"
#include "wal_archiver_support.h"

#include "transfer/restore_job.h"

#include <filesystem>
#include <set>

namespace pgvigil::test {

class RestoreTest : public BackupTest {
  protected:
    void archive_wal() {
        const std::string name = "000000010000000000000001";
        segment = make_segment({.name = name, .size = 16 * kMiB});
        WalObjectInput input;
        input.plain = segment;
        input.whole_plain_length = segment.size();
        input.digest = sha256(segment);
        input.epoch = 1;
        FrameEncoder encoder(Compression{});
        const Bytes object = encode_wal_object(input, encoder);
        for (const auto &store : stores)
            ASSERT_EQ(store->put_new({.key = layout.wal_file(name), .body = object}, never), PutOutcome::kStored);
    }
    [[nodiscard]] CommitDocument whole_facts() const {
        CommitDocument document = facts();
        document.system_identifier = kCluster;
        document.wal_ranges = {{1, document.start_lsn, document.stop_lsn}};
        document.backup_label = "START WAL LOCATION: 0/1000028 (file 000000010000000000000001)\n"
                                "INCREMENTAL FROM LSN: 0/1\n"
                                "START TIMELINE: 1\n";
        document.control_file = Bytes(8192);
        for (size_t i = 0; i < 8; ++i)
            document.control_file[i] = static_cast<std::byte>((kCluster >> (8 * i)) & 0xff);
        document.tablespaces = source.tablespaces;
        document.group_access = group_access;
        return document;
    }
    std::string back_up_all(BackupOptions how = {}) {
        archive_wal();
        BackupWriter writer(repositories, how, progress, log);
        const std::string id = writer.begin(attempt(), true, never);
        writer.copy(source, never);
        (void)writer.commit(whole_facts(), never);
        return id;
    }
    [[nodiscard]] RestoreOptions restore_options() const {
        RestoreOptions how;
        how.data_directory = target.path() + "/data";
        how.threads = 3;
        how.sync = false;
        how.settings.timeline = 1;
        how.settings.command.program = "/usr/bin/pgvigil";
        how.settings.command.repositories = {"file:///repository"};
        how.settings.command.system_identifier = kCluster;
        return how;
    }
    void restore(const std::string &id, const RestoreOptions &how) {
        RestoreProgress restoring;
        run_restore(repositories, id, how, restoring, log, never);
    }
    void restore(const std::string &id) { restore(id, restore_options()); }
    Error restore_error(const std::string &id, const RestoreOptions &how) {
        try {
            restore(id, how);
        } catch (const Error &error) {
            return error;
        }
        ADD_FAILURE() << "the restore succeeded";
        return {ErrorCode::kInternal, "none"};
    }
    Error restore_error(const std::string &id) { return restore_error(id, restore_options()); }

    [[nodiscard]] std::string data(const std::string &path = "") const { return target.path() + "/data/" + path; }
    static std::string read(const std::string &path) {
        std::ifstream in(path, std::ios::binary);
        return {(std::istreambuf_iterator<char>(in)), {}};
    }
    // No server starts without it.
    [[nodiscard]] bool can_start() const { return std::filesystem::exists(data("global/pg_control")); }

    bool group_access = false;
    Bytes segment;
    TemporaryDirectory target;
};

} // namespace pgvigil::test
