// Random file trees: what a backup stores reads back as what was there.
#include "backup_support.h"

#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

struct Harness : test::BackupTest {
    void TestBody() override {}
    using BackupTest::use_repositories;

    // The tree as a restore has to make it.
    void check() {
        const test::RestoredTree tree = restored(back_up(options));
        for (const auto &[path, content] : expected) {
            const auto found = tree.find(path);
            RC_ASSERT(found != tree.end());
            RC_ASSERT(found->second.content == content);
        }
        size_t files = 0;
        for (const auto &[path, file] : tree)
            files += file.kind == FileKind::kRegular ? 1U : 0U;
        RC_ASSERT(files == expected.size());
    }
    void add(const std::string &path, const Bytes &content) {
        if (expected.contains(path))
            return;
        write_file(path, content);
        expected[path] = content;
    }
    std::map<std::string, Bytes> expected;
    BackupOptions options;
};

rc::Gen<size_t> sizes() {
    // Around the borders of blocks, extents and batches, and anything small.
    return rc::gen::map(rc::gen::pair(rc::gen::element<size_t>(0, 0, 8192, 8192, 8192, 16384, 16384, 64 * kKiB,
                                                               64 * kKiB, kMiB, 2 * kMiB, 4 * kMiB),
                                      rc::gen::inRange(-3, 4)),
                        [](const std::pair<size_t, int> &near) {
                            const auto size = static_cast<int64_t>(near.first) + near.second;
                            return static_cast<size_t>(std::max<int64_t>(size, 0));
                        });
}

rc::Gen<std::string> names() {
    const auto character = rc::gen::suchThat(rc::gen::inRange<int>(1, 256), [](int c) { return c != '/'; });
    return rc::gen::map(rc::gen::resize(12, rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(character))),
                        [](const std::vector<int> &characters) {
                            std::string name = "x"; // never a name with a meaning of its own
                            for (const int c : characters)
                                name.push_back(static_cast<char>(c));
                            return name;
                        });
}

RC_GTEST_PROP(BackupProperty, random_trees_read_back, ()) {
    Harness harness;
    harness.use_repositories(1);
    harness.options.threads = *rc::gen::inRange(1U, 4U);
    harness.options.compression = parse_compression(*rc::gen::element<std::string>("none", "lz4", "zstd:1", "zstd:-3"));
    const auto files = *rc::gen::inRange(1, 15);
    for (int i = 0; i < files; ++i) {
        const std::string path = *names() + "d/" + (*rc::gen::arbitrary<bool>() ? *names() + "d/" : "") + *names();
        Bytes content = test::some_bytes(*rc::gen::scale(0.3, sizes()), static_cast<uint64_t>(i));
        // A hole somewhere.
        if (!content.empty() && *rc::gen::arbitrary<bool>()) {
            const size_t from = *rc::gen::inRange<size_t>(0, content.size());
            std::fill(content.begin() + static_cast<ptrdiff_t>(from), content.end(), std::byte{0});
        }
        harness.add(path, content);
    }
    // And one that several threads read.
    if (*rc::gen::inRange(0, 10) == 0)
        harness.add("large", test::some_bytes(16 * kMiB + *rc::gen::inRange<size_t>(0, 2 * kMiB), 7));
    harness.check();
}

} // namespace
} // namespace pgvigil
