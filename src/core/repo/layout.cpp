#include "repo/layout.h"

#include "base/error.h"
#include "base/time.h"

#include <cstdio>
#include <ctime>

namespace pgvigil {

namespace {

std::string number_name(const char *format, unsigned long long number) {
    char text[32];
    std::snprintf(text, sizeof text, format, number);
    return text;
}

WalFileName require_wal_name(std::string_view name) {
    const auto parsed = parse_wal_file_name(name);
    if (!parsed)
        throw Error(ErrorCode::kInvalidArgument,
                    "\"" + std::string(name.substr(0, 80)) + "\" is not the name of a WAL file");
    return *parsed;
}

} // namespace

ClusterLayout::ClusterLayout(uint64_t system_identifier) : root_(std::to_string(system_identifier) + "/") {}

std::string ClusterLayout::epochs_prefix() const {
    return root_ + "epochs/";
}

std::string ClusterLayout::epoch(uint64_t number) const {
    return epochs_prefix() + number_name("%010llu", number) + ".json";
}

std::string ClusterLayout::alive_prefix() const {
    return root_ + "alive/";
}

std::string ClusterLayout::alive_prefix(uint64_t epoch) const {
    return alive_prefix() + number_name("%010llu", epoch) + "/";
}

std::string ClusterLayout::alive(uint64_t epoch, uint64_t number) const {
    return alive_prefix(epoch) + number_name("%010llu", number) + ".json";
}

std::string ClusterLayout::wal_root() const {
    return root_ + "wal/";
}

std::string ClusterLayout::wal_prefix(TimelineId timeline) const {
    return wal_root() + number_name("%08llX", timeline) + "/";
}

std::string ClusterLayout::wal_file(std::string_view name) const {
    const WalFileName parsed = require_wal_name(name);
    std::string key = wal_prefix(parsed.timeline);
    if (parsed.kind != WalFileKind::kHistory)
        key += number_name("%08llX", parsed.high) + "/";
    return key.append(name);
}

std::string ClusterLayout::wal_file_of_epoch(std::string_view name, uint64_t epoch) const {
    return wal_file(name) + "~" + std::to_string(epoch);
}

std::string ClusterLayout::partial_file(std::string_view name, std::string_view digest_hex) const {
    if (require_wal_name(name).kind != WalFileKind::kPartial || digest_hex.size() < 16)
        throw Error(ErrorCode::kInternal, "\"" + std::string(name) + "\" is no partial segment with a digest");
    return wal_file(name) + "-" + std::string(digest_hex.substr(0, 16));
}

std::string ClusterLayout::wal_part(std::string_view segment, unsigned part, std::string_view attempt) const {
    return wal_file(segment) + ".part" + number_name("%03llu", part) + "-" + std::string(attempt);
}

std::string ClusterLayout::walindex_prefix() const {
    return root_ + "walindex/";
}

std::string ClusterLayout::walindex_prefix(uint64_t span, TimelineId timeline) const {
    return walindex_prefix() + std::to_string(span) + "/" + number_name("%08llX", timeline) + "/";
}

std::string ClusterLayout::expired_wal_prefix() const {
    return walindex_prefix() + "expired/";
}

std::string ClusterLayout::expired_wal_prefix(TimelineId timeline) const {
    return expired_wal_prefix() + number_name("%08llX", timeline) + "/";
}

std::string ClusterLayout::tail_prefix() const {
    return root_ + "tail/";
}

std::string ClusterLayout::tail_prefix(TimelineId timeline) const {
    return tail_prefix() + number_name("%08llX", timeline) + "/";
}

std::string ClusterLayout::tail_segment_prefix(std::string_view segment) const {
    return tail_prefix(require_wal_name(segment).timeline).append(segment) + "/";
}

std::string ClusterLayout::tail_runs_prefix(TimelineId timeline) const {
    return tail_prefix(timeline) + "runs/";
}

std::string ClusterLayout::gaps_prefix() const {
    return root_ + "gaps/";
}

std::string ClusterLayout::gap(std::string_view file, int64_t unix_ms) const {
    (void)require_wal_name(file);
    return gaps_prefix() + std::string(file) + "-" + compact_time(unix_ms) + ".json";
}

std::string ClusterLayout::data_prefix(std::string_view backup) const {
    return root_ + "data/" + std::string(backup) + "/";
}

std::string ClusterLayout::pack(std::string_view backup, uint32_t number) const {
    return data_prefix(backup) + number_name("%06llu", number);
}

std::string ClusterLayout::files_prefix(std::string_view backup) const {
    return root_ + "files/" + std::string(backup) + "/";
}

std::string ClusterLayout::table_part(std::string_view backup, uint32_t number) const {
    return files_prefix(backup) + number_name("%06llu", number);
}

std::string ClusterLayout::table_index(std::string_view backup) const {
    return files_prefix(backup) + "index";
}

std::string ClusterLayout::jobs_prefix() const {
    return root_ + "jobs/";
}

std::string ClusterLayout::job_prefix(std::string_view kind) const {
    return jobs_prefix() + std::string(kind) + "/";
}

std::string ClusterLayout::job_entry(std::string_view kind, std::string_view slot, uint32_t number) const {
    return job_prefix(kind) + std::string(slot) + "~" + number_name("%06llu", number) + ".json";
}

std::string ClusterLayout::attempts_prefix() const {
    return root_ + "attempts/";
}

std::string ClusterLayout::attempt(std::string_view backup) const {
    return attempts_prefix() + std::string(backup) + ".json";
}

std::string ClusterLayout::renewal(std::string_view backup, uint32_t number) const {
    return attempts_prefix() + std::string(backup) + "~" + number_name("%06llu", number) + ".json";
}

std::string ClusterLayout::block_hashes(std::string_view backup, uint32_t number) const {
    return files_prefix(backup) + "hashes-" + number_name("%06llu", number);
}

std::string ClusterLayout::commits_prefix() const {
    return root_ + "commits/";
}

std::string ClusterLayout::commit(std::string_view backup) const {
    return commits_prefix() + std::string(backup) + ".json";
}

std::string ClusterLayout::commitindex_prefix() const {
    return root_ + "commitindex/";
}

std::string ClusterLayout::tombstones_prefix() const {
    return root_ + "tombstones/";
}

std::string ClusterLayout::tombstone(std::string_view backup) const {
    return tombstones_prefix() + std::string(backup);
}

std::string ClusterLayout::keeps_prefix() const {
    return root_ + "keeps/";
}

std::string ClusterLayout::keep(std::string_view backup, uint32_t number) const {
    return keeps_prefix() + std::string(backup) + number_name("-%06llu", number) + ".json";
}

std::string ClusterLayout::confirmations_prefix() const {
    return root_ + "confirmations/";
}

std::string ClusterLayout::confirmation(uint64_t epoch) const {
    return confirmations_prefix() + number_name("%010llu", epoch) + ".json";
}

std::string make_backup_id(int64_t start_unix_ms, bool full) {
    return compact_time(start_unix_ms) + (full ? "F" : "I");
}

std::optional<int64_t> backup_id_time_ms(std::string_view id) noexcept {
    if (!is_backup_id(id))
        return std::nullopt;
    const auto number = [id](size_t at, size_t length) {
        int value = 0;
        for (const char digit : id.substr(at, length))
            value = value * 10 + (digit - '0');
        return value;
    };
    tm parts{};
    parts.tm_year = number(0, 4) - 1900;
    parts.tm_mon = number(4, 2) - 1;
    parts.tm_mday = number(6, 2);
    parts.tm_hour = number(9, 2);
    parts.tm_min = number(11, 2);
    parts.tm_sec = number(13, 2);
    return int64_t{timegm(&parts)} * 1000;
}

std::optional<AttemptName> parse_attempt_name(std::string_view name) {
    constexpr std::string_view kSuffix = ".json";
    constexpr size_t kIdLength = 16;
    constexpr size_t kNumberLength = 6;
    if (!name.ends_with(kSuffix) || !is_backup_id(name.substr(0, kIdLength)))
        return std::nullopt;
    AttemptName result;
    result.backup = name.substr(0, kIdLength);
    name.remove_prefix(kIdLength);
    name.remove_suffix(kSuffix.size());
    if (name.empty())
        return result;
    if (name.size() != 1 + kNumberLength || name.front() != '~')
        return std::nullopt;
    uint32_t number = 0;
    for (const char c : name.substr(1)) {
        if (c < '0' || c > '9')
            return std::nullopt;
        number = number * 10 + static_cast<uint32_t>(c - '0');
    }
    result.renewal = number;
    return result;
}

bool is_backup_id(std::string_view text) noexcept {
    if (text.size() != 16 || text[8] != 'T' || (text[15] != 'F' && text[15] != 'I'))
        return false;
    for (size_t i = 0; i < 15; ++i)
        if (i != 8 && (text[i] < '0' || text[i] > '9'))
            return false;
    return true;
}

} // namespace pgvigil
