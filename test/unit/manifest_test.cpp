#include "pgdata/backup_manifest.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "crypto/digest.h"
#include "postgres_cluster.h"

#include <fstream>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

Bytes crc_bytes(ByteView content) {
    ByteWriter out;
    out.u32(crc32c(content));
    return out.take();
}

template <class Fill> std::string write_manifest(unsigned major, uint64_t system, const Fill &fill) {
    std::string text;
    ManifestWriter writer(major, system, [&](ByteView bytes) { text += as_text(bytes); });
    fill(writer);
    writer.finish();
    return text;
}

TEST(Manifest, TextAsPostgresWritesIt) {
    const auto fill = [](ManifestWriter &writer) {
        writer.add_file("backup_label", 225, 1795163013123, crc_bytes(as_view("123456789")));
        writer.add_file("base/5/caf\xe9", 0, 0, crc_bytes({}));
        writer.add_wal_range(1, Lsn{0x2000028}, Lsn{0x2000100});
    };
    const std::string body =
        "\"Files\": [\n"
        "{ \"Path\": \"backup_label\", \"Size\": 225, \"Last-Modified\": \"2026-11-20 08:23:33 GMT\", "
        "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"839206e3\" },\n"
        "{ \"Encoded-Path\": \"626173652f352f636166e9\", \"Size\": 0, \"Last-Modified\": "
        "\"1970-01-01 00:00:00 GMT\", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"00000000\" }\n"
        "],\n"
        "\"WAL-Ranges\": [\n"
        "{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }\n"
        "],\n";
    const std::string v1 = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n" + body;
    EXPECT_EQ(write_manifest(15, 42, fill), v1 + "\"Manifest-Checksum\": \"" + to_hex(sha256(as_view(v1))) + "\"}\n");
    const std::string v2 = "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 42,\n" + body;
    EXPECT_EQ(write_manifest(17, 42, fill), v2 + "\"Manifest-Checksum\": \"" + to_hex(sha256(as_view(v2))) + "\"}\n");
}

RC_GTEST_PROP(Manifest, IsAlwaysValidJson, (const std::vector<std::string> &paths)) {
    const std::string text = write_manifest(18, 7, [&](ManifestWriter &writer) {
        for (const std::string &path : paths)
            writer.add_file(path, path.size(), 1000, crc_bytes(as_view(path)));
    });
    const Json json = parse_json(text, "manifest");
    RC_ASSERT(json["Files"].size() == paths.size());
    for (size_t i = 0; i < paths.size(); ++i) {
        const Json &file = json["Files"][i];
        if (is_utf8(paths[i]))
            RC_ASSERT(file["Path"].get<std::string>() == paths[i]);
        else
            RC_ASSERT(file["Encoded-Path"].get<std::string>() == to_hex(as_view(paths[i])));
    }
    const size_t last_line = text.rfind("\"Manifest-Checksum\"");
    RC_ASSERT(json["Manifest-Checksum"].get<std::string>() == to_hex(sha256(as_view(text.substr(0, last_line)))));
}

TEST(Manifest, RefusesMisuse) {
    ManifestWriter writer(18, 7, [](ByteView) {});
    EXPECT_THROW(writer.add_file("x", 0, 0, {}), Error);
    writer.add_wal_range(1, Lsn{1}, Lsn{2});
    EXPECT_THROW(writer.add_file("x", 0, 0, crc_bytes({})), Error);
    writer.finish();
    EXPECT_THROW(writer.finish(), Error);
}

// pg_verifybackup accepts a manifest written here over a stopped cluster's files, and finds a changed file.
TEST(Manifest, PgVerifybackupAcceptsIt) {
    const auto versions = test::installed_postgres();
    if (versions.empty())
        GTEST_SKIP() << "no PostgreSQL server is installed";
    for (const auto &version : versions) {
        const test::PostgresCluster cluster(version, "");
        std::ofstream(cluster.data() / "a \"quoted\" n\xc3\xa4me") << "x";
        std::ofstream(cluster.data() / "latin1-\xe9") << "y";
        const std::string control = cluster.run("pg_controldata", cluster.data().string());
        const std::string label = "Database system identifier:";
        const uint64_t system = std::stoull(control.substr(control.find(label) + label.size()));
        const std::string manifest = write_manifest(version.major, system, [&](ManifestWriter &writer) {
            for (const auto &item : std::filesystem::recursive_directory_iterator(cluster.data())) {
                const std::string path = std::filesystem::relative(item.path(), cluster.data()).string();
                if (!item.is_regular_file() || path.starts_with("pg_wal/") || path == "postgresql.auto.conf")
                    continue;
                const Bytes content = test::read_whole_file(item.path());
                writer.add_file(path, content.size(), 1795163013123, crc_bytes(content));
            }
            writer.add_wal_range(1, Lsn{0x1000028}, Lsn{0x1000100});
        });
        std::ofstream(cluster.data() / "backup_manifest") << manifest;
        const std::string output = cluster.run("pg_verifybackup", "-n " + cluster.data().string());
        EXPECT_NE(output.find("successfully verified"), std::string::npos) << output;
        std::ofstream(cluster.data() / "latin1-\xe9") << "z";
        EXPECT_THROW(cluster.run("pg_verifybackup", "-n " + cluster.data().string()), std::runtime_error);
    }
}

} // namespace
} // namespace pgvigil
