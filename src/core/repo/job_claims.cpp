#include "repo/job_claims.h"

#include "base/time.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>

namespace pgvigil {

namespace {

// How far back a claim may lie that still matters for a new slot: no job runs longer.
constexpr int64_t kLookBack = int64_t{8} * 86400;
constexpr size_t kMaxMessage = 2000;

constexpr std::array<std::string_view, 4> kStates = {"running", "succeeded", "given up", "failed"};

std::string encode(const JobEntry &entry) {
    const Json document = {{"format", kRepositoryFormat},
                           {"instance", to_string(entry.instance)},
                           {"host", fields::text_value(entry.host)},
                           {"state", kStates[static_cast<size_t>(entry.state)]},
                           {"started", fields::time_value(entry.started_ms)},
                           {"ended", entry.ended_ms == 0 ? Json() : fields::time_value(entry.ended_ms)},
                           {"backup", entry.backup_id},
                           {"bytes", entry.bytes},
                           {"message", fields::text_value(entry.message.substr(0, kMaxMessage))}};
    return document.dump(1, ' ') + "\n";
}

JobEntry decode(std::string_view json, const std::string &key) {
    const Json source = parse_json(json, key);
    fields::check_format(source, key);
    JobEntry entry;
    entry.instance = fields::uuid_member(source, "instance", key);
    entry.host = fields::text_member(source, "host", key);
    const auto state = std::find(kStates.begin(), kStates.end(), fields::text_member(source, "state", key));
    if (state == kStates.end())
        throw fields::bad_member("state", key);
    entry.state = static_cast<JobEntryState>(state - kStates.begin());
    entry.started_ms = fields::time_member(source, "started", key);
    if (source.contains("ended") && !source["ended"].is_null())
        entry.ended_ms = fields::time_member(source, "ended", key);
    entry.backup_id = fields::text_member(source, "backup", key);
    entry.bytes = fields::number<uint64_t>(source, "bytes", key);
    entry.message = fields::text_member(source, "message", key);
    return entry;
}

struct EntryName {
    std::string slot; // as in the key
    uint32_t number = 0;
};

// nullopt for anything else that may lie there.
std::optional<EntryName> parse_entry_name(std::string_view name) {
    const size_t tilde = name.find('~');
    if (tilde != 15 || !name.ends_with(".json"))
        return std::nullopt;
    EntryName parsed;
    parsed.slot = name.substr(0, tilde);
    const std::string_view digits = name.substr(tilde + 1, name.size() - tilde - 6);
    const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed.number);
    if (status != std::errc() || end != digits.data() + digits.size() || digits.size() != 6)
        return std::nullopt;
    return parsed;
}

// The name of the last slot that is not ahead of the store's clock.
std::string last_slot(int64_t store_ms) {
    return compact_time(store_ms + kJobClockLimitMs);
}

// The newest entry of every slot from `from_s` up to the slot named `last`, by the slot's name.
std::map<std::string, uint32_t> newest_entries(const Repository &repository, JobKind kind, int64_t from_s,
                                               const std::string &last, const CancelToken &cancel) {
    const std::string prefix = repository.layout().job_prefix(job_name(kind));
    const std::string start_after = prefix + compact_time(std::max<int64_t>(from_s, 0) * 1000);
    std::map<std::string, uint32_t> newest;
    ListRequest request;
    request.prefix = prefix;
    request.start_after = start_after;
    for_each_page(repository.store(), request, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects)
            if (const auto name = parse_entry_name(std::string_view(object.key).substr(prefix.size()));
                name && name->slot <= last) {
                uint32_t &number = newest[name->slot];
                number = std::max(number, name->number);
            }
    });
    return newest;
}

JobEntry read_entry(const Repository &repository, const std::string &key, uint32_t number, const CancelToken &cancel) {
    const auto json = read_document(repository.store(), key, cancel);
    if (!json)
        throw Error(ErrorCode::kUnavailable,
                    fmt::format("\"{}\" lists \"{}\", but does not show it", repository.url(), key))
            .retryable();
    JobEntry entry = decode(*json, key);
    entry.number = number;
    return entry;
}

} // namespace

JobClaims::JobClaims(Uuid instance, std::string host, int64_t term_ms)
    : instance_(instance), host_(std::move(host)), term_ms_(term_ms) {}

JobClaims::Slot JobClaims::slot_of(const Repository &repository, JobKind kind, const std::string &slot) {
    return {repository.id(), repository.layout().job_entry(job_name(kind), slot, 0)};
}

bool JobClaims::is_alive(const Slot &slot, const JobEntry &entry, int64_t now_ms) {
    Sight &sight = seen_[slot];
    if (sight.number != entry.number)
        sight = {entry.number, now_ms};
    return now_ms - sight.since_ms < term_ms_;
}

