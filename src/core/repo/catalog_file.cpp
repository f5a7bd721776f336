#include "repo/catalog_file.h"

#include "base/error.h"
#include "repo/envelope.h"
#include "repo/json_fields.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace pgvigil {

namespace {

constexpr int kFileFormat = 2; // 2: the streamed tail
constexpr const char *kWhat = "pgvigil.catalog";

// Documents stand in it as the repository has them.
template <class Document> Json documents_json(const std::vector<Document> &documents) {
    Json list = Json::array();
    for (const Document &document : documents)
        list.push_back(Json::parse(encode(document)));
    return list;
}

Json number_pairs(const std::map<uint64_t, uint64_t> &numbers) {
    Json list = Json::array();
    for (const auto &[key, value] : numbers)
        list.push_back({key, value});
    return list;
}

std::map<uint64_t, uint64_t> read_number_pairs(const Json &list) {
    std::map<uint64_t, uint64_t> numbers;
    for (const Json &item : list)
        numbers.emplace(item.at(0).get<uint64_t>(), item.at(1).get<uint64_t>());
    return numbers;
}

Json cover_json(uint64_t segment, const TailCover &cover) {
    Json pieces = Json::array();
    for (const TailPiece &piece : cover.pieces)
        pieces.push_back({piece.from, piece.to, piece.stored_bytes, piece.modified_ms});
    return {{"segment", segment},
            {"epoch", cover.run.epoch},
            {"run", cover.run.number},
            {"known_end", cover.known_end},
            {"pieces", std::move(pieces)}};
}

void read_cover(const Json &source, TimelineWal &wal) {
    const uint64_t segment = source.at("segment").get<uint64_t>();
    TailCover cover;
    cover.run = {source.at("epoch").get<uint64_t>(), source.at("run").get<uint32_t>()};
    cover.known_end = source.at("known_end").get<uint32_t>();
    for (const Json &item : source.at("pieces")) {
        TailPiece piece;
        piece.run = cover.run;
        piece.segment = segment;
        piece.from = item.at(0).get<uint32_t>();
        piece.to = item.at(1).get<uint32_t>();
        piece.stored_bytes = item.at(2).get<uint64_t>();
        piece.modified_ms = item.at(3).get<int64_t>();
        cover.end = piece.to;
        cover.pieces.push_back(piece);
    }
    cover.hole = cover.known_end > cover.end;
    if (!cover.pieces.empty())
        wal.streamed.emplace(segment, std::move(cover));
}

Json timeline_json(const ClusterLayout &layout, const TimelineWal &wal) {
    Json out = {{"timeline", wal.timeline},
                {"has_history", wal.has_history},
                {"newest_object_ms", wal.newest_object_ms},
                {"runs", Json::array()},
                {"ancestors", Json::array()},
                {"blocks", Json::array()},
                {"epoch_names", number_pairs(wal.epoch_names)},
                {"header_epochs", number_pairs(wal.header_epochs)},
                {"tail_runs", documents_json(wal.tail_runs)},
                {"streamed", Json::array()}};
    for (const auto &[segment, cover] : wal.streamed)
        out["streamed"].push_back(cover_json(segment, cover));
    for (const SegmentRun &run : wal.runs)
        out["runs"].push_back({run.first, run.last});
    for (const TimelineSwitch &ancestor : wal.ancestors)
        out["ancestors"].push_back({ancestor.timeline, ancestor.end.value, fields::text_value(ancestor.reason)});
    for (const WalBlock &block : wal.blocks)
        out["blocks"].push_back(wal_block_key(layout, block));
    return out;
}

TimelineWal read_timeline(const ClusterLayout &layout, const Json &source) {
    TimelineWal wal;
    wal.timeline = source.at("timeline").get<TimelineId>();
    wal.has_history = source.at("has_history").get<bool>();
    wal.newest_object_ms = source.at("newest_object_ms").get<int64_t>();
    for (const Json &run : source.at("runs"))
        wal.runs.push_back({run.at(0).get<uint64_t>(), run.at(1).get<uint64_t>()});
    for (const Json &ancestor : source.at("ancestors"))
        wal.ancestors.push_back({ancestor.at(0).get<TimelineId>(), Lsn{ancestor.at(1).get<uint64_t>()},
                                 fields::text(ancestor.at(2), "ancestors", kWhat)});
    for (const Json &key : source.at("blocks"))
        if (const auto block = parse_wal_block_key(layout, key.get<std::string>()))
            wal.blocks.push_back(*block);
    wal.epoch_names = read_number_pairs(source.at("epoch_names"));
    wal.header_epochs = read_number_pairs(source.at("header_epochs"));
    for (const Json &run : source.at("tail_runs"))
        wal.tail_runs.push_back(decode_tail_run(run.dump(), kWhat));
    for (const Json &cover : source.at("streamed"))
        read_cover(cover, wal);
    return wal;
}

Json catalog_json(const Catalog &catalog) {
    const ClusterLayout layout(catalog.system_identifier);
    Json out = {{"system_identifier", fields::identifier_value(catalog.system_identifier)},
                {"segment_size", catalog.segment_size},
                {"backups", documents_json(catalog.backups)},
                {"epochs", documents_json(catalog.epochs)},
                {"keeps", Json::array()},
                {"timelines", Json::array()},
                {"unreadable", Json::array()}};
    for (const auto &[id, keep] : catalog.keeps)
        out["keeps"].push_back(Json::parse(encode(keep)));
    for (const TimelineWal &wal : catalog.timelines)
        out["timelines"].push_back(timeline_json(layout, wal));
    for (const UnreadableDocument &document : catalog.unreadable)
        out["unreadable"].push_back({fields::text_value(document.key), fields::text_value(document.message)});
    return out;
}

Catalog read_catalog(const Json &source) {
    Catalog catalog;
    catalog.system_identifier = fields::identifier_member(source, "system_identifier", kWhat);
    catalog.segment_size = source.at("segment_size").get<uint64_t>();
    const ClusterLayout layout(catalog.system_identifier);
    for (const Json &item : source.at("backups"))
        catalog.backups.push_back(decode_commit(item.dump(), kWhat));
    for (const Json &item : source.at("epochs"))
        catalog.epochs.push_back(decode_epoch(item.dump(), kWhat));
    for (const Json &item : source.at("keeps")) {
        KeepDocument keep = decode_keep(item.dump(), kWhat);
        std::string id = keep.id;
        catalog.keeps.emplace(std::move(id), std::move(keep));
    }
    for (const Json &item : source.at("timelines"))
        catalog.timelines.push_back(read_timeline(layout, item));
    for (const Json &item : source.at("unreadable"))
        catalog.unreadable.push_back(
            {fields::text(item.at(0), "unreadable", kWhat), fields::text(item.at(1), "unreadable", kWhat)});
    return catalog;
}

std::vector<KnownCatalog> read_catalogs(const Json &source) {
    std::vector<KnownCatalog> catalogs;
    for (const Json &item : source.at("repositories")) {
        KnownCatalog known;
        known.url = fields::text(item.at("url"), "url", kWhat);
        known.display_name = fields::text(item.at("display_name"), "display_name", kWhat);
        known.repository_id = item.at("id").get<std::string>();
        known.read_ms = item.at("read_ms").get<int64_t>();
        known.complete_ms = item.at("complete_ms").get<int64_t>();
        known.catalog = read_catalog(item.at("catalog"));
        for (const Json &mark : item.at("marks"))
            known.marks.push_back(
                {mark.at(0).get<TimelineId>(), mark.at(1).get<uint64_t>(), mark.at(2).get<int64_t>()});
        catalogs.push_back(std::move(known));
    }
    return catalogs;
}

[[noreturn]] void fail(const char *what, const std::string &path, int error_number) {
    throw system_error(std::string("could not ") + what + " file \"" + path + "\"", error_number);
}

} // namespace

