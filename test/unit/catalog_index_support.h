// A repository whose WAL objects are only their headers: all that the catalog and the index of the WAL ever read.
#pragma once

#include "base/time.h"
#include "repo/catalog.h"
#include "repo/commit_index.h"
#include "repo/envelope.h"
#include "repo/wal_index_writer.h"
#include "repo/wal_object.h"
#include "storage/faulty_store.h"
#include "storage/memory/memory_store.h"

#include <gtest/gtest.h>

namespace pgvigil::test {

class IndexedRepository : public testing::Test {
  protected:
    static constexpr uint64_t kSystem = 7123456789012345678;

    void put(const std::string &key, const Bytes &body) {
        PutRequest request;
        request.key = key;
        request.body = body;
        ASSERT_EQ(store->put_new(request, cancel), PutOutcome::kStored) << key;
    }

    void put_segment(TimelineId timeline, uint64_t segment, const WalScanSummary &scan, uint64_t epoch = 1,
                     bool epoch_in_name = false) {
        WalFacts facts;
        facts.scan = scan;
        ObjectHeader header;
        header.kind = ObjectKind::kWal;
        header.epoch = epoch;
        header.plain_length = segment_size;
        header.extension = encode_wal_facts(facts);
        Bytes object;
        append_header(object, header);
        const std::string name = segment_name(timeline, segment, segment_size);
        put(epoch_in_name ? layout.wal_file_of_epoch(name, epoch) : layout.wal_file(name), object);
    }
    // One transaction in each: segment n commits xid n at n seconds.
    void put_segments(TimelineId timeline, uint64_t first, uint64_t last, uint64_t epoch = 1) {
        for (uint64_t segment = first; segment <= last; ++segment)
            put_segment(timeline, segment, scan_of(segment), epoch);
    }
    [[nodiscard]] WalScanSummary scan_of(uint64_t segment) const {
        WalScanSummary scan;
        scan.first_time_us = scan.last_time_us = static_cast<int64_t>(segment) * 1000000;
        scan.first_xid = scan.last_xid = static_cast<uint32_t>(segment);
        scan.commits = 1;
        scan.end_of_records = Lsn{segment_start(segment + 1, segment_size).value - 8};
        return scan;
    }

    void put_epoch(uint64_t number, TimelineId timeline, Lsn lsn) {
        EpochDocument document;
        document.number = number;
        document.timeline = timeline;
        document.lsn = lsn;
        put(layout.epoch(number), encode_document(encode(document), number, Uuid{}));
    }

    [[nodiscard]] CommitDocument commit_of(const std::string &id, TimelineId timeline, uint64_t segment) const {
        CommitDocument document;
        document.id = id;
        document.full = id.back() == 'F';
        document.system_identifier = kSystem;
        document.wal_segment_size = segment_size;
        document.start_timeline = document.stop_timeline = timeline;
        document.start_lsn = Lsn{segment_start(segment, segment_size).value + 40};
        document.stop_lsn = Lsn{document.start_lsn.value + 1000};
        document.started_ms = document.stopped_ms = static_cast<int64_t>(segment) * 1000;
        document.packs.push_back({"000000", 0, 10, {}});
        document.backup_label = "label";
        return document;
    }
    void put_commit(const CommitDocument &document) {
        put(layout.commit(document.id), encode_document(encode(document), 1, Uuid{}));
    }

    Catalog load(const Catalog *known = nullptr) { return load_catalog(*repository, cancel, known); }
    // The same as the keeper of a server does, until nothing is due any more.
    size_t write_index(int64_t now_ms = 0) {
        size_t written = 0;
        for (;;) {
            WalIndexLimits limits;
            limits.now_ms = now_ms;
            limits.objects = 1000;
            const size_t more = write_due_wal_index(*repository, load(), limits, cancel);
            written += more;
            if (more == 0)
                return written;
        }
    }
    [[nodiscard]] std::vector<std::string> keys(const std::string &prefix) {
        std::vector<std::string> found;
        for_each_page(*store, {.prefix = prefix}, cancel, [&](const ListPage &page) {
            for (const ObjectInfo &object : page.objects)
                found.push_back(object.key);
        });
        return found;
    }
    // Requests that `body` makes.
    template <class F> uint64_t requests(F &&body) {
        const uint64_t before = counter->calls();
        body();
        return counter->calls() - before;
    }

    uint64_t segment_size = 16 * kMiB;
    CancelToken cancel;
    std::shared_ptr<MemoryStore> store = std::make_shared<MemoryStore>();
    std::shared_ptr<FaultyStore> counter = std::make_shared<FaultyStore>(store);
    ClusterLayout layout{kSystem};
    std::unique_ptr<Repository> repository =
        std::make_unique<Repository>(counter, RepositoryDocument{}, "memory://catalog", kSystem);
};

} // namespace pgvigil::test
