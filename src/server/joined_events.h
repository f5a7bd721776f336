// Two descriptors as one, for a wait that takes one beside the latch. Threading: one owner.
#pragma once

namespace pgvigil {

class JoinedEvents {
  public:
    JoinedEvents() = default;
    ~JoinedEvents();
    JoinedEvents(const JoinedEvents &) = delete;
    JoinedEvents &operator=(const JoinedEvents &) = delete;

    // A descriptor that is readable while one of them is; -1 stands for none. It is good until the next call. The
    // descriptors may have been closed and opened anew since the last call.
    [[nodiscard]] int join(int first, int second);

  private:
    void close() noexcept;
    int joined_ = -1;
};

} // namespace pgvigil
