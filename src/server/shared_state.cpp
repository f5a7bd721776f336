#include "server/pg.h"

#include "server/shared_state.h"

#include <new>

namespace pgvigil {

namespace {

constexpr const char *kName = "pgvigil";

SharedState *shared = nullptr;
shmem_request_hook_type previous_request_hook = nullptr;
shmem_startup_hook_type previous_startup_hook = nullptr;

void request_memory() {
    if (previous_request_hook != nullptr)
        previous_request_hook();
    RequestAddinShmemSpace(MAXALIGN(sizeof(SharedState)));
    RequestNamedLWLockTranche(kName, 1);
}

void create_state() {
    if (previous_startup_hook != nullptr)
        previous_startup_hook();
    bool found = false;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    void *memory = ShmemInitStruct(kName, sizeof(SharedState), &found);
    if (!found) {
        memset(memory, 0, sizeof(SharedState));
        shared = new (memory) SharedState{};
        shared->lock = &GetNamedLWLockTranche(kName)->lock;
        ConditionVariableInit(&shared->backup_changed);
        ConditionVariableInit(&shared->archiver_changed);
        shared->archiver.reset_time = GetCurrentTimestamp();
        shared->next_request = 1;
    }
    shared = static_cast<SharedState *>(memory);
    LWLockRelease(AddinShmemInitLock);
}

} // namespace

const char *role_name(WriterRole role) noexcept {
    switch (role) {
    case WriterRole::kUnknown:
        return "unknown";
    case WriterRole::kOff:
        return "off";
    case WriterRole::kWriter:
        return "writer";
    case WriterRole::kStandby:
        return "standby";
    case WriterRole::kInRecovery:
        return "recovery";
    case WriterRole::kDetached:
        return "detached";
    case WriterRole::kStale:
        return "stale";
    case WriterRole::kFenced:
        return "fenced";
    case WriterRole::kForeign:
        return "foreign";
    case WriterRole::kUnreachable:
        return "unreachable";
    }
    return "unknown";
}

WriterRole known_role(const SharedWriter &writer) noexcept {
    const bool is_answered = writer.role != WriterRole::kUnreachable && writer.role != WriterRole::kUnknown;
    return writer.fenced && !is_answered ? WriterRole::kFenced : writer.role;
}

void install_shared_memory_hooks() {
    previous_request_hook = shmem_request_hook;
    shmem_request_hook = request_memory;
    previous_startup_hook = shmem_startup_hook;
    shmem_startup_hook = create_state;
}

SharedState *shared_state() noexcept {
    return shared;
}

SharedState &require_shared_state() {
    if (shared == nullptr)
        throw Error(ErrorCode::kInvalidArgument, "pgvigil is not loaded at server start")
            .hint("Add pgvigil to shared_preload_libraries and restart the server.");
    return *shared;
}

} // namespace pgvigil
