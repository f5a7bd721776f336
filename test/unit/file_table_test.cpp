#include "repo/file_table.h"

#include "damage.h"
#include "repo/table_records.h"

#include <gtest/gtest.h>
#include <map>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

using Objects = std::map<std::string, Bytes>;

Objects write_table(const std::vector<FileEntry> &entries, const char *compression = "zstd:1") {
    Objects objects;
    FileTableWriter writer(parse_compression(compression), 3, random_uuid(),
                           [&](const std::string &name, Bytes object) {
                               EXPECT_LE(object.size(), kMaxTablePartBytes);
                               EXPECT_TRUE(objects.emplace(name, std::move(object)).second);
                           });
    for (const FileEntry &entry : entries)
        writer.add(entry);
    writer.finish();
    return objects;
}

struct Fetches {
    size_t count = 0;
    size_t bytes = 0;
};

FileTableReader make_reader(const Objects &objects, Fetches *fetches = nullptr) {
    return FileTableReader([&objects, fetches](const std::string &name, std::optional<ByteRange> range) {
        const Bytes &object = objects.at(name);
        Bytes out = object;
        if (range) {
            const size_t start = std::min<size_t>(range->offset, object.size());
            const size_t length = std::min<size_t>(range->length, object.size() - start);
            out.assign(object.begin() + static_cast<ptrdiff_t>(start),
                       object.begin() + static_cast<ptrdiff_t>(start + length));
        }
        if (fetches != nullptr) {
            ++fetches->count;
            fetches->bytes += out.size();
        }
        return out;
    });
}

bool same(const FileEntry &a, const FileEntry &b) {
    const auto same_extent = [](const ExtentRef &x, const ExtentRef &y) {
        return x.offset == y.offset && x.plain_length == y.plain_length && x.pack == y.pack &&
               x.place.offset == y.place.offset && x.place.length == y.place.length && x.hash == y.hash &&
               x.frame_offset == y.frame_offset && x.frame_length == y.frame_length && x.own_hash == y.own_hash;
    };
    return a.path == b.path && a.kind == b.kind && a.mode == b.mode && a.size == b.size && a.mtime_ms == b.mtime_ms &&
           a.inherit_below == b.inherit_below &&
           std::equal(a.extents.begin(), a.extents.end(), b.extents.begin(), b.extents.end(), same_extent);
}

FileEntry make_file(const std::string &path, size_t extents) {
    FileEntry entry;
    entry.path = path;
    entry.size = extents * kMaxExtentBytes;
    entry.mtime_ms = -1234567890123;
    entry.inherit_below = static_cast<uint32_t>(path.size());
    for (size_t i = 0; i < extents; ++i) {
        ExtentRef extent;
        extent.offset = i * kMaxExtentBytes;
        extent.plain_length = kMaxExtentBytes - static_cast<uint32_t>(i % 2) * 8192;
        extent.pack = static_cast<uint32_t>(i / 30);
        extent.place = {static_cast<uint32_t>(i % 30) * 100000, 90000};
        random_bytes(extent.hash);
        extent.frame_length = extent.plain_length;
        extent.own_hash = extent.hash;
        if (i % 3 == 1) { // one of several in its frame
            extent.plain_length = 8192 * static_cast<uint32_t>(1 + i % 5);
            extent.frame_offset = static_cast<uint32_t>(i % 7) * 8192;
            extent.frame_length = 128 * kKiB;
            random_bytes(extent.own_hash);
        }
        entry.extents.push_back(extent);
    }
    return entry;
}

void expect_same_table(const std::vector<FileEntry> &entries, const Objects &objects) {
    size_t at = 0;
    make_reader(objects).for_each([&](FileEntry &&entry) {
        ASSERT_LT(at, entries.size());
        EXPECT_TRUE(same(entry, entries[at])) << entry.path;
        ++at;
    });
    EXPECT_EQ(at, entries.size());
}

TEST(FileTable, PathOrderKeepsDirectoriesTogether) {
    EXPECT_LT(compare_paths("base/1", "base-x"), 0);
    EXPECT_LT(compare_paths("base", "base/1"), 0);
    EXPECT_LT(compare_paths("base/1/2", "base/10"), 0);
    EXPECT_LT(compare_paths("a\x01", "a\xff"), 0);
    EXPECT_LT(compare_paths("a/", "a\x01"), 0);
    EXPECT_EQ(compare_paths("x/y", "x/y"), 0);
}

