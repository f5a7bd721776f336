// Sends what the webhook has to hear, one notice after another, in a thread. What goes wrong is logged when it begins,
// shown in shared memory, and harms nothing else. Threading: the scheduler's main thread.
#pragma once

#include "server/server_facts.h"
#include "server/waiting.h"

#include "transfer/webhook.h"

#include <deque>
#include <memory>
#include <optional>
#include <string>

namespace pgvigil {

class WebhookSender {
  public:
    ~WebhookSender();

    // Does nothing while pgvigil.webhook_url_file is empty.
    void tell(const WebhookNotice &notice);
    // Takes the outcome of the notice on its way and starts the next one.
    void pump(const ServerFacts &facts);
    [[nodiscard]] int event_fd() const noexcept;

  private:
    struct Delivery {
        std::optional<Error> problem;
    };
    void start(const ServerFacts &facts);
    void publish(const std::optional<Error> &problem);

    std::deque<std::string> waiting_; // bodies
    std::shared_ptr<Delivery> delivery_;
    std::unique_ptr<MainTask> task_;
    std::string last_complaint_;
};

} // namespace pgvigil
