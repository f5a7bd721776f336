#include "repo/local_wal.h"

#include "base/wal_name.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace pgvigil {

LocalWal::LocalWal(const ClaimInput &input) : input_(input), end_(segment_of(input.wal_end, input.segment_size)) {
    first_ = end_;
    while (first_ > 0 && is_there(first_ - 1))
        --first_;
}

const std::optional<Sha256Digest> &LocalWal::digest(uint64_t segment) {
    const auto [at, is_new] = digests_.try_emplace(segment);
    if (is_new)
        at->second = is_there(segment) ? digest(segment, 0, input_.segment_size) : std::nullopt;
    return at->second;
}

std::optional<Sha256Digest> LocalWal::digest(uint64_t segment, uint64_t from, uint64_t to) const {
    std::ifstream file(path(segment), std::ios::binary);
    file.seekg(static_cast<std::streamoff>(from));
    Bytes buffer(kMiB);
    Sha256 sha;
    while (from < to && file) {
        const uint64_t wanted = std::min<uint64_t>(buffer.size(), to - from);
        file.read(reinterpret_cast<char *>(buffer.data()), static_cast<std::streamsize>(wanted));
        const auto count = static_cast<size_t>(file.gcount());
        sha.update(ByteView(buffer).first(count));
        from += count;
    }
    if (from < to)
        return std::nullopt;
    return sha.finish();
}

uint64_t LocalWal::length(uint64_t segment) const noexcept {
    return segment < end_ ? input_.segment_size : input_.wal_end.value - segment_start(end_, input_.segment_size).value;
}

std::string LocalWal::path(uint64_t segment) const {
    return input_.data_directory + "/pg_wal/" + segment_name(input_.timeline, segment, input_.segment_size);
}

bool LocalWal::is_there(uint64_t segment) const {
    std::error_code failed;
    return std::filesystem::file_size(path(segment), failed) == input_.segment_size && !failed;
}

} // namespace pgvigil
