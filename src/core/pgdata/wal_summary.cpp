#include "pgdata/wal_summary.h"

#include "base/crc32c.h"
#include "base/error.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace pgvigil {

namespace {

constexpr uint32_t kMagic = 0x652b137b;
constexpr size_t kEntryBytes = 24;
constexpr uint16_t kBitmapUsage = 4096;
// Block numbers have 32 bits.
constexpr uint32_t kMaxChunks = 1U << 16;
constexpr uint32_t kForks = 4;

Error damaged(std::string_view name, const char *why) {
    return Error(ErrorCode::kCorrupt, "WAL summary \"" + std::string(name) + "\" is damaged").detail(why);
}

// The file's bytes, with the checksum of what was taken.
class Input {
  public:
    Input(const SummarySource &source, std::string_view name) : source_(source), name_(name), buffer_(64 * kKiB) {}

    void take(std::span<std::byte> out) {
        crc_before_ = crc_;
        size_t done = 0;
        while (done < out.size()) {
            if (at_ == end_) {
                at_ = 0;
                end_ = source_(buffer_);
                if (end_ == 0)
                    throw damaged(name_, "It ends early.");
            }
            const size_t count = std::min(out.size() - done, end_ - at_);
            std::memcpy(out.data() + done, buffer_.data() + at_, count);
            at_ += count;
            done += count;
        }
        crc_ = crc32c(out, crc_);
    }
    uint32_t take_u32() {
        std::array<std::byte, 4> bytes;
        take(bytes);
        return load_le<uint32_t>(bytes.data());
    }
    void take_words(std::vector<uint16_t> &words, size_t count) {
        Bytes bytes(count * sizeof(uint16_t));
        take(bytes);
        words.resize(count);
        for (size_t i = 0; i < count; ++i)
            words[i] = load_le<uint16_t>(bytes.data() + 2 * i);
    }
    [[nodiscard]] bool at_end() { return at_ == end_ && source_(buffer_) == 0; }
    [[nodiscard]] uint32_t crc() const noexcept { return crc_; }
    // Of everything before the last take().
    [[nodiscard]] uint32_t crc_before() const noexcept { return crc_before_; }

  private:
    const SummarySource &source_;
    const std::string_view name_;
    Bytes buffer_;
    size_t at_ = 0;
    size_t end_ = 0;
    uint32_t crc_ = 0;
    uint32_t crc_before_ = 0;
};

void read_chunks(Input &input, const RelationForkId &id, uint32_t count, std::string_view name, BlockChanges &changes) {
    std::vector<uint16_t> usage;
    input.take_words(usage, count);
    std::vector<uint16_t> words;
    for (uint32_t chunk = 0; chunk < count; ++chunk) {
        if (usage[chunk] > kBitmapUsage)
            throw damaged(name, "A chunk is larger than a chunk can be.");
        if (usage[chunk] == 0)
            continue;
        input.take_words(words, usage[chunk]);
        if (usage[chunk] == kBitmapUsage)
            changes.add_bitmap(id, chunk, words);
        else
            changes.add_blocks(id, chunk, words);
    }
}

} // namespace

void read_wal_summary(const SummarySource &source, std::string_view name, BlockChanges &changes) {
    Input input(source, name);
    if (input.take_u32() != kMagic)
        throw damaged(name, "It does not begin as a WAL summary of this machine's byte order does.");
    for (;;) {
        std::array<std::byte, kEntryBytes> entry;
        input.take(entry);
        if (std::all_of(entry.begin(), entry.end(), [](std::byte b) { return b == std::byte{0}; }))
            break;
        const auto field = [&](size_t i) { return load_le<uint32_t>(entry.data() + 4 * i); };
        if (field(3) >= kForks)
            throw damaged(name, "An entry names a fork that does not exist.");
        const uint32_t chunks = field(5);
        if (chunks > kMaxChunks)
            throw damaged(name, "An entry has more chunks than a relation can have.");
        constexpr RelationFork kForkOf[kForks] = {RelationFork::kMain, RelationFork::kFsm, RelationFork::kVm,
                                                  RelationFork::kInit};
        const RelationForkId id{field(0), field(1), field(2), kForkOf[field(3)]};
        changes.add_entry(id, field(4));
        read_chunks(input, id, chunks, name, changes);
    }
    const uint32_t stored = input.take_u32();
    if (stored != input.crc_before())
        throw damaged(name, "It does not match its checksum.");
    if (!input.at_end())
        throw damaged(name, "Bytes follow its checksum.");
}

void read_wal_summary(ByteView file, std::string_view name, BlockChanges &changes) {
    const SummarySource source = [&](std::span<std::byte> out) {
        const size_t count = std::min(out.size(), file.size());
        std::copy_n(file.begin(), count, out.begin());
        file = file.subspan(count);
        return count;
    };
    read_wal_summary(source, name, changes);
}

std::optional<WalSummaryName> parse_wal_summary_name(std::string_view name) noexcept {
    constexpr std::string_view kSuffix = ".summary";
    constexpr size_t kDigits = 40;
    if (name.size() != kDigits + kSuffix.size() || name.substr(kDigits) != kSuffix)
        return std::nullopt;
    std::array<uint32_t, 5> numbers{};
    for (size_t i = 0; i < kDigits; ++i) {
        const char c = name[i];
        const bool decimal = c >= '0' && c <= '9';
        if (!decimal && (c < 'A' || c > 'F'))
            return std::nullopt;
        numbers[i / 8] = numbers[i / 8] * 16 + static_cast<uint32_t>(decimal ? c - '0' : c - 'A' + 10);
    }
    WalSummaryName result;
    result.timeline = numbers[0];
    result.start = Lsn{uint64_t{numbers[1]} << 32 | numbers[2]};
    result.end = Lsn{uint64_t{numbers[3]} << 32 | numbers[4]};
    if (result.timeline == 0 || result.end < result.start)
        return std::nullopt;
    return result;
}

} // namespace pgvigil