RC_GTEST_PROP(FileTable, PathOrderIsTotal, (const std::string &a, const std::string &b, const std::string &c)) {
    RC_ASSERT((compare_paths(a, b) < 0) == (compare_paths(b, a) > 0));
    RC_ASSERT((compare_paths(a, b) == 0) == (a == b));
    if (compare_paths(a, b) <= 0 && compare_paths(b, c) <= 0)
        RC_ASSERT(compare_paths(a, c) <= 0);
}

TEST(FileTable, Empty) {
    const Objects objects = write_table({});
    EXPECT_EQ(objects.size(), 1U);
    expect_same_table({}, objects);
    EXPECT_FALSE(make_reader(objects).find("PG_VERSION"));
}

TEST(FileTable, ManyFilesAcrossFramesAndParts) {
    std::vector<FileEntry> entries;
    char name[32];
    for (int i = 0; i < 60000; ++i) {
        std::snprintf(name, sizeof name, "base/5/%08d", i);
        entries.push_back(make_file(name, 8));
    }
    const Objects objects = write_table(entries);
    EXPECT_GT(objects.size(), 2U) << "the table should have needed several parts";
    expect_same_table(entries, objects);
    Fetches fetches;
    FileTableReader reader = make_reader(objects, &fetches);
    for (const size_t wanted : {size_t{0}, size_t{1}, size_t{777}, size_t{31111}, entries.size() - 1}) {
        fetches = {};
        const auto found = reader.find(entries[wanted].path);
        ASSERT_TRUE(found);
        EXPECT_TRUE(same(*found, entries[wanted]));
        EXPECT_LE(fetches.count, 3U);
        EXPECT_LT(fetches.bytes, 2 * kMiB);
    }
    EXPECT_FALSE(reader.find("base/5/00000000x"));
    EXPECT_FALSE(reader.find("a"));
    EXPECT_FALSE(reader.find("zzz"));
}

TEST(FileTable, AHugeFileContinuesOverRecordsFramesAndParts) {
    std::vector<FileEntry> entries = {make_file("base/1", 3), make_file("base/2", 500000), make_file("base/3", 4097)};
    const Objects objects = write_table(entries);
    EXPECT_GE(objects.size(), 3U);
    expect_same_table(entries, objects);
    FileTableReader reader = make_reader(objects);
    for (const FileEntry &entry : entries)
        EXPECT_TRUE(same(reader.find(entry.path).value(), entry));
}

TEST(FileTable, PartsReadInRangesAreCheckedAndOneThatIsDamagedIsReadAsAWhole) {
    std::vector<FileEntry> entries;
    for (int i = 0; i < 20000; ++i)
        entries.push_back(make_file("base/5/" + std::to_string(100000 + i), 2));
    const Objects objects = write_table(entries);
    std::vector<StoredObject> committed;
    for (const auto &[name, object] : objects)
        committed.push_back({name, 0, object.size(), sha256(object)});
    Objects ranges = objects; // what a range is read from
    size_t largest = 0;
    size_t wholes = 0;
    const auto read_all = [&](const std::vector<StoredObject> &expected) {
        FileTableReader reader(
            [&](const std::string &name, std::optional<ByteRange> range) {
                wholes += range || name == "index" ? 0 : 1;
                if (!range)
                    return objects.at(name);
                largest = std::max<size_t>(largest, range->length);
                const ByteView part = ByteView(ranges.at(name)).subspan(range->offset, range->length);
                return Bytes(part.begin(), part.end());
            },
            "files/", expected);
        reader.limit_read(700 * kKiB);
        size_t count = 0;
        while (const auto entry = reader.next())
            EXPECT_TRUE(same(*entry, entries[count++]));
        EXPECT_EQ(count, entries.size());
    };
    read_all(committed);
    EXPECT_EQ(wholes, 0U);
    EXPECT_GT(largest, 100 * kKiB);
    EXPECT_LE(largest, 700 * kKiB);

    ranges.at("000000")[ranges.at("000000").size() / 2] ^= std::byte{1};
    read_all(committed);
    EXPECT_EQ(wholes, 1U);
    ranges = objects;
    committed.front().sha256[0] ^= std::byte{1};
    try {
        read_all(committed);
        FAIL();
    } catch (const Error &error) {
        EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
        EXPECT_NE(error.message().find("files/000000"), std::string::npos) << error.message();
    }
}