std::string encode_catalogs(const std::vector<KnownCatalog> &catalogs) {
    Json out = {{"format", kFileFormat}, {"repositories", Json::array()}};
    for (const KnownCatalog &known : catalogs) {
        Json item = {{"url", fields::text_value(known.url)},
                     {"display_name", fields::text_value(known.display_name)},
                     {"id", known.repository_id},
                     {"read_ms", known.read_ms},
                     {"complete_ms", known.complete_ms},
                     {"catalog", catalog_json(known.catalog)},
                     {"marks", Json::array()}};
        for (const TransactionMark &mark : known.marks)
            item["marks"].push_back({mark.timeline, mark.segment, mark.time_us});
        out["repositories"].push_back(std::move(item));
    }
    return out.dump() + "\n";
}

std::optional<std::vector<KnownCatalog>> decode_catalogs(std::string_view json) {
    // No limit on its size: it is this server's own file.
    const Json source = Json::parse(json, nullptr, false);
    if (!source.is_object() || source.value("format", 0) != kFileFormat)
        return std::nullopt;
    try {
        return read_catalogs(source);
    } catch (const Error &) {
        return std::nullopt;
    } catch (const nlohmann::json::exception &) {
        return std::nullopt;
    }
}

std::optional<std::vector<KnownCatalog>> read_catalog_file(const std::string &data_directory) {
    std::ifstream file(data_directory + "/" + std::string(kCatalogFileName), std::ios::binary);
    if (!file)
        return std::nullopt;
    std::ostringstream text;
    text << file.rdbuf();
    return decode_catalogs(text.view());
}

NewCatalogFile::NewCatalogFile(const std::string &data_directory, std::string_view text)
    : path_(data_directory + "/" + std::string(kCatalogFileName)),
      temporary_(path_ + "." + std::to_string(::getpid())) {
    // Not synced: after a crash of the machine it is read from the repositories again.
    const int descriptor = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0)
        fail("create", temporary_, errno);
    for (size_t done = 0; done < text.size();) {
        const ssize_t written = ::write(descriptor, text.data() + done, text.size() - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            const int error_number = errno;
            ::close(descriptor);
            ::unlink(temporary_.c_str());
            fail("write", temporary_, error_number);
        }
        done += static_cast<size_t>(written);
    }
    ::close(descriptor);
}

NewCatalogFile::~NewCatalogFile() {
    if (!temporary_.empty())
        ::unlink(temporary_.c_str());
}

bool NewCatalogFile::replace() noexcept {
    if (::rename(temporary_.c_str(), path_.c_str()) != 0)
        return false;
    temporary_.clear();
    return true;
}

} // namespace pgvigil
