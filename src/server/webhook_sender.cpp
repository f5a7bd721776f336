#include "server/pg.h"

#include "server/webhook_sender.h"

#include "server/boundary.h"
#include "server/repositories.h"
#include "server/schedule_settings.h"
#include "server/shared_state.h"

#include "base/backoff.h"

namespace pgvigil {

namespace {

// Beyond this the oldest is dropped: a dead endpoint must not fill the memory.
constexpr size_t kMaxWaiting = 32;
constexpr unsigned kTries = 3;

void deliver(const std::string &path, const std::vector<std::string> &forbidden, const std::string &body,
             const CancelToken &cancel) {
    Backoff backoff(std::chrono::seconds(2), std::chrono::seconds(10));
    for (unsigned left = kTries; left-- > 0;) {
        try {
            send_webhook(read_webhook_file(path, forbidden), body, cancel);
            return;
        } catch (const Error &error) {
            if (!error.is_retryable() || left == 0)
                throw;
        }
        (void)cancel.wait_for(backoff.next());
        cancel.check();
    }
}

} // namespace

WebhookSender::~WebhookSender() {
    if (task_)
        task_->cancel();
}

void WebhookSender::tell(const WebhookNotice &notice) {
    if (webhook_url_file()[0] == '\0')
        return;
    if (waiting_.size() >= kMaxWaiting)
        waiting_.pop_front();
    waiting_.push_back(webhook_body(notice));
}

int WebhookSender::event_fd() const noexcept {
    return task_ ? task_->event_fd() : -1;
}

void WebhookSender::start(const ServerFacts &facts) {
    delivery_ = std::make_shared<Delivery>();
    const std::string path = webhook_url_file();
    task_ =
        std::make_unique<MainTask>([delivery = delivery_, path, forbidden = server_directories(facts.data_directory),
                                    body = std::move(waiting_.front())](const CancelToken &cancel) {
            try {
                deliver(path, forbidden, body, cancel);
            } catch (const Error &error) {
                delivery->problem = error;
            }
        });
    waiting_.pop_front();
}

void WebhookSender::pump(const ServerFacts &facts) {
    if (task_ && task_->done()) {
        task_->finish();
        task_.reset();
        publish(delivery_->problem);
    }
    if (!task_ && !waiting_.empty() && webhook_url_file()[0] != '\0')
        start(facts);
}

void WebhookSender::publish(const std::optional<Error> &problem) {
    const std::string text =
        problem ? problem->message() + (problem->detail().empty() ? "" : ": " + problem->detail()) : std::string();
    const char *const message = text.c_str();
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        SharedScheduler &scheduler = shared.scheduler;
        set_text(scheduler.webhook_error, message);
        if (*message == '\0') {
            scheduler.webhook_ok = GetCurrentTimestamp();
            scheduler.webhook_failing_since = 0;
        } else if (scheduler.webhook_failing_since == 0) {
            scheduler.webhook_failing_since = GetCurrentTimestamp();
        }
    });
    if (problem && text != last_complaint_) {
        ErrorReport report;
        describe_error(*problem, report);
        warn(report, "pgvigil could not tell the webhook how a job ended");
    }
    last_complaint_ = text;
}

} // namespace pgvigil
