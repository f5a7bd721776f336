#include "server/pg.h"

#include "server/backup_mode.h"

#include "server/boundary.h"

#include "base/error.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace pgvigil {

BackupMode::BackupMode(const std::string &label, bool fast) {
    const char *text = label.c_str();
    pg_section([this, text, fast]() noexcept {
        register_persistent_abort_backup_handler();
        context_ = AllocSetContextCreate(TopMemoryContext, "pgvigil backup", ALLOCSET_DEFAULT_SIZES);
        const MemoryContext before = MemoryContextSwitchTo(context_);
        compat::backup_start(&run_, text, fast);
        MemoryContextSwitchTo(before);
        running_ = true;
    });
    for (int i = 0; i < list_length(run_.tablespaces); ++i) {
        const auto *space = static_cast<const compat::TablespaceInfo *>(list_nth(run_.tablespaces, i));
        const bool in_place = space->path == nullptr || space->path[0] != '/';
        tablespaces_.push_back({compat::tablespace_oid(space), in_place ? std::string() : std::string(space->path)});
    }
}

BackupMode::~BackupMode() {
    const bool running = running_;
    const MemoryContext context = context_;
    if (boundary_detail::raises(
            [](void *argument) noexcept {
                if (*static_cast<const bool *>(argument))
                    do_pg_abort_backup(0, BoolGetDatum(false));
            },
            const_cast<bool *>(&running))) {
        ErrorReport report;
        take_pg_error(report);
        warn(report, "could not leave backup mode");
    }
    if (context != nullptr)
        MemoryContextDelete(context);
}

void BackupMode::stop() {
    char *label = nullptr;
    pg_section([this, &label]() noexcept {
        const MemoryContext before = MemoryContextSwitchTo(context_);
        label = compat::backup_stop(&run_);
        MemoryContextSwitchTo(before);
    });
    running_ = false;
    label_ = label;
}

std::string BackupMode::tablespace_map() const {
    return {run_.tablespace_map->data, static_cast<size_t>(run_.tablespace_map->len)};
}

namespace {

ControlFileData parse_control_file(const Bytes &control_file) {
    ControlFileData control;
    memcpy(&control, control_file.data(), sizeof control);
    return control;
}

// The end of WAL, where this server writes it; otherwise what `position` is.
void take_end_of_wal(WalPosition &position) {
    pg_section([&position]() noexcept {
        if (RecoveryInProgress())
            return;
        position.lsn = Lsn{GetXLogInsertRecPtr()};
        position.timeline = GetWALInsertionTimeLine();
    });
}

} // namespace

WalPosition earliest_backup_start(const Bytes &control_file) {
    // A standby's backup begins at its newest restart point; a primary makes a checkpoint that begins later.
    const ControlFileData control = parse_control_file(control_file);
    WalPosition position{control.checkPointCopy.ThisTimeLineID, Lsn{control.checkPointCopy.redo}};
    take_end_of_wal(position);
    return position;
}

WalPosition earliest_backup_stop(const Bytes &control_file) {
    const ControlFileData control = parse_control_file(control_file);
    WalPosition position{control.minRecoveryPointTLI, Lsn{control.minRecoveryPoint}};
    take_end_of_wal(position);
    return position;
}

Bytes read_control_file() {
    Bytes content(PG_CONTROL_FILE_SIZE);
    std::byte *const target = content.data();
    ssize_t got = -1;
    int error_number = 0;
    pg_section([&]() noexcept {
        // The server writes the file in place below this lock.
        LWLockAcquire(ControlFileLock, LW_SHARED);
        const int fd = BasicOpenFile(XLOG_CONTROL_FILE, O_RDONLY | PG_BINARY);
        if (fd >= 0) {
            got = ::pread(fd, target, PG_CONTROL_FILE_SIZE, 0);
            error_number = errno;
            ::close(fd);
        } else
            error_number = errno;
        LWLockRelease(ControlFileLock);
    });
    if (got < 0)
        throw system_error("could not read file \"" XLOG_CONTROL_FILE "\"", error_number);
    if (got != PG_CONTROL_FILE_SIZE)
        throw Error(ErrorCode::kCorrupt, "file \"" XLOG_CONTROL_FILE "\" has " + std::to_string(got) +
                                             " bytes instead of " + std::to_string(PG_CONTROL_FILE_SIZE));
    ControlFileData control;
    memcpy(&control, target, sizeof control);
    pg_crc32c crc;
    INIT_CRC32C(crc);
    COMP_CRC32C(crc, &control, offsetof(ControlFileData, crc));
    FIN_CRC32C(crc);
    if (!EQ_CRC32C(crc, control.crc))
        throw Error(ErrorCode::kCorrupt, "file \"" XLOG_CONTROL_FILE "\" does not match its checksum");
    return content;
}

uint32_t checksum_version_of(const Bytes &control_file) {
    return parse_control_file(control_file).data_checksum_version;
}

} // namespace pgvigil
