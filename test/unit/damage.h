// Checks that damaged bytes are refused with an error that names the object: every flipped bit and every truncation.
#pragma once

#include "base/bytes.h"
#include "base/error.h"

#include <gtest/gtest.h>
#include <string>

namespace pgvigil::test {

inline bool is_damage_report(const Error &error, const std::string &name) {
    return (error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported) &&
           error.message().find(name) != std::string::npos;
}

// `read(bytes)` decodes and returns true when what came out equals the original. A damaged object must be refused by an
// error that names it, or (compressed streams hold a few bits that carry nothing) read as the original.
template <class Read> void expect_damage_is_found(const Bytes &object, const std::string &name, const Read &read) {
    const auto check = [&](ByteView bytes, const std::string &what) {
        try {
            EXPECT_TRUE(read(bytes)) << what << " went unseen";
        } catch (const Error &error) {
            EXPECT_TRUE(is_damage_report(error, name)) << what << ": " << error.message();
        }
    };
    for (size_t bit = 0; bit < object.size() * 8; ++bit) {
        Bytes flipped = object;
        flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        check(flipped, "flipped bit " + std::to_string(bit));
    }
    for (size_t length = 0; length < object.size(); ++length) {
        try {
            (void)read(ByteView(object).first(length));
            ADD_FAILURE() << "truncation to " << length << " bytes went unseen";
        } catch (const Error &error) {
            EXPECT_TRUE(is_damage_report(error, name)) << "truncated to " << length << ": " << error.message();
        }
    }
    Bytes longer = object;
    longer.push_back(std::byte{0});
    EXPECT_THROW((void)read(ByteView(longer)), Error) << "a byte too many went unseen";
}

} // namespace pgvigil::test
