#include "transfer/restore_check.h"

#include "base/error.h"
#include "base/random.h"
#include "base/time.h"
#include "repo/repository.h"

#include <cstdlib>
#include <fmt/core.h>
#include <functional>

namespace pgvigil {

namespace {

constexpr int64_t kMaxClockSkewMs = 5 * 60 * 1000;
constexpr uint64_t kSmallObject = 4096;

class Checks {
  public:
    Checks(ObjectStore &store, const CancelToken &cancel)
        : store_(store), cancel_(cancel), prefix_("pgvigil.check/"), key_(prefix_ + to_string(random_uuid())),
          body_(to_bytes("a round trip by pgvigil, " + iso_time_ms(unix_time_ms()) + "\n")) {}

    std::vector<StoreCheck> run() {
        const bool reached = add("repository", [this] { return repository(); });
        if (!reached)
            return std::move(rows_);
        if (add("write", [this] { return write(); })) {
            add("read", [this] { return read(); });
            add("create once", [this] { return create_once(); });
            add("list", [this] { return list(); });
            add("delete", [this] { return remove(); });
        }
        add("absent", [this] { return absent(); });
        add("clock", [this] { return clock(); });
        add_bucket_rules();
        return std::move(rows_);
    }

  private:
    bool add(const char *name, const std::function<std::string()> &check) {
        try {
            rows_.push_back({name, true, check()});
            return true;
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            rows_.push_back({name, false,
                             error.detail().empty() ? error.message() : error.message() + " (" + error.detail() + ")"});
            return false;
        }
    }

    void add_bucket_rules() {
        std::optional<BucketRules> rules;
        const bool answered = add("versioning", [&] {
            rules = store_.bucket_rules(cancel_);
            return rules ? versioning(*rules) : std::string();
        });
        if (answered && !rules)
            rows_.pop_back();
        if (!rules)
            return;
        add("object lock", [&] { return object_lock(*rules); });
        add("lifecycle", [&] { return lifecycle(*rules); });
    }

    static std::string versioning(const BucketRules &rules) {
        if (!rules.versioning)
            return "The store does not tell whether the bucket keeps versions.";
        return *rules.versioning ? "The bucket keeps versions: what expiry deletes is only hidden."
                                 : "The bucket keeps no versions: what is deleted is gone.";
    }

    static std::string object_lock(const BucketRules &rules) {
        if (!rules.object_lock)
            return "The store does not tell whether objects can be locked.";
        if (!*rules.object_lock)
            return "Objects are not locked.";
        return rules.default_lock.empty() ? "Objects can be locked; new ones are not."
                                          : fmt::format("New objects are locked: {}.", rules.default_lock);
    }

    static std::string lifecycle(const BucketRules &rules) {
        if (rules.ends_noncurrent.value_or(false))
            return "A lifecycle rule removes noncurrent versions.";
        if (!rules.versioning.value_or(false))
            return "No rule for noncurrent versions is known to be needed.";
        if (!rules.ends_noncurrent)
            return "The store does not tell whether a lifecycle rule removes noncurrent versions; without one what "
                   "expiry deletes stays for ever.";
        throw Error(ErrorCode::kUnsupported, "no lifecycle rule removes noncurrent versions")
            .detail("What expiry deletes stays in the bucket, hidden, for ever.");
    }

    std::string repository() {
        const auto document = read_repository_document(store_, cancel_);
        return document ? fmt::format("Repository {}, created {}.", to_string(document->id),
                                      iso_time_ms(document->created_ms))
                        : "There is no repository yet; the first server that archives creates it.";
    }

    std::string write() {
        if (store_.put_new({.key = key_, .body = body_}, cancel_) != PutOutcome::kStored)
            throw Error(ErrorCode::kConflict, fmt::format("a new object \"{}\" is there already", key_));
        return fmt::format("Created an object of {} bytes.", body_.size());
    }

    std::string read() {
        const auto whole = store_.get(key_, kSmallObject, cancel_);
        if (!whole || *whole != body_)
            throw Error(ErrorCode::kCorrupt, "the object that was written is not the one that is read");
        const auto range = store_.get_range(key_, {2, 5}, cancel_);
        if (!range || as_text(*range) != as_text(body_).substr(2, 5))
            throw Error(ErrorCode::kCorrupt, "a range of the object holds other bytes");
        return "Read it back, whole and by range.";
    }

    std::string create_once() {
        const Bytes other = to_bytes("another writer's bytes\n");
        if (store_.put_new({.key = key_, .body = other}, cancel_) != PutOutcome::kAlreadyExists)
            throw Error(ErrorCode::kUnsupported, "the store replaces objects that are there")
                .detail("Two writers could overwrite each other.");
        return store_.features().conditional_create
                   ? "A second creation was refused by the store."
                   : "A second creation was refused, though only by looking first: the store does not do it itself, so "
                     "automatic takeover is off.";
    }

    std::string list() {
        const ListPage page = store_.list({.prefix = key_}, cancel_);
        if (page.objects.size() != 1 || page.objects.front().key != key_)
            throw Error(ErrorCode::kCorrupt, "the object that was written is not listed");
        return "Found it in the listing.";
    }

    std::string remove() {
        for (const DeleteFailure &failure : store_.remove({key_}, cancel_)) {
            if (failure.access_denied)
                return "These credentials may not delete, which is fine: only expiry does.";
            throw Error(ErrorCode::kUnavailable, failure.message);
        }
        if (store_.head(key_, cancel_))
            throw Error(ErrorCode::kCorrupt, "the object is still there after its deletion");
        return "Deleted it.";
    }

    std::string absent() {
        // Without the permission to list, S3 answers "access denied" for what is not there.
        if (store_.get(prefix_ + to_string(random_uuid()), kSmallObject, cancel_))
            throw Error(ErrorCode::kCorrupt, "an object that nobody wrote is there");
        return "An absent object is reported as absent.";
    }

    std::string clock() {
        const int64_t skew = store_.clock_ms(cancel_) - unix_time_ms();
        if (std::llabs(skew) > kMaxClockSkewMs)
            throw Error(ErrorCode::kUnsupported, fmt::format("the clocks are {} s apart", skew / 1000))
                .detail("Set this machine's clock; expiry refuses to run with such a difference.");
        return fmt::format("The store's clock is {} ms {} this machine's.", std::llabs(skew),
                           skew < 0 ? "behind" : "ahead of");
    }

    ObjectStore &store_;
    const CancelToken &cancel_;
    const std::string prefix_;
    const std::string key_;
    const Bytes body_;
    std::vector<StoreCheck> rows_;
};

} // namespace

std::vector<StoreCheck> check_store(ObjectStore &store, const CancelToken &cancel) {
    return Checks(store, cancel).run();
}

} // namespace pgvigil
