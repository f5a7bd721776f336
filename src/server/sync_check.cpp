#include "server/pg.h"

#include "server/sync_check.h"

#include "server/boundary.h"
#include "server/shared_state.h"
#include "server/sync_link.h"

#include <algorithm>

namespace pgvigil {

namespace {

// Not the name that commits wait for: a look must not become a synchronous standby.
constexpr const char *kCheckName = "pgvigil check";

// Whether synchronous_standby_names contains `wanted`, as PostgreSQL reads it.
bool is_listed(const char *wanted) {
    if (SyncRepConfig == nullptr || SyncRepStandbyNames == nullptr || SyncRepStandbyNames[0] == '\0')
        return false;
    const char *name = SyncRepConfig->member_names;
    for (int i = 0; i < SyncRepConfig->nmembers; ++i, name += strlen(name) + 1)
        if (pg_strcasecmp(name, wanted) == 0)
            return true;
    return false;
}

bool is_plain(const std::string &name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    });
}

std::string for_hba(const std::string &name) {
    return is_plain(name) ? name : "\"" + name + "\"";
}

// The line that lets the connection in.
std::string hba_line(const std::string &user) {
    const std::string host = sync_host();
    const std::string who = "replication " + for_hba(user);
    if (host.empty() || host.front() == '/' || host.front() == '@')
        return "local " + who + (user == sync_user("") ? " peer" : " scram-sha-256");
    const bool is_v6 = host.find(':') != std::string::npos;
    return "host " + who + " " + (is_v6 ? host + "/128" : host == "localhost" ? host : host + "/32") + " scram-sha-256";
}

void check_names(std::vector<SyncFinding> &findings, bool wanted) {
    const bool named = is_listed(kSynchronousName) || is_listed("*");
    const char *const check = "pgvigil.synchronous";
    if (wanted && named)
        findings.push_back({check, true, "on: commits wait for the repositories"});
    else if (wanted)
        findings.push_back({check, false,
                            "on, but no commit waits for the repositories; expected synchronous_standby_names = "
                            "'pgvigil', or pgvigil in its list"});
    else
        findings.push_back(
            {check, false, "off, but synchronous_standby_names contains pgvigil: commits wait for ever; expected on"});
}

void check_role(std::vector<SyncFinding> &findings, const std::string &user) {
    bool exists = false;
    bool may_log_in = false;
    bool may_replicate = false;
    const char *const name = user.c_str();
    pg_section([&]() noexcept {
        const Oid role = get_role_oid(name, true);
        HeapTuple tuple = OidIsValid(role) ? SearchSysCache1(AUTHOID, ObjectIdGetDatum(role)) : nullptr;
        if (!HeapTupleIsValid(tuple))
            return;
        const auto *form = reinterpret_cast<Form_pg_authid>(GETSTRUCT(tuple));
        exists = true;
        may_log_in = form->rolcanlogin;
        may_replicate = form->rolreplication || form->rolsuper;
        ReleaseSysCache(tuple);
    });
    const std::string what = "role \"" + user + "\"";
    std::string detail = what + " may log in and replicate";
    if (!exists)
        detail = what + " does not exist: CREATE ROLE \"" + user + "\" LOGIN REPLICATION";
    else if (!may_log_in || !may_replicate)
        detail = what + " may not " + (may_log_in ? "replicate" : "log in") + ": ALTER ROLE \"" + user +
                 "\" LOGIN REPLICATION";
    findings.push_back({"pgvigil.synchronous_user", exists && may_log_in && may_replicate, detail});
}

void check_senders(std::vector<SyncFinding> &findings) {
    findings.push_back({"max_wal_senders", max_wal_senders > 0,
                        max_wal_senders > 0 ? std::to_string(max_wal_senders)
                                            : "0; expected one more than standbys and backups use, and a restart"});
}

void check_connection(std::vector<SyncFinding> &findings, const std::string &user) {
    const char *const check = "synchronous connection";
    ErrorReport report;
    const bool connects = cpp_attempt([&] { const SyncLink link(user, kCheckName); }, report);
    const std::string line = hba_line(user);
    if (!connects) {
        std::string detail = std::string(report.message) + "; the line it needs in \"" +
                             (HbaFileName != nullptr ? HbaFileName : "pg_hba.conf") + "\": " + line;
        if (line.ends_with("scram-sha-256"))
            detail += "; and the password in ~/.pgpass of the user that runs the server";
        findings.push_back({check, false, detail});
        return;
    }
    char error[kStreamTextBytes] = "";
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
        if (shared.stream.link_failing_since != 0)
            set_text(error, shared.stream.link_error);
    });
    findings.push_back({check, error[0] == '\0',
                        error[0] == '\0' ? "role \"" + user + "\" can connect for replication"
                                         : std::string("the streamer is not connected: ") + error});
}

} // namespace

std::vector<SyncFinding> check_synchronous_mode(const StreamSettings &settings, const ServerFacts &facts) {
    std::vector<SyncFinding> findings;
    if (facts.in_recovery || (!settings.synchronous && !is_listed(kSynchronousName)))
        return findings;
    check_names(findings, settings.synchronous);
    if (!settings.synchronous)
        return findings;
    const std::string user = sync_user(settings.synchronous_user);
    check_role(findings, user);
    check_senders(findings);
    check_connection(findings, user);
    return findings;
}

} // namespace pgvigil
