// Telling somebody how a job ended: one JSON POST to a URL that stands in a file of its own, because such URLs are
// secrets (rules F5). Any answer of 2xx is fine, so chat services (which show "text") and heartbeat monitors both do.
// The URL never appears in a message: the host's name does.
// Threading: free functions, any thread. Errors: as below; nothing is retried here.
#pragma once

#include "base/cancel.h"
#include "plan/job_log.h"

#include <string>
#include <vector>

namespace pgvigil {

struct WebhookTarget {
    std::string url;
    std::string host; // for messages
};

struct WebhookNotice {
    JobRun run;
    std::string cluster; // cluster_name; may be empty
    uint64_t system_identifier = 0;
    std::string host;
    uint64_t bytes_read = 0; // by a backup
    unsigned failures = 0;   // runs of this kind that failed in a row
    std::string product_version;
};

// The file's first line is the URL; lines that begin with # are comments, and a line "insecure=on" allows http to other
// machines. Throws kInvalidArgument, kAccessDenied (others may read the file, or it stands below one of
// `forbidden_directories`), kNotFound.
[[nodiscard]] WebhookTarget read_webhook_file(const std::string &path,
                                              const std::vector<std::string> &forbidden_directories);
[[nodiscard]] WebhookTarget parse_webhook_file(std::string_view text, const std::string &path);

[[nodiscard]] std::string webhook_body(const WebhookNotice &notice);

// One POST, at most 20 seconds; throws kUnavailable, kTimeout or kAccessDenied for anything but an answer of 2xx.
void send_webhook(const WebhookTarget &target, const std::string &body, const CancelToken &cancel);

} // namespace pgvigil
