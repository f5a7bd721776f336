#include "transfer/backup_renewal.h"

#include "base/error.h"
#include "base/signal_mask.h"
#include "base/time.h"
#include "repo/attempt_renewal.h"
#include "repo/envelope.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

namespace pgvigil {

namespace {

// What a renewal does not list has to be read whole by whoever continues: up to 512 MiB of it is bearable.
constexpr size_t kPacksBeforeRenewal = 16;
constexpr std::chrono::milliseconds kLook{1000};

} // namespace

AttemptRenewal::AttemptRenewal(BackupUploader &uploader, std::string attempt, uint64_t epoch, const Uuid &writer,
                               std::chrono::milliseconds period, Packs packs, LogSink &log)
    : uploader_(uploader), attempt_(std::move(attempt)), epoch_(epoch), writer_(writer), period_(period),
      packs_(std::move(packs)), log_(log) {
    const SignalsBlocked blocked;
    thread_ = std::thread([this] { run(); });
}

AttemptRenewal::~AttemptRenewal() {
    stop_.cancel();
    thread_.join();
}

void AttemptRenewal::run() noexcept {
    using Clock = std::chrono::steady_clock;
    Clock::time_point last = Clock::now();
    size_t listed = 0;
    while (stop_.wait_for(std::min(kLook, period_))) {
        try {
            std::vector<StoredObject> packs = packs_();
            if (Clock::now() - last < period_ && packs.size() < listed + kPacksBeforeRenewal)
                continue;
            last = Clock::now();
            packs.erase(packs.begin(), packs.begin() + static_cast<ptrdiff_t>(listed));
            const size_t more = packs.size();
            renew(std::move(packs));
            listed += more;
        } catch (const std::exception &) {
            // Nothing but memory can be short here; the next look tries again.
            continue;
        }
    }
}

void AttemptRenewal::renew(std::vector<StoredObject> packs) {
    RenewalDocument document;
    document.attempt = attempt_;
    document.number = number_++;
    document.time_ms = unix_time_ms();
    document.packs = std::move(packs);
    const Bytes body = encode_document(encode(document), epoch_, writer_);
    for (const std::shared_ptr<Repository> &repository : uploader_.live()) {
        try {
            PutRequest request;
            const std::string key = repository->layout().renewal(attempt_, document.number);
            request.key = key;
            request.body = body;
            (void)repository->store().put_new(request, stop_);
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                return;
            if (!std::exchange(warned_, true))
                log_.emit(LogLevel::kWarning,
                          fmt::format("could not renew backup {} in \"{}\": {}", attempt_, repository->url(),
                                      error.message()),
                          error.detail());
        }
    }
}

} // namespace pgvigil
