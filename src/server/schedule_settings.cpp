#include "server/pg.h"

#include "server/schedule_settings.h"

#include "server/setting_check.h"

#include "plan/cron.h"
#include "repo/job_claims.h"

namespace pgvigil {

namespace {

char *expressions[kJobKinds] = {nullptr, nullptr, nullptr, nullptr};
char *time_zone = nullptr;
char *webhook_file = nullptr;
int takeover_s = kJobTermMs / 1000;
int backup_from = static_cast<int>(BackupFrom::kPrimary);

const config_enum_entry kBackupFrom[] = {
    {"primary", static_cast<int>(BackupFrom::kPrimary), false},
    {"standby", static_cast<int>(BackupFrom::kStandby), false},
    {"any", static_cast<int>(BackupFrom::kAny), false},
    {nullptr, 0, false},
};

bool check_expression(char **value, void ** /*extra*/, GucSource /*source*/) {
    return accept_setting([value] {
        if (**value != '\0')
            (void)CronExpression::parse(*value);
    });
}

bool check_time_zone(char **value, void ** /*extra*/, GucSource /*source*/) {
    return accept_setting([value] {
        if (**value != '\0')
            (void)load_schedule_zone(*value);
    });
}

bool check_webhook_file(char **value, void ** /*extra*/, GucSource /*source*/) {
    return accept_setting([value] { check_absolute_path(*value); });
}

void define(const char *name, const char *summary, const char *details, char **variable, const char *fallback,
            int flags, GucStringCheckHook check) {
    DefineCustomStringVariable(name, summary, details, variable, fallback, PGC_SIGHUP, flags, check, nullptr, nullptr);
}

} // namespace

void define_schedule() {
    static const char *const kForm = "A cron expression: minute, hour, day of month, month, day of week; or @daily and "
                                     "its like. Empty turns it off.";
    define("pgvigil.full_schedule", "When full backups are made.", kForm, &expressions[0], "0 2 * * 0", 0,
           check_expression);
    define("pgvigil.incremental_schedule", "When incremental backups are made.", kForm, &expressions[1], "0 2 * * 1-6",
           0, check_expression);
    define("pgvigil.expire_schedule", "When backups and WAL that are no longer kept are deleted.", kForm,
           &expressions[2], "0 3 * * *", 0, check_expression);
    define("pgvigil.verify_schedule", "When the stored backups are read and checked.", kForm, &expressions[3], "", 0,
           check_expression);
    define("pgvigil.schedule_time_zone", "The time zone of the schedules.",
           "The name of a time zone, such as Europe/Berlin. Empty means log_timezone.", &time_zone, "", 0,
           check_time_zone);
    DefineCustomEnumVariable("pgvigil.backup_from", "Which server of the cluster makes the scheduled backups.",
                             "primary, standby (the primary only when no standby has done so for ten minutes) or any.",
                             &backup_from, static_cast<int>(BackupFrom::kPrimary), kBackupFrom, PGC_SIGHUP, 0, nullptr,
                             nullptr, nullptr);
    DefineCustomIntVariable("pgvigil.job_takeover_timeout",
                            "How long a server that shows no sign of life keeps a scheduled job it has begun.",
                            "Then another server of the cluster takes it over.", &takeover_s, takeover_s, 4, 86400,
                            PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
    define("pgvigil.webhook_url_file", "File with a URL that is told how each job ended.",
           "The first line is the URL, a secret: only the server's user may read the file. Empty tells nobody.",
           &webhook_file, "", GUC_SUPERUSER_ONLY, check_webhook_file);
}

ScheduleSettings current_schedule() {
    ScheduleSettings settings;
    for (size_t i = 0; i < kJobKinds; ++i)
        settings.expressions[i] = expressions[i];
    settings.time_zone = time_zone;
    if (settings.time_zone.empty())
        settings.time_zone = log_timezone == nullptr ? "UTC" : pg_get_timezone_name(log_timezone);
    settings.backup_from = static_cast<BackupFrom>(backup_from);
    settings.webhook_url_file = webhook_file;
    return settings;
}

TimeZone load_schedule_zone(const std::string &name) {
    static std::string own;
    if (own.empty()) {
        char share[MAXPGPATH];
        get_share_path(my_exec_path, share);
        own = std::string(share) + "/timezone";
    }
    return TimeZone::load(name, {"/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", own});
}

int64_t job_takeover_ms() noexcept {
    return int64_t{takeover_s} * 1000;
}

const char *webhook_url_file() noexcept {
    return webhook_file;
}

} // namespace pgvigil
