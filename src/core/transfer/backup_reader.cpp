#include "transfer/backup_reader.h"

#include "base/error.h"
#include "codec/frame.h"
#include "pgdata/page.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr size_t kReportedBlocks = 5;

} // namespace

bool all_zeroes(ByteView bytes) noexcept {
    // Compared with itself, shifted by one: as fast as memcmp, and it ends at the first byte that is none.
    return bytes.empty() ||
           (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

BackupReader::BackupReader(const BackupSource &source)
    : source_(source), buffer_(kMaxExtentBytes), page_(source.block_size) {}

// Returns the bytes that were there.
size_t BackupReader::fill(const BackupInput &input, uint64_t offset, std::span<std::byte> out) const {
    size_t done = 0;
    while (done < out.size()) {
        const ssize_t count =
            pread(input.handle.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            throw system_error(fmt::format("could not read \"{}\"", input.path), errno);
        if (count == 0)
            break;
        done += static_cast<size_t>(count);
    }
    return done;
}

ByteView BackupReader::read(BackupInput &input, uint64_t offset, size_t length, size_t &read_bytes) {
    const std::span<std::byte> out(buffer_.data(), length);
    read_bytes = fill(input, offset, out);
    std::fill(out.begin() + static_cast<ptrdiff_t>(read_bytes), out.end(), std::byte{0});
    if (input.first_block)
        check_pages(input, offset, out.first(read_bytes));
    return out;
}

void BackupReader::check_pages(BackupInput &input, uint64_t offset, std::span<std::byte> bytes) {
    const size_t block_size = source_.block_size;
    for (size_t at = 0; at + block_size <= bytes.size(); at += block_size) {
        const uint64_t block_in_file = (offset + at) / block_size;
        const auto block = static_cast<uint32_t>(*input.first_block + block_in_file);
        const std::span<std::byte> page = bytes.subspan(at, block_size);
        if (page_passes(page, block, source_.start_lsn))
            continue;
        // The server may have been writing it; a second look finds the page whole. One that is gone by then was
        // truncated, which replay does as well.
        if (fill(input, offset + at, page_) < block_size)
            continue;
        std::copy(page_.begin(), page_.end(), page.begin());
        if (page_passes(page, block, source_.start_lsn))
            continue;
        const std::lock_guard lock(input.mutex);
        ++input.damage.bad_pages;
        auto &blocks = input.damage.first_blocks;
        blocks.insert(std::upper_bound(blocks.begin(), blocks.end(), block_in_file), block_in_file);
        if (blocks.size() > kReportedBlocks)
            blocks.pop_back();
    }
}

} // namespace pgvigil
