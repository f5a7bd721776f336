// One read-ahead process's claim on its directory: creates it, removes what earlier processes left beside and in it,
// and removes it again at the end.
// Threading: one thread. Errors: kIo and its like when the directory cannot be made.
#pragma once

#include "storage/posix/posix_files.h"

#include <string>

namespace pgvigil {

class AheadLock {
  public:
    explicit AheadLock(std::string directory);
    ~AheadLock();
    AheadLock(const AheadLock &) = delete;
    AheadLock &operator=(const AheadLock &) = delete;

    // False when another process has it.
    [[nodiscard]] bool held() const noexcept { return static_cast<bool>(lock_); }

  private:
    const std::string directory_;
    FileHandle lock_;
};

} // namespace pgvigil
