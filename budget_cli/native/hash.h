/* The hash by which ids are looked up. The same bytes have the same hash on every machine. */

#ifndef BUDGET_CLI_HASH_H
#define BUDGET_CLI_HASH_H

#include "portable.h"

static inline uint64_t hash_of(Text p, size_t size) {
    const uint64_t multiplier = 0x9E3779B97F4A7C15u; /* odd, hence a bijection: 2^64 over the golden ratio */
    uint64_t hash = size, eight;
    for (; size >= 8; p += 8, size -= 8) {
        hash = (hash ^ load8(p)) * multiplier;
        hash ^= hash >> 32;
    }
    eight = 0;
    if (size) memcpy(&eight, p, size);
    hash = (hash ^ eight) * multiplier;
    return hash ^ hash >> 32;
}

#endif
