// What the tests share that compare a server's pg_wal with what repositories have of it.
#pragma once

#include "repo/epochs.h"
#include "repo/writer_agreement.h"
#include "tail_support.h"
#include "wal_archiver_support.h"

#include <filesystem>
#include <gtest/gtest.h>

namespace pgvigil::test {

// A server on timeline 1 whose WAL ends in its fifth segment, and what repositories have of that timeline.
class AgreementTest : public ArchiverTest {
  protected:
    AgreementTest() {
        use_repositories(1);
        // The segments stand in the directory itself.
        std::filesystem::create_directory_symlink(".", directory.path() + "/pg_wal");
        input_.data_directory = directory.path();
        input_.system_identifier = kSystemIdentifier;
        input_.timeline = 1;
        input_.segment_size = kMiB;
        input_.wal_end = Lsn{5 * kMiB + 100};
    }
    static std::string name(uint64_t segment) { return segment_name(1, segment, kMiB); }
    void store(uint64_t segment, unsigned filling, size_t repository = 0) {
        (void)write_segment(name(segment), filling);
        WalArchiver archiver(options(), {repositories.at(repository)}, log);
        ASSERT_EQ(archive(archiver, name(segment)), WalFileState::kDone);
    }
    void store_with_transaction(uint64_t segment, unsigned filling) {
        const Bytes bytes = write_segment(name(segment), filling);
        WalFacts facts;
        facts.scan.first_time_us = 1;
        WalObjectInput input;
        input.plain = bytes;
        input.whole_plain_length = bytes.size();
        input.digest = sha256(bytes);
        input.epoch = 1;
        input.extension = encode_wal_facts(facts);
        FrameEncoder encoder(Compression{});
        const Bytes object = encode_wal_object(input, encoder);
        ASSERT_EQ(stores.at(0)->put_new({.key = layout.wal_file(name(segment)), .body = object}, never_),
                  PutOutcome::kStored);
    }
    void have(uint64_t segment, unsigned filling) const { (void)write_segment(name(segment), filling); }
    void lack(uint64_t segment) const { std::filesystem::remove(directory.path() + "/" + name(segment)); }
    // What the run has streamed of a segment, in pieces that end at `ends`.
    void stream(uint64_t segment, unsigned filling, const std::vector<uint32_t> &ends, size_t repository = 0) {
        const Bytes bytes = make_segment({.name = name(segment), .size = kMiB, .filling = filling});
        uint32_t from = 0;
        for (const uint32_t to : ends) {
            (void)put_piece(*stores.at(repository), layout, 1, kMiB, piece_of(kRun, segment, from, to), bytes);
            from = to;
        }
    }
    void begin_run(uint64_t first, size_t repository = 0) {
        put_run(*stores.at(repository), layout, run_of(kRun, 1, first, kMiB));
    }
    void put_epoch(uint64_t number, Lsn lsn) {
        EpochDocument epoch;
        epoch.number = number;
        epoch.instance = random_uuid();
        epoch.host = "host";
        epoch.timeline = 1;
        epoch.lsn = lsn;
        epoch.reason = "test";
        ASSERT_FALSE(claim_epoch(*repositories.at(0), epoch, never_));
    }
    std::optional<Agreement> agreement() {
        OpenedRepositories all;
        for (size_t i = 0; i < repositories.size(); ++i) {
            OpenedRepository opened;
            opened.url = repositories[i]->url();
            opened.store = stores[i];
            opened.document = repositories[i]->document();
            opened.epochs = list_epochs(*repositories[i], 0, never_);
            all.opened.push_back(std::move(opened));
        }
        return find_agreement(input_, all, held_epoch_, never_);
    }

    void expect(uint64_t start, bool breaks) {
        const auto found = agreement();
        ASSERT_TRUE(found);
        EXPECT_EQ(found->start, Lsn{start * kMiB});
        EXPECT_EQ(found->breaks, breaks);
    }

    static constexpr TailRunId kRun{1, 1};
    ClaimInput input_;
    uint64_t held_epoch_ = 0;
    const CancelToken never_;
};

} // namespace pgvigil::test
