#include "server/pg.h"

#include "server/store_check.h"

#include "server/repositories.h"

#include "base/random.h"
#include "base/time.h"

#include <cstdlib>
#include <functional>

namespace pgvigil {

namespace {

constexpr int64_t kClockLimitMs = 5 * 60 * 1000;
constexpr size_t kProbeBytes = 4096;

class StoreCheck {
  public:
    StoreCheck(ObjectStore &store, const CancelToken &cancel)
        : store_(store), cancel_(cancel), key_("check/" + to_string(random_uuid())), body_(kProbeBytes) {
        random_bytes(body_);
    }

    std::vector<StoreFinding> run() {
        if (step("write", [this] { return write(); })) {
            (void)step("read", [this] { return read(); });
            (void)step("conditional create", [this] { return write_again(); });
        }
        (void)step("missing key", [this] { return look_for_nothing(); });
        (void)step("clock", [this] { return compare_clocks(); });
        if (written_)
            (void)step("delete", [this] { return remove(); });
        return std::move(findings_);
    }

  private:
    struct Outcome {
        bool ok;
        std::string detail;
    };

    bool step(const char *check, const std::function<Outcome()> &body) {
        StoreFinding &finding = findings_.emplace_back();
        finding.check = check;
        finding.repository = store_.display_name();
        try {
            Outcome outcome = body();
            finding.ok = outcome.ok;
            finding.detail = std::move(outcome.detail);
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            finding.detail = error.message() + (error.detail().empty() ? "" : ": " + error.detail());
        }
        return finding.ok;
    }

    Outcome write() {
        const int64_t started = boot_time_ms();
        const bool stored = put() == PutOutcome::kStored;
        written_ = stored;
        return {stored, stored ? "an object of " + std::to_string(kProbeBytes) + " bytes in " +
                                     std::to_string(boot_time_ms() - started) + " ms"
                               : "an object of a random name exists already"};
    }

    Outcome read() {
        const auto got = store_.get(key_, kProbeBytes, cancel_);
        if (!got)
            return {false, "the object just written is not there"};
        return {*got == body_, *got == body_ ? "the same bytes" : "other bytes than were written"};
    }

    Outcome write_again() {
        // Other bytes: a retry that finds its own is told that it stored them.
        body_[0] ^= std::byte{1};
        const bool refused = put() == PutOutcome::kAlreadyExists;
        body_[0] ^= std::byte{1};
        const bool enforced = store_.features().conditional_create;
        if (!refused)
            return {false, "a second object of the same name replaced the first"};
        return {true, enforced ? "a second object of the same name is refused"
                               : "the store does not enforce it: pgvigil looks before it writes"};
    }

    Outcome look_for_nothing() {
        const bool absent = !store_.head(key_ + "-absent", cancel_).has_value();
        return {absent, absent ? "is reported as missing" : "an object that was never written is there"};
    }

    Outcome compare_clocks() {
        const int64_t apart = store_.clock_ms(cancel_) - unix_time_ms();
        const std::string detail =
            "the store's clock is " + std::to_string(std::llabs(apart)) + " ms " + (apart < 0 ? "behind" : "ahead");
        return {std::llabs(apart) <= kClockLimitMs, detail};
    }

    Outcome remove() {
        const auto failures = store_.remove({key_}, cancel_);
        if (failures.empty())
            return {true, "the object is gone"};
        if (failures.front().access_denied)
            return {true, "not allowed: expiry cannot remove anything with these credentials"};
        return {false, failures.front().message};
    }

    PutOutcome put() {
        PutRequest request;
        request.key = key_;
        request.body = body_;
        return store_.put_new(request, cancel_);
    }

    ObjectStore &store_;
    const CancelToken &cancel_;
    std::string key_;
    Bytes body_;
    bool written_ = false;
    std::vector<StoreFinding> findings_;
};

} // namespace

std::vector<StoreFinding> check_stores(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel) {
    std::vector<StoreFinding> findings;
    for (const OpenedStore &opened : open_stores(settings, facts, cancel)) {
        StoreFinding finding;
        finding.check = "repository";
        finding.repository = opened.store ? opened.store->display_name() : opened.url;
        finding.ok = opened.document.has_value();
        finding.detail = opened.problem    ? opened.problem->message()
                         : opened.document ? "id " + to_string(opened.document->id)
                                           : "the store is empty: the first WAL file or backup creates the repository";
        findings.push_back(finding);
        if (!opened.store || (opened.problem && opened.problem->code() != ErrorCode::kCorrupt))
            continue;
        for (StoreFinding &more : StoreCheck(*opened.store, cancel).run())
            findings.push_back(std::move(more));
    }
    return findings;
}

} // namespace pgvigil