JobView JobClaims::look(const Repository &repository, JobKind kind, int64_t slot_s, int64_t now_ms,
                        const CancelToken &cancel) {
    const ClusterLayout &layout = repository.layout();
    const std::string_view name = job_name(kind);
    const std::string slot = compact_time(slot_s * 1000);
    JobView view;
    view.store_ms = repository.store().clock_ms(cancel);
    const std::string last = last_slot(view.store_ms);
    if (slot > last) {
        view.standing = JobStanding::kAhead;
        return view;
    }
    const auto newest = newest_entries(repository, kind, slot_s - kLookBack, last, cancel);
    // This slot's own entry, a later slot's, the newest earlier one's.
    const auto own = newest.find(slot);
    if (own != newest.end()) {
        view.entry = read_entry(repository, layout.job_entry(name, slot, own->second), own->second, cancel);
        if (view.entry.state == JobEntryState::kSucceeded || view.entry.state == JobEntryState::kGivenUp)
            view.standing = JobStanding::kDone;
        else if (view.entry.state == JobEntryState::kRunning && view.entry.instance == instance_)
            view.standing = JobStanding::kOwn;
        else if (view.entry.state == JobEntryState::kRunning &&
                 is_alive(slot_of(repository, kind, slot), view.entry, now_ms))
            view.standing = JobStanding::kOther;
        if (view.standing != JobStanding::kFree)
            return view;
    }
    auto other = newest.empty() ? newest.end() : std::prev(newest.end());
    if (other != newest.end() && other->first == slot)
        other = other == newest.begin() ? newest.end() : std::prev(other);
    if (other == newest.end())
        return view;
    const JobEntry entry =
        read_entry(repository, layout.job_entry(name, other->first, other->second), other->second, cancel);
    const bool is_later = other->first > slot;
    const bool ended = entry.state == JobEntryState::kSucceeded || entry.state == JobEntryState::kGivenUp;
    const bool runs = entry.state == JobEntryState::kRunning && entry.instance != instance_ &&
                      is_alive(slot_of(repository, kind, other->first), entry, now_ms);
    if (is_later && ended)
        return {JobStanding::kDone, entry, false, view.store_ms};
    if (runs)
        return {JobStanding::kOther, entry, false, view.store_ms};
    return view;
}

bool JobClaims::create(const Repository &repository, JobKind kind, int64_t slot_s, JobEntry entry,
                       const CancelToken &cancel) {
    entry.instance = instance_;
    entry.host = host_;
    const std::string key = repository.layout().job_entry(job_name(kind), compact_time(slot_s * 1000), entry.number);
    const Bytes body = encode_document(encode(entry), 0, random_uuid());
    PutRequest request;
    request.key = key;
    request.body = body;
    if (repository.store().put_new(request, cancel) == PutOutcome::kStored)
        return true;
    // Its own, when the answer to an earlier try was lost.
    return read_entry(repository, key, entry.number, cancel).instance == instance_;
}

bool JobClaims::claim(const Repository &repository, JobKind kind, int64_t slot_s, const JobView &view,
                      int64_t started_ms, const CancelToken &cancel) {
    JobEntry entry;
    entry.number = view.entry.number + 1;
    entry.started_ms = started_ms;
    if (!create(repository, kind, slot_s, entry, cancel))
        return false;
    held_[slot_of(repository, kind, compact_time(slot_s * 1000))] = {entry.number, started_ms};
    return true;
}

bool JobClaims::renew(const Repository &repository, JobKind kind, int64_t slot_s, const CancelToken &cancel) {
    return finish(repository, kind, slot_s, JobEntry{}, cancel);
}

bool JobClaims::finish(const Repository &repository, JobKind kind, int64_t slot_s, const JobEntry &end,
                       const CancelToken &cancel) {
    const Slot slot = slot_of(repository, kind, compact_time(slot_s * 1000));
    auto held = held_.find(slot);
    if (held == held_.end()) {
        // The process that claimed it was another one of this instance's.
        const JobView view = look(repository, kind, slot_s, boot_time_ms(), cancel);
        if (view.standing != JobStanding::kOwn)
            return false;
        held = held_.insert({slot, {view.entry.number, view.entry.started_ms}}).first;
    }
    JobEntry entry = end;
    entry.number = held->second.number + 1;
    entry.started_ms = held->second.started_ms;
    const bool still_own = create(repository, kind, slot_s, entry, cancel);
    if (still_own && entry.state == JobEntryState::kRunning)
        held->second.number = entry.number;
    else
        held_.erase(held);
    return still_own;
}

std::vector<ObjectInfo> obsolete_job_entries(const Repository &repository, int64_t oldest_ms, int64_t now_ms,
                                             const CancelToken &cancel) {
    const std::string last = last_slot(now_ms);
    std::vector<ObjectInfo> obsolete;
    for (const JobKind kind : kEveryJobKind) {
        const std::string prefix = repository.layout().job_prefix(job_name(kind));
        std::string newest;
        std::vector<ObjectInfo> found;
        ListRequest request;
        request.prefix = prefix;
        for_each_page(repository.store(), request, cancel, [&](const ListPage &page) {
            for (const ObjectInfo &object : page.objects)
                if (const auto name = parse_entry_name(std::string_view(object.key).substr(prefix.size()))) {
                    if (name->slot <= last)
                        newest = std::max(newest, name->slot);
                    found.push_back(object);
                }
        });
        for (ObjectInfo &object : found)
            if (object.modified_ms < oldest_ms &&
                (newest.empty() || std::string_view(object.key).substr(prefix.size(), newest.size()) != newest))
                obsolete.push_back(std::move(object));
    }
    return obsolete;
}

} // namespace pgvigil
