// One file from its name to its uploads.
#include "base/error.h"
#include "repo/wal_object.h"
#include "transfer/wal_archiver_state.h"

#include <exception>
#include <fmt/format.h>

namespace pgvigil {

namespace {

// What a thread caught, as an Error; called inside of a catch block.
Error current_error(const std::string &name) {
    try {
        throw;
    } catch (const Error &error) {
        return error;
    } catch (const std::bad_alloc &) {
        return Error(ErrorCode::kOutOfMemory, fmt::format("could not archive \"{}\": out of memory", name)).retryable();
    } catch (const std::exception &error) {
        return {ErrorCode::kInternal, fmt::format("could not archive \"{}\": {}", name, error.what())};
    }
}

} // namespace

std::unique_ptr<WalEncoder> WalArchiver::State::take_encoder() {
    {
        const std::lock_guard lock(mutex);
        if (!idle_encoders.empty()) {
            std::unique_ptr<WalEncoder> encoder = std::move(idle_encoders.back());
            idle_encoders.pop_back();
            return encoder;
        }
    }
    return std::make_unique<WalEncoder>(encoding, source);
}

void WalArchiver::State::give_encoder(std::unique_ptr<WalEncoder> encoder) {
    const std::lock_guard lock(mutex);
    idle_encoders.push_back(std::move(encoder));
}

// Called with the mutex held. Another segment to read together with `job`, once more wait than there are idle threads.
WalJobPtr WalArchiver::State::take_partner(const WalJob &job) {
    const auto is_segment = [](const std::string &name) {
        const auto parsed = parse_wal_file_name(name);
        return parsed && parsed->kind == WalFileKind::kSegment;
    };
    if (!pairs || ready.size() <= encoder_threads - busy_encoders || !is_segment(job.name) ||
        !is_segment(ready.front()->name))
        return nullptr;
    WalJobPtr partner = std::move(ready.front());
    ready.pop_front();
    return partner;
}

// Without a backlog a single file is to be done soon; with one, helping would only take the time from the next file.
bool WalArchiver::State::processor_is_idle() const {
    const std::lock_guard lock(mutex);
    return ready.empty() && busy_encoders < encoder_threads;
}

void WalArchiver::State::prepare_next() noexcept {
    WalJobPtr job;
    WalJobPtr partner;
    {
        const std::lock_guard lock(mutex);
        if (ready.empty())
            return;
        job = std::move(ready.front());
        ready.pop_front();
        ++busy_encoders;
        partner = take_partner(*job);
    }
    if (partner != nullptr)
        prepare_two(job, partner);
    else
        prepare(job);
    const std::lock_guard lock(mutex);
    --busy_encoders;
}

void WalArchiver::State::prepare_two(const WalJobPtr &first, const WalJobPtr &second) noexcept {
    std::unique_ptr<WalEncoder> encoder;
    try {
        const WalSourceFile first_file = source.open(first->name);
        const WalSourceFile second_file = source.open(second->name);
        encoder = take_encoder();
        const uint64_t bound = encoder->body_bound(first_file);
        // Both at once: two threads that each held one share and waited for another would wait for ever.
        BudgetShare shares(budget, 2 * bound);
        encoder->read_two(first_file, second_file, first->cancel);
        BudgetShare second_share = shares.split(bound);
        prepare_read(first, first_file, 0, *encoder, std::move(shares));
        prepare_read(second, second_file, 1, *encoder, std::move(second_share));
    } catch (...) {
        // One of them is at fault, and each is to be told its own error.
        prepare(first);
        prepare(second);
        return;
    }
    give_encoder(std::move(encoder));
}

void WalArchiver::State::prepare_read(const WalJobPtr &job, const WalSourceFile &file, int which, WalEncoder &encoder,
                                      BudgetShare share) noexcept {
    try {
        {
            const std::lock_guard lock(mutex);
            job->plain_bytes = file.size;
        }
        WalObject object = encoder.encode_read(which, file, bodies.take());
        share.shrink_to(object.body.size());
        start_commit(job, std::make_shared<WalUpload>(std::move(object), std::move(share), bodies));
    } catch (...) {
        job_failed(job, current_error(job->name));
    }
}

void WalArchiver::State::prepare(const WalJobPtr &job) noexcept {
    try {
        const WalSourceFile file = source.open(job->name);
        {
            const std::lock_guard lock(mutex);
            job->plain_bytes = file.size;
        }
        // Thrown away with whatever it holds when the encoding fails.
        std::unique_ptr<WalEncoder> encoder = take_encoder();
        if (file.size > kWalPartBytes)
            prepare_large(job, file, *encoder);
        else
            prepare_whole(job, file, *encoder);
        give_encoder(std::move(encoder));
    } catch (...) {
        job_failed(job, current_error(job->name));
    }
}

void WalArchiver::State::prepare_whole(const WalJobPtr &job, const WalSourceFile &file, WalEncoder &encoder) {
    BudgetShare share(budget, encoder.body_bound(file));
    WalObject object = encoder.encode(file, bodies.take(), job->cancel, processor_is_idle() ? hasher.get() : nullptr);
    share.shrink_to(object.body.size());
    start_commit(job, std::make_shared<WalUpload>(std::move(object), std::move(share), bodies));
}

void WalArchiver::State::prepare_large(const WalJobPtr &job, const WalSourceFile &file, WalEncoder &encoder) {
    if (settle_existing(job, file, encoder))
        return;
    BudgetShare share;
    const auto take_body = [&] {
        share = BudgetShare(budget, encoder.body_bound(file));
        return bodies.take();
    };
    const auto upload_of = [&](WalObject object) {
        share.shrink_to(object.body.size());
        return std::make_shared<WalUpload>(std::move(object), std::exchange(share, BudgetShare()), bodies);
    };
    WalObject commit = encoder.encode_large(
        file, take_body, [&](WalObject part) { start_part(job, upload_of(std::move(part))); }, job->cancel);
    start_commit(job, upload_of(std::move(commit)));
}

// Before hundreds of megabytes go on their way: settles the repositories that have the file already, or refuse it.
// Returns whether none is left.
bool WalArchiver::State::settle_existing(const WalJobPtr &job, const WalSourceFile &file, WalEncoder &encoder) {
    std::optional<WalObject> object;
    bool waiting = false;
    for (size_t i = 0; i < repositories.size(); ++i) {
        if (!is_waiting(job, i))
            continue;
        try {
            const Repository &repository = *repositories[i];
            if (file.parsed.kind == WalFileKind::kSegment &&
                !repository.store().head(encoding.layout.wal_file(file.name), job->cancel)) {
                waiting = true;
                continue;
            }
            if (!object)
                object = encoder.describe(file, job->cancel);
            if (look_up_wal_object(repository, *object, writer, job->cancel) == WalPlace::kSameContent)
                target_stored(job, i, {WalUploadOutcome::kAlreadyThere, object->key});
            else
                waiting = true;
        } catch (...) {
            target_failed(job, i, current_error(job->name));
        }
    }
    return !waiting;
}

void WalArchiver::State::start_part(const WalJobPtr &job, const std::shared_ptr<WalUpload> &part) {
    for (size_t i = 0; i < repositories.size(); ++i) {
        {
            const std::lock_guard lock(mutex);
            if (job->targets[i].state != WalTargetState::kWaiting)
                continue;
            ++job->targets[i].parts_pending;
            job->stored_bytes += i == 0 ? part->object.body.size() : 0;
        }
        uploaders[i]->submit([this, job, i, part] { run_part(job, i, part); });
    }
}

void WalArchiver::State::start_commit(const WalJobPtr &job, const std::shared_ptr<WalUpload> &commit) {
    const WalObject &object = commit->object;
    const std::string extension = parse_header(object.body, object.key).header.extension;
    const std::optional<int64_t> last_time_us = decode_wal_facts(extension, object.key).scan.last_time_us;
    {
        const std::lock_guard lock(mutex);
        job->last_time_us = last_time_us;
    }
    for (size_t i = 0; i < repositories.size(); ++i) {
        {
            const std::lock_guard lock(mutex);
            job->stored_bytes += i == 0 ? commit->object.body.size() : 0;
            WalTarget &target = job->targets[i];
            if (target.state != WalTargetState::kWaiting)
                continue;
            if (target.parts_pending > 0) {
                target.commit = commit;
                continue;
            }
        }
        submit_commit(job, i, commit);
    }
}

void WalArchiver::State::submit_commit(const WalJobPtr &job, size_t target, std::shared_ptr<WalUpload> commit) {
    uploaders[target]->submit([this, job, target, commit = std::move(commit)] { run_commit(job, target, commit); });
}

void WalArchiver::State::run_part(const WalJobPtr &job, size_t target,
                                  const std::shared_ptr<WalUpload> &part) noexcept {
    try {
        PutRequest request;
        request.key = part->object.key;
        request.body = part->object.body;
        request.role = ObjectRole::kWal;
        request.sha256 = part->object.body_sha256 ? &*part->object.body_sha256 : nullptr;
        if (repositories[target]->store().put_new(request, job->cancel) != PutOutcome::kStored)
            throw Error(ErrorCode::kConflict, fmt::format("could not archive \"{}\": \"{}\" holds a part of this "
                                                          "attempt already",
                                                          job->name, repositories[target]->url()));
    } catch (...) {
        target_failed(job, target, current_error(job->name));
        return;
    }
    std::shared_ptr<WalUpload> commit;
    {
        const std::lock_guard lock(mutex);
        if (--job->targets[target].parts_pending == 0)
            commit = std::move(job->targets[target].commit);
    }
    if (commit != nullptr)
        submit_commit(job, target, std::move(commit));
}

void WalArchiver::State::run_commit(const WalJobPtr &job, size_t target,
                                    const std::shared_ptr<WalUpload> &commit) noexcept {
    try {
        target_stored(job, target, upload_wal_object(*repositories[target], commit->object, writer, job->cancel));
    } catch (...) {
        target_failed(job, target, current_error(job->name));
    }
}

} // namespace pgvigil
