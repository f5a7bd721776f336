// What expiry removes of the streamed tail, and that readers see the same at every moment.
#include "expire_support.h"
#include "tail_support.h"

#include "storage/faulty_store.h"

#include <gmock/gmock.h>

namespace pgvigil {
namespace {

using test::at;
using test::ExpireWorld;
using test::fill;
using test::kDayMs;
using test::kSegment;
using test::piece_of;
using test::run_of;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr TailRunId kOne{1, 1};
constexpr TailRunId kTwo{1, 2};
constexpr TailRunId kThree{1, 3};

class StreamedWorld : public ExpireWorld {
  public:
    void run(TailRunId id, uint64_t first, TimelineId timeline = 1) {
        test::put_run(*memory, layout, run_of(id, timeline, first, kSegment));
    }
    // The bytes are nobody's business here.
    void piece(uint64_t segment, TailRunId id, uint32_t from, uint32_t to, TimelineId timeline = 1) {
        FrameEncoder encoder{Compression{}};
        const Bytes body = encode_tail_piece(Bytes(to - from), id.epoch, encode_tail_facts({kSegment, {}}), encoder);
        const std::string key = tail_piece_key(layout, timeline, kSegment, piece_of(id, segment, from, to));
        ASSERT_EQ(memory->put_new({.key = key, .body = body}, never), PutOutcome::kStored);
    }
    // Below tail/00000001/, shortened: "61 2:0", "runs 2".
    [[nodiscard]] std::vector<std::string> tail() const {
        std::vector<std::string> found;
        const TimelineTail listed = list_tail(repository(memory), 1, kSegment, 0, never);
        for (const auto &[segment, pieces] : listed.segments)
            for (const TailPiece &piece : pieces)
                found.push_back(std::to_string(segment) + " " + std::to_string(piece.run.number) + ":" +
                                std::to_string(piece.from));
        for (const TailRun &run : listed.runs)
            found.push_back("run " + std::to_string(run.id.number));
        return found;
    }
    [[nodiscard]] Lsn reach() const {
        const Catalog catalog = load_catalog(repository(memory), never);
        return contiguous_reach(catalog, *path_to(catalog, 1), at(60)).end;
    }
};

// Segments 1 to 60 are complete. A life that ended in segment 58 had shipped more than recovery kept.
void fill_tail(StreamedWorld &world) {
    fill(world);
    world.run(kOne, 5);
    world.piece(5, kOne, 0, 100);
    world.piece(60, kOne, 0, kSegment);
    world.piece(61, kOne, 0, 3000);
    world.piece(62, kOne, 0, 7);
    world.run(kTwo, 58);
    world.piece(58, kTwo, 0, 100);
    world.run(kThree, 61);
    world.piece(61, kThree, 0, 2000);
    world.piece(61, kThree, 2000, 4000);
}

TEST(ExpireTail, removes_what_is_complete_and_leaves_what_is_not) {
    StreamedWorld world;
    fill_tail(world);
    const ExpireReport report = world.expire();
    // Without the document of run 2 the piece of 62 would count, whatever run 3 ships.
    EXPECT_THAT(world.tail(), ElementsAre("61 1:0", "61 3:0", "61 3:2000", "62 1:0", "run 1", "run 2", "run 3"));
    EXPECT_EQ(world.reach(), at(61, 4000));
    const auto row = std::find_if(report.rows.begin(), report.rows.end(), [](const ExpireRow &one) {
        return one.object == "streamed pieces of segments that are complete";
    });
    ASSERT_NE(row, report.rows.end());
    EXPECT_EQ(row->objects, 3U);
    EXPECT_EQ(row->action, ExpireAction::kDelete);
    world.add_wal(1, 61, 62, 0);
    (void)world.expire();
    EXPECT_THAT(world.tail(), ElementsAre("run 3"));
}

TEST(ExpireTail, a_dry_run_counts_and_removes_nothing) {
    StreamedWorld world;
    fill_tail(world);
    const auto before = world.tail();
    world.options.dry_run = true;
    const ExpireReport report = world.expire();
    EXPECT_EQ(world.tail(), before);
    uint64_t objects = 0;
    for (const ExpireRow &row : report.rows)
        if (row.object.starts_with("streamed pieces"))
            objects += row.objects;
    EXPECT_EQ(objects, 3U);
}

TEST(ExpireTail, leaves_a_writer_alone_that_began_meanwhile) {
    StreamedWorld world;
    fill(world);
    world.run(kOne, 60);
    int listings = 0;
    // The inventory knows nothing of the second epoch, for which segment 60 is not complete.
    world.aged->before_each = [&](std::string_view key) {
        // The catalogs of both inventories list the tail once each.
        if (!key.ends_with("/tail/00000001/") || ++listings != 3)
            return;
        world.add_epoch(2, "take-over", 2, at(60));
        world.run({2, 1}, 60);
        world.run({2, 2}, 60);
        world.piece(60, {2, 1}, 0, 500);
    };
    (void)world.expire();
    ASSERT_TRUE(world.has(world.layout.epoch(2)));
    EXPECT_THAT(world.tail(), ElementsAre("60 1:0", "run 1", "run 2")) << "of the second epoch";
}

TEST(ExpireTail, a_store_that_refuses_keeps_it_all) {
    StreamedWorld world;
    fill_tail(world);
    const auto before = world.tail();
    world.aged->refuse_delete = [](const std::string &key) {
        return std::optional(DeleteFailure{key, true, false, "not allowed"});
    };
    EXPECT_FALSE(world.expire().failure);
    EXPECT_EQ(world.tail(), before);
    // Only pieces stay: so do the documents that decide about them.
    world.aged->refuse_delete = [](const std::string &key) -> std::optional<DeleteFailure> {
        if (key.find("/tail/") == std::string::npos)
            return std::nullopt;
        return DeleteFailure{key, true, false, "not allowed"};
    };
    const ExpireReport report = world.expire();
    EXPECT_FALSE(report.failure);
    EXPECT_EQ(report.denied_objects, 3U);
    EXPECT_EQ(world.tail(), before);
}

TEST(ExpireTail, what_cannot_be_read_stays) {
    StreamedWorld world;
    fill_tail(world);
    world.memory->overwrite_for_test(tail_run_key(world.layout, 1, kTwo), to_bytes("x"));
    const size_t before = world.keys(world.layout.tail_prefix()).size();
    (void)world.expire();
    EXPECT_EQ(world.keys(world.layout.tail_prefix()).size(), before);
}

class ExpireTailCutOff : public testing::TestWithParam<FaultMoment> {};

TEST_P(ExpireTailCutOff, ReadersSeeTheSameAndTheNextRunCompletes) {
    std::vector<std::string> expected;
    uint64_t operations = 0;
    {
        StreamedWorld world;
        fill_tail(world);
        const auto faulty = std::make_shared<FaultyStore>(world.aged);
        (void)expire_repository(world.repository(faulty), world.options, null_log(), world.never);
        operations = faulty->calls();
        expected = world.keys();
    }
    for (uint64_t number = 1; number <= operations; ++number) {
        StreamedWorld world;
        fill_tail(world);
        const auto faulty = std::make_shared<FaultyStore>(world.aged);
        faulty->fail_from(number, GetParam());
        EXPECT_THROW((void)expire_repository(world.repository(faulty), world.options, null_log(), world.never), Error);
        const std::string when = "cut off at operation " + std::to_string(number);
        EXPECT_EQ(world.reach(), at(61, 4000)) << when;
        (void)world.expire();
        EXPECT_EQ(world.reach(), at(61, 4000)) << when;
        ASSERT_EQ(world.keys(), expected) << when;
    }
}

INSTANTIATE_TEST_SUITE_P(BeforeAndAfter, ExpireTailCutOff, testing::Values(FaultMoment::kBefore, FaultMoment::kAfter),
                         [](const auto &info) { return info.param == FaultMoment::kBefore ? "Before" : "After"; });

} // namespace
} // namespace pgvigil
