#include "transfer/restore_crc.h"

namespace pgvigil {

namespace {

constexpr uint32_t kPolynomial = 0x82f63b78; // Castagnoli, bits reversed
constexpr uint32_t kOne = uint32_t{1} << 31; // x^0 in that order

// a * b modulo the polynomial.
uint32_t multiply(uint32_t a, uint32_t b) noexcept {
    uint32_t product = 0;
    for (uint32_t bit = kOne; bit != 0; bit >>= 1) {
        if ((a & bit) != 0)
            product ^= b;
        b = (b & 1) != 0 ? (b >> 1) ^ kPolynomial : b >> 1;
    }
    return product;
}

// x^(8 * bytes) modulo the polynomial: what following `bytes` do to a checksum.
uint32_t shift_by(uint64_t bytes) noexcept {
    uint32_t power = kOne >> 8; // x^8
    uint32_t result = kOne;
    for (; bytes != 0; bytes >>= 1) {
        if ((bytes & 1) != 0)
            result = multiply(power, result);
        power = multiply(power, power);
    }
    return result;
}

} // namespace

uint32_t crc32c_join(uint32_t a, uint32_t b, uint64_t length_of_b) noexcept {
    return multiply(shift_by(length_of_b), a) ^ b;
}

uint32_t crc32c_of_zeroes(uint64_t length) noexcept {
    // A checksum starts with all bits set and is inverted at its end.
    return multiply(shift_by(length), 0xffffffff) ^ 0xffffffff;
}

} // namespace pgvigil
