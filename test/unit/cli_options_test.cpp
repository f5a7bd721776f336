// What a user types: understood, or refused with the value and what was expected.
#include "base/error.h"
#include "cli/common_options.h"
#include "cli/report.h"
#include "cli/target_options.h"
#include "cli/wal_get_fast.h"

#include <gtest/gtest.h>

namespace pgvigil::cli {
namespace {

template <class Call> Error error_of(Call &&call) {
    try {
        (void)call();
    } catch (const Error &error) {
        return error;
    }
    ADD_FAILURE() << "nothing was thrown";
    return {ErrorCode::kInternal, "none"};
}

TEST(CliNumbers, name_the_value_and_the_range) {
    EXPECT_EQ(parse_number("--threads", "7", 1, 64), 7U);
    for (const char *wrong : {"", "0", "65", "-1", "7x", " 7", "7.0", "99999999999999999999"}) {
        const Error error = error_of([&] { return parse_number("--threads", wrong, 1, 64); });
        EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
        EXPECT_EQ(error.message(), "invalid value \"" + std::string(wrong) + "\" for --threads");
        EXPECT_EQ(error.detail(), "A whole number from 1 to 64 is expected.");
    }
}

TEST(CliTargets, one_of_them_or_none) {
    TargetOptions options;
    EXPECT_TRUE(std::holds_alternative<LatestTarget>(restore_request(options).target));
    options.time = "2026-11-20T08:59:00.5Z";
    EXPECT_EQ(std::get<TimeTarget>(restore_request(options).target).time_us, 1795165140500000);
    options.lsn = "0/1";
    EXPECT_EQ(error_of([&] { return restore_request(options); }).message(), "more than one recovery target is given");
    options.time.clear();
    EXPECT_EQ(std::get<LsnTarget>(restore_request(options).target).lsn, Lsn{1});
    options.lsn.clear();
    options.immediate = true;
    EXPECT_TRUE(std::holds_alternative<ImmediateTarget>(restore_request(options).target));
}

TEST(CliTargets, wrong_values_are_named) {
    const auto message = [](auto &&set) {
        TargetOptions options;
        set(options);
        const Error error = error_of([&] { return restore_request(options); });
        EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
        EXPECT_FALSE(error.detail().empty());
        return error.message();
    };
    EXPECT_EQ(message([](TargetOptions &o) { o.time = "yesterday"; }), "invalid value \"yesterday\" for --target-time");
    EXPECT_EQ(message([](TargetOptions &o) { o.time = "2026-02-30 10:00"; }),
              "invalid value \"2026-02-30 10:00\" for --target-time");
    EXPECT_EQ(message([](TargetOptions &o) { o.lsn = "16B374"; }), "invalid value \"16B374\" for --target-lsn");
    EXPECT_EQ(message([](TargetOptions &o) { o.lsn = "0/0"; }), "invalid value \"0/0\" for --target-lsn");
    EXPECT_EQ(message([](TargetOptions &o) { o.xid = "2"; }), "invalid value \"2\" for --target-xid");
    EXPECT_EQ(message([](TargetOptions &o) { o.xid = "4294967296"; }), "invalid value \"4294967296\" for --target-xid");
    EXPECT_EQ(message([](TargetOptions &o) { o.timeline = "newest"; }),
              "invalid value \"newest\" for --target-timeline");
    EXPECT_EQ(message([](TargetOptions &o) { o.backup = "last"; }), "invalid value \"last\" for --backup");
}

TEST(CliTargets, timelines) {
    TargetOptions options;
    EXPECT_FALSE(restore_request(options).timeline);
    EXPECT_FALSE(restore_request(options).current_timeline);
    options.timeline = "current";
    EXPECT_TRUE(restore_request(options).current_timeline);
    options.timeline = "7";
    EXPECT_EQ(restore_request(options).timeline, TimelineId{7});
}

TEST(CliRepositories, are_needed) {
    const CommonOptions none;
    EXPECT_EQ(error_of([&] { return repository_urls(none); }).message(), "no repository is given");
    CommonOptions two;
    two.repository = "file:///a, s3://bucket/c?region=x";
    EXPECT_EQ(repository_urls(two).size(), 2U);
}

TEST(CliReport, sizes_and_times_are_readable) {
    EXPECT_EQ(pretty_bytes(0), "0 bytes");
    EXPECT_EQ(pretty_bytes(1023), "1023 bytes");
    EXPECT_EQ(pretty_bytes(1536), "1.5 kB");
    EXPECT_EQ(pretty_bytes(uint64_t{5} << 40), "5.0 TB");
    EXPECT_EQ(pretty_seconds(59), "59 s");
    EXPECT_EQ(pretty_seconds(61), "1 min 01 s");
    EXPECT_EQ(pretty_seconds(7500), "2 h 05 min");
}

TEST(CliReport, errors_are_json_too) {
    const std::string json = error_json(Error(ErrorCode::kCorrupt, "bad \xff bytes").detail("D.").hint("H."));
    EXPECT_NE(json.find("\"error\": \"corrupt\""), std::string::npos) << json;
    EXPECT_NE(json.find("\"detail\": \"D.\""), std::string::npos) << json;
}

TEST(CliWalGet, finds_name_and_destination_at_the_end) {
    const auto parse = [](std::vector<std::string> words) {
        std::vector<char *> pointers;
        for (std::string &word : words)
            pointers.push_back(word.data());
        return parse_wal_get_call(static_cast<int>(pointers.size()), pointers.data());
    };
    const WalGetCall call = parse({"pgvigil", "wal-get", "--repository", "x", "000000010000000000000001", "pg_wal/R"});
    EXPECT_EQ(call.name, "000000010000000000000001");
    EXPECT_EQ(call.destination, "pg_wal/R");
    EXPECT_EQ(call.before, (std::vector<std::string>{"wal-get", "--repository", "x"}));
    EXPECT_EQ(call.directory, ""); // no data directory here
    EXPECT_EQ(parse({"pgvigil", "list", "a", "b"}).name, "");
    EXPECT_EQ(parse({"pgvigil", "wal-get", "a"}).name, "");
    EXPECT_EQ(parse({"pgvigil", "wal-get", "a", "b", "--path", "--x"}).name, "");
}

} // namespace
} // namespace pgvigil::cli
