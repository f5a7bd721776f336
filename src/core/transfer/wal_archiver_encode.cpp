#include "transfer/wal_archiver_encode.h"

#include "crypto/sha256_pair.h"
#include "transfer/wal_archiver_scan.h"

#include <algorithm>
#include <future>
#include <memory>
#include <tuple>

namespace pgvigil {

namespace {

constexpr uint64_t kHashBytes = kMiB;           // read and hashed while they are still in the processor's cache
constexpr uint64_t kPairHashBytes = 256 * kKiB; // the same, of each of two

} // namespace

WalEncoder::WalEncoder(const WalEncoding &encoding, WalSource &source)
    : encoding_(encoding), source_(source), frames_(encoding.compression) {}

uint64_t WalEncoder::body_bound(const WalSourceFile &file) const noexcept {
    // Frames hold incompressible bytes as they are.
    const uint64_t plain = std::min(file.size, kWalPartBytes);
    return plain + (plain / kMaxExtentBytes + 1) * kFrameHeaderBytes + kHeaderProbeBytes;
}

ByteView WalEncoder::read_piece(const WalSourceFile &file, uint64_t offset, uint64_t length,
                                const CancelToken &cancel) {
    plain_.resize(length);
    for (uint64_t done = 0; done < length; done += kHashBytes) {
        const std::span<std::byte> piece(plain_.data() + done, std::min(kHashBytes, length - done));
        source_.read(file, offset + done, piece, cancel);
        if (offset + done == 0 && file.has_pages())
            source_.check_header(file, piece);
        whole_digest_.update(piece);
    }
    return plain_;
}

WalObject WalEncoder::object_of(const WalSourceFile &file, const Sha256Digest &digest) const {
    WalObject object;
    object.name = file.name;
    object.parsed = file.parsed;
    object.key = file.parsed.kind == WalFileKind::kPartial ? encoding_.layout.partial_file(file.name, to_hex(digest))
                                                           : encoding_.layout.wal_file(file.name);
    object.plain_length = file.size;
    object.digest = digest;
    return object;
}

void WalEncoder::finish_body(WalObject &object) const {
    if (encoding_.hash_body)
        object.body_sha256 = sha256(object.body);
}

WalObject WalEncoder::encode(const WalSourceFile &file, Bytes body, const CancelToken &cancel, ThreadPool *helper) {
    if (helper != nullptr)
        return encode_with_helper(file, std::move(body), cancel, *helper);
    whole_digest_ = Sha256();
    const ByteView plain = read_piece(file, 0, file.size, cancel);
    return encode_plain(file, plain, whole_digest_.finish(), std::move(body));
}

WalObject WalEncoder::encode_with_helper(const WalSourceFile &file, Bytes body, const CancelToken &cancel,
                                         ThreadPool &helper) {
    plain_.resize(file.size);
    source_.read(file, 0, plain_, cancel);
    if (file.has_pages())
        source_.check_header(file, plain_);
    const auto hashing = std::make_shared<std::packaged_task<Sha256Digest()>>([this] { return sha256(plain_); });
    // Its bytes must stay until it is done, whatever happens here.
    struct Waited {
        std::future<Sha256Digest> digest;
        ~Waited() {
            if (digest.valid())
                digest.wait();
        }
    } waited{hashing->get_future()};
    helper.submit([hashing] { (*hashing)(); });

    WalObjectInput input = input_of(file, plain_);
    body = encode_wal_object(input, frames_, std::move(body));
    input.digest = waited.digest.get();
    set_wal_object_digest(body, input);
    WalObject object = object_of(file, input.digest);
    object.body = std::move(body);
    finish_body(object);
    return object;
}

void WalEncoder::read_two(const WalSourceFile &first, const WalSourceFile &second, const CancelToken &cancel) {
    const std::array<const WalSourceFile *, 2> files = {&first, &second};
    Sha256Pair digest;
    for (uint64_t done = 0; done < first.size; done += kPairHashBytes) {
        const uint64_t length = std::min(kPairHashBytes, first.size - done);
        std::array<std::span<std::byte>, 2> pieces;
        for (size_t i = 0; i < files.size(); ++i) {
            two_plains_[i].resize(files[i]->size);
            pieces[i] = std::span(two_plains_[i]).subspan(done, length);
            source_.read(*files[i], done, pieces[i], cancel);
            if (done == 0)
                source_.check_header(*files[i], pieces[i]);
        }
        digest.update(pieces[0], pieces[1]);
    }
    std::tie(two_digests_[0], two_digests_[1]) = digest.finish();
}

WalObject WalEncoder::encode_read(int which, const WalSourceFile &file, Bytes body) {
    const auto index = static_cast<size_t>(which);
    return encode_plain(file, two_plains_[index], two_digests_[index], std::move(body));
}

WalObjectInput WalEncoder::input_of(const WalSourceFile &file, ByteView plain) const {
    WalObjectInput input;
    input.plain = plain;
    input.whole_plain_length = file.size;
    input.epoch = encoding_.epoch;
    input.attempt = random_uuid();
    if (file.has_pages()) {
        PiecewiseScan scan;
        scan.add(plain, segment_start(segment_number(file.parsed, encoding_.segment_size), encoding_.segment_size));
        WalFacts facts;
        facts.scan = scan.finish();
        input.extension = encode_wal_facts(facts);
    }
    return input;
}

WalObject WalEncoder::encode_plain(const WalSourceFile &file, ByteView plain, const Sha256Digest &digest, Bytes body) {
    WalObject object = object_of(file, digest);
    WalObjectInput input = input_of(file, plain);
    input.digest = digest;
    object.body = encode_wal_object(input, frames_, std::move(body));
    finish_body(object);
    return object;
}

WalObject WalEncoder::encode_large(const WalSourceFile &file, const std::function<Bytes()> &take_body,
                                   const std::function<void(WalObject part)> &part, const CancelToken &cancel) {
    whole_digest_ = Sha256();
    const Uuid attempt = random_uuid();
    const Lsn start = segment_start(segment_number(file.parsed, encoding_.segment_size), encoding_.segment_size);
    PiecewiseScan scan;
    WalFacts facts;
    for (uint64_t offset = 0;; offset += kWalPartBytes) {
        const bool last = offset + kWalPartBytes >= file.size;
        Bytes body = take_body();
        const ByteView plain = read_piece(file, offset, std::min(kWalPartBytes, file.size - offset), cancel);
        scan.add(plain, Lsn{start.value + offset});
        WalObjectInput input;
        input.plain = plain;
        input.epoch = encoding_.epoch;
        input.attempt = attempt;
        if (last) {
            WalObject object = object_of(file, whole_digest_.finish());
            facts.scan = scan.finish();
            input.whole_plain_length = file.size;
            input.digest = object.digest;
            input.extension = encode_wal_facts(facts);
            object.body = encode_wal_object(input, frames_, std::move(body));
            finish_body(object);
            return object;
        }
        WalObject object = object_of(file, sha256(plain));
        object.key =
            encoding_.layout.wal_part(file.name, static_cast<unsigned>(offset / kWalPartBytes), to_string(attempt));
        object.plain_length = plain.size();
        input.kind = ObjectKind::kWalPart;
        input.whole_plain_length = plain.size();
        input.digest = object.digest;
        object.body = encode_wal_object(input, frames_, std::move(body));
        finish_body(object);
        facts.parts.push_back({object.key, object.plain_length, object.digest});
        part(std::move(object));
    }
}

WalObject WalEncoder::describe(const WalSourceFile &file, const CancelToken &cancel) {
    whole_digest_ = Sha256();
    for (uint64_t offset = 0; offset < file.size; offset += kHashBytes) {
        plain_.resize(std::min(kHashBytes, file.size - offset));
        source_.read(file, offset, plain_, cancel);
        if (offset == 0 && file.has_pages())
            source_.check_header(file, plain_);
        whole_digest_.update(plain_);
    }
    return object_of(file, whole_digest_.finish());
}

} // namespace pgvigil
