#include "pgdata/wal_records.h"

#include "base/error.h"
#include "base/time.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr uint8_t kXlogManager = 0;
constexpr uint8_t kTransactionManager = 1;

constexpr uint8_t kXlogOperations = 0xf0;
constexpr uint8_t kSwitch = 0x40;
constexpr uint8_t kRestorePoint = 0x70;
constexpr size_t kRestorePointNameBytes = 64;

constexpr uint8_t kTransactionOperations = 0x70;
constexpr uint8_t kCommit = 0x00;
constexpr uint8_t kAbort = 0x20;
constexpr uint8_t kCommitPrepared = 0x30;
constexpr uint8_t kAbortPrepared = 0x40;
constexpr uint8_t kHasInfo = 0x80;

constexpr uint8_t kBlockIdShortData = 255;
constexpr uint8_t kBlockIdLongData = 254;
constexpr uint8_t kBlockIdOrigin = 253;
constexpr uint8_t kBlockIdTopXid = 252;

constexpr uint32_t kHasDatabase = 1U << 0;
constexpr uint32_t kHasSubtransactions = 1U << 1;
constexpr uint32_t kHasRelations = 1U << 2;
constexpr uint32_t kHasInvalidations = 1U << 3;
constexpr uint32_t kHasTwoPhase = 1U << 4;
constexpr uint32_t kHasDroppedStats = 1U << 8;

constexpr uint16_t kMagicOf18 = 0xd118;

// From 1970 to far behind any clock that is only set wrong; keeps arithmetic with foreign bytes from overflowing.
std::optional<int64_t> plausible_time(uint64_t timestamptz) noexcept {
    const auto value = static_cast<int64_t>(timestamptz);
    if (value < -int64_t{946684800} * 1000000 || value > int64_t{1} << 60)
        return std::nullopt;
    return unix_us_from_postgres(value);
}

// The record's main data: only records without block references are looked into, so it follows its own header.
ByteView main_data(ByteView content) {
    ByteReader in(content.subspan(kWalRecordHeaderBytes));
    for (;;) {
        const uint8_t id = in.u8();
        if (id == kBlockIdOrigin) {
            in.bytes(2);
        } else if (id == kBlockIdTopXid) {
            in.bytes(4);
        } else if (id == kBlockIdShortData || id == kBlockIdLongData) {
            const size_t length = id == kBlockIdShortData ? in.u8() : in.u32();
            // A record cut off after its first bytes still says what stands in them.
            return in.bytes(std::min(length, in.remaining()));
        } else {
            return {};
        }
    }
}

void skip_array(ByteReader &in, size_t item_bytes) {
    const uint64_t count = in.u32();
    in.bytes(count * item_bytes);
}

// The transaction that a COMMIT PREPARED or ROLLBACK PREPARED ended.
uint32_t prepared_xid(ByteReader &in, uint16_t magic) {
    const uint32_t info = in.u32();
    if ((info & kHasDatabase) != 0)
        in.bytes(8);
    if ((info & kHasSubtransactions) != 0)
        skip_array(in, 4);
    if ((info & kHasRelations) != 0)
        skip_array(in, 12);
    if ((info & kHasDroppedStats) != 0)
        skip_array(in, magic >= kMagicOf18 ? 16 : 12);
    if ((info & kHasInvalidations) != 0)
        skip_array(in, 16);
    if ((info & kHasTwoPhase) == 0)
        throw Error(ErrorCode::kCorrupt, "a prepared transaction's end does not name it");
    return in.u32();
}

} // namespace

bool is_interesting(ByteView header) noexcept {
    const auto info = std::to_integer<uint8_t>(header[16]);
    const auto manager = std::to_integer<uint8_t>(header[17]);
    if (manager == kXlogManager)
        return (info & kXlogOperations) == kRestorePoint;
    const uint8_t operation = info & kTransactionOperations;
    return manager == kTransactionManager &&
           (operation == kCommit || operation == kAbort || operation == kCommitPrepared || operation == kAbortPrepared);
}

bool is_switch(const WalRecord &record) noexcept {
    return record.resource_manager == kXlogManager && (record.info & kXlogOperations) == kSwitch;
}

std::optional<TransactionEnd> transaction_end(const WalRecord &record, uint16_t magic) noexcept {
    if (record.resource_manager != kTransactionManager || !is_interesting(record.content))
        return std::nullopt;
    const uint8_t operation = record.info & kTransactionOperations;
    try {
        ByteReader in(main_data(record.content));
        const auto time = plausible_time(in.u64());
        if (!time)
            return std::nullopt;
        TransactionEnd end;
        end.xid = record.xid;
        end.committed = operation == kCommit || operation == kCommitPrepared;
        end.time_us = *time;
        end.end = record.end;
        if (operation == kCommitPrepared || operation == kAbortPrepared) {
            if ((record.info & kHasInfo) == 0)
                return std::nullopt;
            end.xid = prepared_xid(in, magic);
        }
        return end;
    } catch (const Error &) {
        return std::nullopt;
    }
}

std::optional<RestorePoint> restore_point(const WalRecord &record) {
    if (record.resource_manager != kXlogManager || (record.info & kXlogOperations) != kRestorePoint)
        return std::nullopt;
    try {
        ByteReader in(main_data(record.content));
        const auto time = plausible_time(in.u64());
        const std::string_view name = as_text(in.bytes(kRestorePointNameBytes));
        if (!time)
            return std::nullopt;
        return RestorePoint{std::string(name.substr(0, name.find('\0'))), *time, record.end};
    } catch (const Error &) {
        return std::nullopt;
    }
}

} // namespace pgvigil
