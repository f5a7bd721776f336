#include "repo/documents.h"

#include "base/error.h"
#include "base/json.h"
#include "repo/envelope.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

constexpr const char *kKey = "1/commits/20261120T084013F.json";

CommitDocument sample_commit() {
    CommitDocument commit;
    commit.id = "20261120T084013F";
    commit.system_identifier = 18446744073709551615U;
    commit.server_version = 180006;
    commit.wal_segment_size = 16 * kMiB;
    commit.checksum_version = 1;
    commit.start_lsn = Lsn{0x2000028};
    commit.start_timeline = 1;
    commit.stop_lsn = Lsn{0x100000003};
    commit.stop_timeline = 2;
    commit.wal_ranges = {{1, Lsn{0x2000028}, Lsn{0x3000000}}, {2, Lsn{0x3000000}, Lsn{0x100000003}}};
    commit.started_ms = 1795163013123;
    commit.stopped_ms = 1795163014124;
    commit.host = "db\xff host";
    commit.compression = "zstd:1";
    commit.product_version = "0.1";
    commit.annotations_json = {{"why", "\"because\""}, {"n", "[1,2,{\"a\":null}]"}};
    commit.tablespaces = {{16400, "/srv/\xc3\xa9t\xc3\xa9"}, {16401, ""}};
    commit.backup_label = "START WAL LOCATION: 0/2000028\n";
    commit.tablespace_map = "16400 /srv/x\n";
    commit.control_file = Bytes(8192, std::byte{0x5a});
    commit.totals = {10, 1U << 31, 5, 6, 7};
    commit.damage = {{"base/5/16384", 3, {1, 2, 9}}};
    commit.packs = {{"000000", 123, {}}, {"000001", 124, {}}};
    commit.packs[1].sha256.fill(std::byte{7});
    commit.table = {{"000000", 1, {}}, {"index", 2, {}}};
    return commit;
}

TEST(Documents, CommitRoundTrip) {
    const std::string json = encode(sample_commit());
    const CommitDocument back = decode_commit(json, kKey);
    EXPECT_EQ(encode(back), json);
    EXPECT_EQ(back.host, "db\xff host");
    EXPECT_EQ(back.tablespaces[0].path, "/srv/\xc3\xa9t\xc3\xa9");
    EXPECT_EQ(back.annotations_json.at("why"), "\"because\"");
    EXPECT_EQ(back.started_ms, 1795163013123);
    EXPECT_EQ(back.stop_lsn, (Lsn{0x100000003}));
    EXPECT_EQ(back.packs[1].sha256, sample_commit().packs[1].sha256);
    EXPECT_EQ(back.damage[0].first_blocks, (std::vector<uint64_t>{1, 2, 9}));
    EXPECT_EQ(back.system_identifier, 18446744073709551615U);
}

TEST(Documents, StableForms) {
    const Json json = parse_json(encode(sample_commit()), "x");
    EXPECT_EQ(json["format"], 1);
    EXPECT_EQ(json["system_identifier"], "18446744073709551615");
    EXPECT_EQ(json["start_lsn"], "0/2000028");
    EXPECT_EQ(json["started"], "2026-11-20T08:23:33.123Z");
    EXPECT_EQ(json["host"]["hex"], "6462ff20686f7374");
    EXPECT_EQ(json["kind"], "full");
}

TEST(Documents, SmallOnesRoundTrip) {
    RepositoryDocument repository{random_uuid(), 1795163013123, std::string(64, 'a')};
    EXPECT_EQ(encode(decode_repository(encode(repository), "pgvigil.json")), encode(repository));
    EXPECT_EQ(decode_repository(encode(repository), "pgvigil.json").id, repository.id);

    EpochDocument epoch{7, random_uuid(), "db1", 3, Lsn{0x123}, "promotion", 1795163013123};
    EXPECT_EQ(encode(decode_epoch(encode(epoch), "e")), encode(epoch));

    AttemptDocument attempt;
    attempt.id = "20261120T084013I";
    attempt.parents = {"20261119T084013F"};
    attempt.system_identifier = 5;
    attempt.start_lsn = Lsn{1};
    EXPECT_EQ(encode(decode_attempt(encode(attempt), "a")), encode(attempt));
}

