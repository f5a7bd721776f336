// The one error type of the core. Everything that goes wrong unexpectedly is thrown as an Error; outcomes a caller
// plans for (an absent object, a name already taken) are values, not exceptions.
//
// Messages follow PostgreSQL's style: the message is lower case without a full stop, detail and hint are sentences.
// Threading: an Error is an ordinary value; copying it is safe, sharing one between threads is not.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace pgvigil {

enum class ErrorCode {
    kInternal,        // a broken invariant of our own
    kInvalidArgument, // what a user typed: a setting, a URL, a time, an option
    kNotFound,        // something named by the user or required by a document is not there
    kConflict,        // a name is taken by other content
    kAccessDenied,    // the store or the operating system refused
    kUnavailable,     // the store cannot be reached or answers with 5xx after all retries
    kTimeout,
    kCancelled,         // a cancel token fired
    kCorrupt,           // bytes do not match their checksum, length or magic
    kUnsupported,       // a newer format, an unknown required feature, a store that lacks what is needed
    kForeign,           // belongs to another cluster or another repository
    kNotWriter,         // this server may not write: detached, stale or fenced (rules C)
    kUnreachableTarget, // a recovery target outside of what can be restored
    kBusy,              // one at a time
    kIo,                // a local file operation failed
    kDiskFull,
    kOutOfMemory,
    kRefused, // what was asked for may be a mistake: a person has to confirm it
};

class Error : public std::exception {
  public:
    Error(ErrorCode code, std::string message);

    // All three return *this so that a throw reads as one sentence.
    Error &&detail(std::string text) &&;
    Error &&hint(std::string text) &&;
    Error &&retryable(bool value = true) &&;

    [[nodiscard]] ErrorCode code() const noexcept { return code_; }
    // True when the same call may succeed later without anybody changing anything.
    [[nodiscard]] bool is_retryable() const noexcept { return retryable_; }
    [[nodiscard]] const std::string &message() const noexcept { return message_; }
    [[nodiscard]] const std::string &detail() const noexcept { return detail_; }
    [[nodiscard]] const std::string &hint() const noexcept { return hint_; }
    [[nodiscard]] const char *what() const noexcept override { return message_.c_str(); }

    // The same error with "context: " put before its message.
    [[nodiscard]] Error with_context(std::string_view context) const;

  private:
    ErrorCode code_;
    bool retryable_ = false;
    std::string message_;
    std::string detail_;
    std::string hint_;
};

// How an error code is shown outside: five characters of SQLSTATE, the program's exit code, a word for JSON.
struct ErrorClass {
    const char *sqlstate;
    int exit_code;
    const char *word;
};
[[nodiscard]] const ErrorClass &error_class(ErrorCode code) noexcept;

// An Error for a failed system call: `message` is followed by ": " and the text of `error_number`. ENOSPC and EDQUOT
// become kDiskFull, EACCES, EPERM and EROFS kAccessDenied, everything else kIo.
[[nodiscard]] Error system_error(std::string message, int error_number);

} // namespace pgvigil
