#include "base/error.h"
#include "plan/job_log.h"
#include "plan/job_schedule.h"

#include <gtest/gtest.h>

namespace pgvigil {
namespace {

constexpr int64_t kDay = 86400;
constexpr int64_t kSunday = 1795312800; // 2026-11-22 02:00 UTC

JobSchedules schedules(const char *full, const char *incremental, int64_t handled_s) {
    JobSchedules all;
    all[0] = {CronExpression::parse(full), handled_s};
    all[1] = {CronExpression::parse(incremental), handled_s};
    return all;
}

TEST(JobScheduleTest, WhatWasMissedIsDueOnce) {
    const TimeZone utc = TimeZone::load("UTC");
    const JobSchedules all = schedules("0 2 * * 0", "0 2 * * 1-6", kSunday);
    EXPECT_TRUE(due_jobs(all, utc, kSunday + kDay - 1).due.empty());
    EXPECT_EQ(due_jobs(all, utc, kSunday + kDay).due, (std::vector<DueJob>{{JobKind::kIncremental, kSunday + kDay}}));
    // Three were missed: the newest one is made up.
    EXPECT_EQ(due_jobs(all, utc, kSunday + 3 * kDay + 3600).due,
              (std::vector<DueJob>{{JobKind::kIncremental, kSunday + 3 * kDay}}));
    // A full one serves for the incremental ones as well.
    const DueJobs later = due_jobs(all, utc, kSunday + 8 * kDay);
    EXPECT_EQ(later.due, (std::vector<DueJob>{{JobKind::kFull, kSunday + 7 * kDay}}));
    EXPECT_EQ(later.superseded, (std::vector<DueJob>{{JobKind::kIncremental, kSunday + 8 * kDay}}));
}

TEST(JobScheduleTest, AFullWinsOverAnIncrementalOfTheSameMinute) {
    const TimeZone utc = TimeZone::load("UTC");
    const DueJobs both = due_jobs(schedules("0 2 * * *", "0 2 * * *", kSunday - 1), utc, kSunday);
    EXPECT_EQ(both.due, (std::vector<DueJob>{{JobKind::kFull, kSunday}}));
    EXPECT_EQ(both.superseded, (std::vector<DueJob>{{JobKind::kIncremental, kSunday}}));
}

TEST(JobScheduleTest, WhoMayStart) {
    const auto may = [](JobKind kind, BackupFrom from, NodeRole role, int64_t waited) {
        return may_start(kind, from, role, waited);
    };
    for (const JobKind kind : {JobKind::kFull, JobKind::kIncremental}) {
        EXPECT_EQ(may(kind, BackupFrom::kPrimary, NodeRole::kWriter, 0), MayStart::kNow);
        EXPECT_EQ(may(kind, BackupFrom::kPrimary, NodeRole::kStandby, kPreferenceGraceMs), MayStart::kNever);
        EXPECT_EQ(may(kind, BackupFrom::kAny, NodeRole::kWriter, 0), MayStart::kNow);
        EXPECT_EQ(may(kind, BackupFrom::kAny, NodeRole::kStandby, 0), MayStart::kNow);
        EXPECT_EQ(may(kind, BackupFrom::kStandby, NodeRole::kStandby, 0), MayStart::kNow);
        EXPECT_EQ(may(kind, BackupFrom::kStandby, NodeRole::kWriter, kPreferenceGraceMs - 1), MayStart::kNotYet);
        EXPECT_EQ(may(kind, BackupFrom::kStandby, NodeRole::kWriter, kPreferenceGraceMs), MayStart::kNow);
    }
    for (const JobKind kind : {JobKind::kExpire, JobKind::kVerify}) {
        EXPECT_EQ(may(kind, BackupFrom::kStandby, NodeRole::kWriter, 0), MayStart::kNow);
        EXPECT_EQ(may(kind, BackupFrom::kAny, NodeRole::kStandby, kPreferenceGraceMs), MayStart::kNever);
    }
}

JobRun run_of(JobKind kind, JobOutcome outcome, int64_t started_s) {
    JobRun run;
    run.kind = kind;
    run.outcome = outcome;
    run.started_ms = started_s * 1000;
    run.ended_ms = started_s * 1000 + 5;
    run.message = "what \xff happened";
    run.node = "host";
    return run;
}

TEST(JobLogTest, RemembersOverARestart) {
    JobLog log;
    EXPECT_TRUE(log.set_schedule(JobKind::kFull, "0 2 * * 0 UTC", kSunday));
    EXPECT_FALSE(log.set_schedule(JobKind::kFull, "0 2 * * 0 UTC", kSunday + kDay));
    log.open({JobKind::kFull, JobTrigger::kManual, 0, 123456, 7});
    JobRun run = run_of(JobKind::kFull, JobOutcome::kFailed, kSunday + 1);
    run.slot_s = kSunday;
    run.bytes = 12;
    run.backup_id = "20261122T020000F";
    log.add(run);
    const JobLog again = JobLog::decode(log.encode(), "pgvigil.jobs");
    EXPECT_EQ(again.encode(), log.encode());
    EXPECT_EQ(again.handled(JobKind::kFull), kSunday);
    EXPECT_EQ(again.failures(JobKind::kFull), 1U);
    ASSERT_NE(again.last_run(JobKind::kFull), nullptr);
    EXPECT_EQ(again.last_run(JobKind::kFull)->message, "what \xff happened");
    EXPECT_EQ(again.last_run(JobKind::kFull)->slot_s, kSunday);
    EXPECT_EQ(again.last_success(JobKind::kFull), nullptr);
    ASSERT_EQ(again.open_jobs().size(), 1U);
    EXPECT_EQ(again.open_jobs()[0].request, 7U);
    EXPECT_THROW((void)JobLog::decode("{}", "pgvigil.jobs"), Error);
    EXPECT_THROW((void)JobLog::decode("", "pgvigil.jobs"), Error);
    EXPECT_THROW((void)JobLog::decode(log.encode().substr(0, 300), "pgvigil.jobs"), Error);
}

TEST(JobLogTest, AnewScheduleDoesNotLookBack) {
    JobLog log;
    (void)log.set_schedule(JobKind::kFull, "0 2 * * *", kSunday);
    (void)log.set_handled(JobKind::kFull, kSunday + 10);
    EXPECT_FALSE(log.set_handled(JobKind::kFull, kSunday + 5));
    EXPECT_EQ(log.handled(JobKind::kFull), kSunday + 10);
    EXPECT_TRUE(log.set_schedule(JobKind::kFull, "0 3 * * *", kSunday + kDay));
    EXPECT_EQ(log.handled(JobKind::kFull), kSunday + kDay);
}

TEST(JobLogTest, ASuccessfulBackupCoversTheSlotsBeforeIt) {
    JobLog log;
    log.add(run_of(JobKind::kFull, JobOutcome::kFailed, kSunday));
    EXPECT_EQ(log.handled(JobKind::kFull), 0);
    log.add(run_of(JobKind::kIncremental, JobOutcome::kSucceeded, kSunday));
    EXPECT_EQ(log.handled(JobKind::kFull), 0);
    EXPECT_EQ(log.handled(JobKind::kIncremental), kSunday);
    log.add(run_of(JobKind::kFull, JobOutcome::kSucceeded, kSunday + 1));
    EXPECT_EQ(log.handled(JobKind::kFull), kSunday + 1);
    EXPECT_EQ(log.handled(JobKind::kIncremental), kSunday + 1);
    log.add(run_of(JobKind::kExpire, JobOutcome::kSucceeded, kSunday + 1));
    EXPECT_EQ(log.handled(JobKind::kExpire), 0);
}

// A node boots with its clock in 2030 and runs a slot; then its clock is set right.
TEST(JobLogTest, WhatAWrongClockWorkedOffIsForgotten) {
    const TimeZone utc = TimeZone::load("UTC");
    const int64_t wrong = kSunday + 4 * 365 * kDay;
    JobLog log;
    (void)log.set_schedule(JobKind::kFull, "0 2 * * 0 UTC", kSunday);
    (void)log.set_handled(JobKind::kFull, wrong);
    log.add(run_of(JobKind::kIncremental, JobOutcome::kSucceeded, wrong));
    EXPECT_TRUE(log.forget_future(kSunday + kDay));
    EXPECT_FALSE(log.forget_future(kSunday + kDay));
    EXPECT_EQ(log.handled(JobKind::kFull), kSunday + kDay);
    EXPECT_EQ(log.handled(JobKind::kIncremental), kSunday + kDay);
    const JobSchedules all = schedules("0 2 * * 0", "0 2 * * 1-6", log.handled(JobKind::kFull));
    EXPECT_EQ(due_jobs(all, utc, kSunday + 7 * kDay).due, (std::vector<DueJob>{{JobKind::kFull, kSunday + 7 * kDay}}));
    // So it is by a new schedule.
    (void)log.set_handled(JobKind::kFull, wrong);
    EXPECT_TRUE(log.set_schedule(JobKind::kFull, "0 3 * * 0 UTC", kSunday + 2 * kDay));
    EXPECT_EQ(log.handled(JobKind::kFull), kSunday + 2 * kDay);
}

// When it began is told by the other node's clock, which may be anything.
TEST(JobLogTest, ARunOfAnotherNodeCoversItsSlotOnly) {
    JobLog log;
    JobRun run = run_of(JobKind::kFull, JobOutcome::kSucceeded, kSunday + 4 * 365 * kDay);
    run.slot_s = kSunday;
    log.add_elsewhere(run);
    EXPECT_EQ(log.handled(JobKind::kFull), kSunday);
    EXPECT_EQ(log.handled(JobKind::kIncremental), kSunday);
    EXPECT_EQ(log.runs().size(), 1U);
}

TEST(JobLogTest, HistoryIsBoundedForEachKind) {
    JobLog log;
    log.add(run_of(JobKind::kFull, JobOutcome::kSucceeded, 1));
    for (int64_t i = 0; i < 250; ++i)
        log.add(run_of(JobKind::kIncremental, JobOutcome::kFailed, 2 + i));
    EXPECT_EQ(log.runs().size(), kMaxJobRuns + 1);
    EXPECT_EQ(log.runs().front().kind, JobKind::kFull);
    EXPECT_EQ(log.failures(JobKind::kIncremental), kMaxJobRuns);
    log.add(run_of(JobKind::kIncremental, JobOutcome::kInterrupted, 300));
    EXPECT_EQ(log.failures(JobKind::kIncremental), 0U);
}

} // namespace
} // namespace pgvigil
