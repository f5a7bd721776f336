#include "server/pg.h"

#include "server/settings.h"

#include "server/schedule_settings.h"
#include "server/setting_check.h"
#include "server/stream_settings.h"

#include "base/error.h"
#include "base/wal_name.h"

#include <cerrno>
#include <cstdlib>
#include <functional>

namespace pgvigil {

namespace {

constexpr int kMaxThreads = 64;
constexpr int kMaxLookAhead = 64;

char *repository = nullptr;
char *credentials_file = nullptr;
char *compression = nullptr;
char *required_repositories = nullptr;
char *command = nullptr;
char *skipped_file = nullptr;
int look_ahead = 8;
int threads = 2;
int max_rate_kb = 0;
int queue_max_mb = 0;
int request_timeout_s = 30;
int retry_for_s = 60;
int writer_term_s = 90;
int wal_timeout_s = 600;
int command_timeout_s = 300;
int retention_window_s = 7 * 86400;
int retention_fulls = 2;
int retention_daily = 0;
int retention_weekly = 0;
int retention_monthly = 0;
int retention_yearly = 0;
int longest_chain = 50;
bool first_backup = true;
bool hashes = true;

// "all" or a number from 1 to kMaxRepositories; 0 stands for all.
unsigned parse_required(const std::string &text) {
    if (text == "all")
        return 0;
    char *end = nullptr;
    errno = 0;
    const long number = strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || errno != 0 || number < 1 || number > static_cast<long>(kMaxRepositories))
        throw Error(ErrorCode::kInvalidArgument, "\"" + text + "\" is not a number of repositories")
            .detail("Expected \"all\" or a number from 1 to " + std::to_string(kMaxRepositories) + ".");
    return static_cast<unsigned>(number);
}

bool check_repository(char **value, void ** /*extra*/, GucSource /*source*/) {
    return accept_setting([value] {
        const size_t count = parse_repository_list(*value).size();
        if (count > kMaxRepositories)
            throw Error(ErrorCode::kInvalidArgument, std::to_string(count) + " repositories are too many")
                .detail("Expected at most " + std::to_string(kMaxRepositories) + ", separated by commas.");
    });
}

bool check_credentials_file(char **value, void ** /*extra*/, GucSource /*source*/) {
    return accept_setting([value] { check_absolute_path(*value); });
}

bool check_compression(char **value, void ** /*extra*/, GucSource /*source*/) {
    return accept_setting([value] { (void)parse_compression(*value); });
}

bool check_required(char **value, void ** /*extra*/, GucSource /*source*/) {
    return accept_setting([value] { (void)parse_required(*value); });
}

bool check_skipped_file(char **value, void ** /*extra*/, GucSource /*source*/) {
    return accept_setting([value] {
        if (**value != '\0' && !parse_wal_file_name(*value))
            throw Error(ErrorCode::kInvalidArgument, "\"" + std::string(*value) + "\" is not the name of a WAL file")
                .detail(
                    "Expected a name as it stands in pg_wal, such as 000000010000000000000001, or an empty string.");
    });
}

void define_string(const char *name, const char *summary, const char *details, char **variable, const char *fallback,
                   int flags, GucStringCheckHook check) {
    DefineCustomStringVariable(name, summary, details, variable, fallback, PGC_SIGHUP, flags, check, nullptr, nullptr);
}

void define_int(const char *name, const char *summary, const char *details, int *variable, int fallback, int lowest,
                int highest, int flags) {
    DefineCustomIntVariable(name, summary, details, variable, fallback, lowest, highest, PGC_SIGHUP, flags, nullptr,
                            nullptr, nullptr);
}

void define_where() {
    define_string("pgvigil.repository", "Repositories that WAL and backups go to.",
                  "A comma-separated list of URLs: file:///directory or "
                  "s3://bucket/prefix?endpoint=https://host:port&region=name. Empty turns pgvigil off.",
                  &repository, "", GUC_SUPERUSER_ONLY, check_repository);
    define_string("pgvigil.credentials_file", "File with the credentials of S3 repositories.",
                  "In the format of AWS's shared credentials. Empty means the usual chain: environment, ~/.aws, web "
                  "identity, container, instance metadata.",
                  &credentials_file, "", GUC_SUPERUSER_ONLY, check_credentials_file);
    define_string("pgvigil.required_repositories",
                  "How many repositories must have a WAL file before it is acknowledged.",
                  "\"all\" or a number; the other repositories are filled in later.", &required_repositories, "all", 0,
                  check_required);
    define_int("pgvigil.request_timeout", "A request to a store that moves no byte for this long is given up.", nullptr,
               &request_timeout_s, 30, 1, 3600, GUC_UNIT_S);
    define_int("pgvigil.retry_timeout",
               "How long a failing request to a store is tried again before it counts as failed.", nullptr,
               &retry_for_s, 60, 0, 3600, GUC_UNIT_S);
    define_int("pgvigil.writer_term",
               "How long a writer must have been silent before another server may hold it for gone.",
               "A writer shows three times in a term that it lives. All servers of a cluster need the same value.",
               &writer_term_s, 90, 3, 3600, GUC_UNIT_S);
}

void define_archiving() {
    define_string("pgvigil.compression", "How WAL and backups are compressed.",
                  "\"none\", \"lz4\", \"zstd\" or \"zstd:<level>\".", &compression, "zstd:1", 0, check_compression);
    define_int("pgvigil.archive_look_ahead", "WAL files uploaded at the same time.", nullptr, &look_ahead, 8, 1,
               kMaxLookAhead, 0);
    define_int("pgvigil.archive_queue_max", "WAL waiting for the archive at which WAL is let go.",
               "At this limit the oldest WAL is let go, with a warning and a recorded gap, and a new full backup is "
               "made. 0 never lets WAL go.",
               &queue_max_mb, 0, 0, MAX_KILOBYTES, GUC_UNIT_MB);
    define_string("pgvigil.also_archive_command", "A shell command that must archive each WAL file as well.",
                  "%p stands for the file's path and %f for its name, as in archive_command.", &command, "",
                  GUC_SUPERUSER_ONLY, nullptr);
    define_int("pgvigil.also_archive_command_timeout", "How long also_archive_command may run before it is ended.",
               "0 waits without limit.", &command_timeout_s, 300, 0, 86400, GUC_UNIT_S);
    define_string("pgvigil.skip_wal_file", "A WAL file to let go although it cannot be archived.",
                  "The way out where a file is refused again and again: the gap is recorded and a new full backup is "
                  "made.",
                  &skipped_file, "", 0, check_skipped_file);
}

void define_backups() {
    define_int("pgvigil.backup_threads", "Threads that a backup reads, compresses and uploads with.", nullptr, &threads,
               2, 1, kMaxThreads, 0);
    define_int("pgvigil.max_rate", "Limit of what a backup reads per second.", "0 sets no limit.", &max_rate_kb, 0, 0,
               MAX_KILOBYTES, GUC_UNIT_KB);
    define_int("pgvigil.backup_wal_timeout", "How long a finished copy waits for its WAL to reach the repositories.",
               "When this time has passed the backup fails.", &wal_timeout_s, 600, 1, 86400, GUC_UNIT_S);
    define_int("pgvigil.chain_max", "Incremental backups in a row before the next one is full.", "0 sets no limit.",
               &longest_chain, 50, 0, 10000, 0);
    DefineCustomBoolVariable("pgvigil.block_hashes", "Stores a hash of every block with a backup.",
                             "By them a later incremental backup finds what changed where there are no WAL summaries.",
                             &hashes, true, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
    DefineCustomBoolVariable("pgvigil.auto_first_backup",
                             "Makes a full backup as soon as the repository has none of this cluster.", nullptr,
                             &first_backup, true, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
}

void define_retention() {
    constexpr int kMaxCopies = 10000;
    const char *const copies = "Of each period (UTC) that has one; 0 keeps none for this reason.";
    define_int("pgvigil.retention_window", "How far back every moment can be restored.",
               "Expiry keeps the backups and all WAL that this needs.", &retention_window_s, 7 * 86400, 0, INT_MAX,
               GUC_UNIT_S);
    define_int("pgvigil.retention_fulls", "How many of the newest full backups expiry keeps.",
               "Those outside of the recovery window with just the WAL that makes them consistent.", &retention_fulls,
               2, 0, kMaxCopies, 0);
    define_int("pgvigil.retention_daily", "For how many days expiry keeps the newest backup of the day.", copies,
               &retention_daily, 0, 0, kMaxCopies, 0);
    define_int("pgvigil.retention_weekly", "For how many weeks expiry keeps the newest backup of the week.", copies,
               &retention_weekly, 0, 0, kMaxCopies, 0);
    define_int("pgvigil.retention_monthly", "For how many months expiry keeps the newest backup of the month.", copies,
               &retention_monthly, 0, 0, kMaxCopies, 0);
    define_int("pgvigil.retention_yearly", "For how many years expiry keeps the newest backup of the year.", copies,
               &retention_yearly, 0, 0, kMaxCopies, 0);
}

RetentionRules current_retention() {
    RetentionRules rules;
    rules.window_ms = int64_t{retention_window_s} * 1000;
    rules.fulls = static_cast<unsigned>(retention_fulls);
    rules.daily = static_cast<unsigned>(retention_daily);
    rules.weekly = static_cast<unsigned>(retention_weekly);
    rules.monthly = static_cast<unsigned>(retention_monthly);
    rules.yearly = static_cast<unsigned>(retention_yearly);
    return rules;
}

} // namespace

void define_settings() {
    define_where();
    define_archiving();
    define_streaming();
    define_backups();
    define_retention();
    define_schedule();
    MarkGUCPrefixReserved("pgvigil");
}

Settings current_settings() {
    Settings settings;
    settings.repository_text = repository;
    settings.repositories = parse_repository_list(settings.repository_text);
    settings.credentials_file = credentials_file;
    settings.compression = parse_compression(compression);
    settings.archive_look_ahead = static_cast<unsigned>(look_ahead);
    settings.backup_threads = static_cast<unsigned>(threads);
    settings.max_rate = static_cast<uint64_t>(max_rate_kb) * 1024;
    settings.chain_max = static_cast<unsigned>(longest_chain);
    settings.block_hashes = hashes;
    settings.required = parse_required(required_repositories);
    settings.queue_max = static_cast<uint64_t>(queue_max_mb) * 1024 * 1024;
    settings.retention = current_retention();
    settings.request_timeout = std::chrono::seconds(request_timeout_s);
    settings.retry_for = std::chrono::seconds(retry_for_s);
    settings.writer_term_ms = int64_t{writer_term_s} * 1000;
    return settings;
}

uint64_t Settings::repositories_hash() const {
    return std::hash<std::string>{}(std::to_string(required) + " " + repository_text);
}

const char *repository_setting() noexcept {
    return repository;
}
const char *also_archive_command() noexcept {
    return command;
}
const char *skip_wal_file() noexcept {
    return skipped_file;
}
bool auto_first_backup() noexcept {
    return first_backup;
}
int backup_wal_timeout_s() noexcept {
    return wal_timeout_s;
}
int archive_command_timeout_s() noexcept {
    return command_timeout_s;
}

} // namespace pgvigil
