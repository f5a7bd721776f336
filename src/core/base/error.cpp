#include "base/error.h"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace pgvigil {

Error::Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

Error &&Error::detail(std::string text) && {
    detail_ = std::move(text);
    return std::move(*this);
}

Error &&Error::hint(std::string text) && {
    hint_ = std::move(text);
    return std::move(*this);
}

Error &&Error::retryable(bool value) && {
    retryable_ = value;
    return std::move(*this);
}

Error Error::with_context(std::string_view context) const {
    Error copy = *this;
    copy.message_ = std::string(context) + ": " + message_;
    return copy;
}

namespace {

constexpr std::array<ErrorClass, 18> kErrorClasses = {{
    {"XX000", 70, "internal"},
    {"22023", 2, "invalid_argument"},
    {"42704", 3, "not_found"},
    {"42710", 4, "conflict"},
    {"42501", 5, "access_denied"},
    {"08006", 6, "unavailable"},
    {"57014", 7, "timeout"},
    {"57014", 8, "cancelled"},
    {"XX001", 9, "corrupt"},
    {"0A000", 10, "unsupported"},
    {"55000", 11, "foreign"},
    {"55000", 12, "not_writer"},
    {"22023", 13, "unreachable_target"},
    {"55006", 14, "busy"},
    {"58030", 15, "io"},
    {"53100", 16, "disk_full"},
    {"53200", 17, "out_of_memory"},
    {"55000", 18, "refused"},
}};
static_assert(kErrorClasses.size() == static_cast<size_t>(ErrorCode::kRefused) + 1);

} // namespace

const ErrorClass &error_class(ErrorCode code) noexcept {
    return kErrorClasses[static_cast<size_t>(code)];
}

Error system_error(std::string message, int error_number) {
    ErrorCode code = ErrorCode::kIo;
    if (error_number == ENOSPC || error_number == EDQUOT)
        code = ErrorCode::kDiskFull;
    else if (error_number == EACCES || error_number == EPERM || error_number == EROFS)
        code = ErrorCode::kAccessDenied;
    message += ": ";
    message += std::generic_category().message(error_number);
    return {code, std::move(message)};
}

} // namespace pgvigil