TEST(Documents, UnknownMembersAreIgnored) {
    Json json = parse_json(encode(sample_commit()), "x");
    json["invented_later"] = {{"a", 1}};
    EXPECT_EQ(encode(decode_commit(json.dump(), kKey)), encode(sample_commit()));
}

// Every member in turn missing, or replaced by a value of another type or out of range.
TEST(Documents, EveryMemberIsChecked) {
    const Json good = parse_json(encode(sample_commit()), "x");
    const std::vector<Json> wrong = {
        nullptr,          true, -1, 1.5, "zzz", Json::array({"q"}), Json::array({1}), Json::object({{"q", "r"}}),
        uint64_t{1} << 63};
    const auto must_fail = [&](const Json &json, const std::string &member, bool required) {
        try {
            (void)decode_commit(json.dump(), kKey);
            EXPECT_FALSE(required) << member;
        } catch (const Error &error) {
            EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported);
            EXPECT_NE(error.message().find(kKey), std::string::npos) << error.message();
        }
    };
    for (const auto &[member, value] : good.items()) {
        Json without = good;
        without.erase(member);
        must_fail(without, member, true);
        for (const Json &replacement : wrong) {
            Json changed = good;
            changed[member] = replacement;
            const bool same_kind = replacement.is_string() ||
                                   (replacement.type() == value.type() && !value.is_array()) ||
                                   (member == "totals" && replacement.is_object());
            must_fail(changed, member, !same_kind);
        }
    }
}

TEST(Documents, RefusesNamesThatWouldLeaveTheBackup) {
    Json json = parse_json(encode(sample_commit()), "x");
    json["packs"][0]["name"] = "../../pgvigil.json";
    EXPECT_THROW((void)decode_commit(json.dump(), kKey), Error);
    json = parse_json(encode(sample_commit()), "x");
    json["id"] = "../x";
    EXPECT_THROW((void)decode_commit(json.dump(), kKey), Error);
}

TEST(Documents, AdoptedPacksLieWhereTheyWereStored) {
    CommitDocument commit = sample_commit();
    commit.packs.resize(1);
    commit.packs[0].name = "000003";
    commit.packs.push_back({"20261119T084013F/000003", 8, 100, Sha256Digest{}});
    const CommitDocument back = decode_commit(encode(commit), kKey);
    ASSERT_EQ(back.packs.size(), 2U);
    EXPECT_EQ(back.packs[0].number, 3U);
    EXPECT_EQ(back.packs[1].number, 8U);
    const ClusterLayout layout(5);
    EXPECT_EQ(pack_key(layout, "20261120T084013F", back.packs[0]), "5/data/20261120T084013F/000003");
    EXPECT_EQ(pack_key(layout, "20261120T084013F", back.packs[1]), "5/data/20261119T084013F/000003");

    commit.packs[1].number = 3;
    EXPECT_THROW((void)decode_commit(encode(commit), kKey), Error) << "a number twice";
    for (const char *name : {"../000003", "20261119T084013F/../000003", "20261119T084013F/", "/000003",
                             "20261119T084013F/index", "20261119T084013F/000003/000003"}) {
        commit.packs[1] = {name, 8, 100, Sha256Digest{}};
        EXPECT_THROW((void)decode_commit(encode(commit), kKey), Error) << name;
    }
}

TEST(Documents, NewerFormatIsUnsupported) {
    Json json = parse_json(encode(sample_commit()), "x");
    json["format"] = kRepositoryFormat + 1;
    try {
        (void)decode_commit(json.dump(), kKey);
        FAIL();
    } catch (const Error &error) {
        EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
        EXPECT_NE(error.message().find(kKey), std::string::npos);
    }
}

RC_GTEST_PROP(Documents, GarbageIsCorruptNeverWorse, (const std::string &text)) {
    for (int which = 0; which < 4; ++which) {
        try {
            if (which == 0)
                (void)decode_commit(text, kKey);
            else if (which == 1)
                (void)decode_attempt(text, kKey);
            else if (which == 2)
                (void)decode_epoch(text, kKey);
            else
                (void)decode_repository(text, kKey);
            RC_FAIL("accepted garbage");
        } catch (const Error &error) {
            RC_ASSERT(error.code() == ErrorCode::kCorrupt);
        }
    }
}

} // namespace
} // namespace pgvigil