TEST(FileTable, RefusesEntriesOutOfOrderAndUnsafePaths) {
    for (const auto &[first, second] : std::vector<std::pair<const char *, const char *>>{
             {"b", "a"}, {"a", "a"}, {"a", "../x"}, {"a", "/x"}, {"a", "b//c"}, {"a", ""}, {"a", "b/."}}) {
        FileTableWriter writer({Codec::kNone, 0}, 0, {}, [](const std::string &, Bytes) {});
        writer.add(make_file(first, 0));
        EXPECT_THROW(writer.add(make_file(second, 0)), Error) << second;
    }
}

RC_GTEST_PROP(FileTable, RoundTrip, ()) {
    std::map<std::string, FileEntry> sorted;
    const auto count = *rc::gen::inRange(0, 40);
    for (int i = 0; i < count; ++i) {
        std::string path =
            "d" + std::to_string(*rc::gen::inRange(0, 3)) + "/f" + std::to_string(*rc::gen::inRange(0, 99));
        FileEntry entry = make_file(path, *rc::gen::inRange<size_t>(0, 4));
        entry.kind = entry.extents.empty() && *rc::gen::arbitrary<bool>() ? FileKind::kDirectory : FileKind::kRegular;
        entry.mode = *rc::gen::inRange<uint32_t>(0, 07777);
        entry.mtime_ms = *rc::gen::arbitrary<int64_t>();
        entry.inherit_below = *rc::gen::arbitrary<uint32_t>();
        entry.size += *rc::gen::inRange<uint64_t>(0, 100);
        sorted[path] = entry;
    }
    std::vector<FileEntry> entries;
    for (auto &[path, entry] : sorted)
        entries.push_back(entry);
    std::sort(entries.begin(), entries.end(),
              [](const FileEntry &a, const FileEntry &b) { return compare_paths(a.path, b.path) < 0; });
    const Objects objects = write_table(entries, *rc::gen::element("none", "lz4", "zstd:1"));
    std::vector<FileEntry> back;
    make_reader(objects).for_each([&](FileEntry &&entry) { back.push_back(std::move(entry)); });
    RC_ASSERT(std::equal(back.begin(), back.end(), entries.begin(), entries.end(), same));
    FileTableReader reader = make_reader(objects);
    for (const FileEntry &entry : entries)
        RC_ASSERT(same(reader.find(entry.path).value(), entry));
}

TEST(FileTable, DamageIsFoundInPartsAndIndex) {
    const std::vector<FileEntry> entries = {make_file("base/1", 2), make_file("base/2", 0), make_file("global/1", 1)};
    const Objects good = write_table(entries, "none");
    for (const auto &[name, object] : good) {
        const std::string damaged_name = name;
        test::expect_damage_is_found(object, "", [&](ByteView bytes) {
            Objects objects = good;
            objects[damaged_name] = Bytes(bytes.begin(), bytes.end());
            std::vector<FileEntry> back;
            make_reader(objects).for_each([&](FileEntry &&entry) { back.push_back(std::move(entry)); });
            // The epoch and the attempt are not the table's business; the header's checksum guards them.
            return std::equal(back.begin(), back.end(), entries.begin(), entries.end(), same);
        });
    }
}

RC_GTEST_PROP(TableRecords, GarbageIsCorruptNeverWorse, (const std::vector<uint8_t> &values)) {
    Bytes bytes;
    for (const uint8_t value : values)
        bytes.push_back(static_cast<std::byte>(value));
    for (const bool index : {false, true}) {
        ByteReader in(bytes);
        try {
            if (index)
                (void)table::read_index_entry(in, "the part");
            else
                (void)table::read_record(in, "the part");
        } catch (const Error &error) {
            RC_ASSERT(test::is_damage_report(error, "the part"));
        }
    }
}

} // namespace
} // namespace pgvigil
