/* The hash by which ids are looked up. It depends on a seed, so that nobody can write a dump whose ids collide. */

#ifndef BUDGET_CLI_HASH_H
#define BUDGET_CLI_HASH_H

#include "portable.h"

typedef struct {
    uint64_t first, second;
} Seed;

/* Both halves of a product: without one of the factors, no bit of it is known. */
static inline uint64_t folded(uint64_t a, uint64_t b) {
    Wide product = (Wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_of(Text p, size_t size, Seed seed) {
    uint64_t state = seed.first ^ size, a = 0, b = 0;
    for (; size > 16; p += 16, size -= 16) state = folded(load8(p) ^ seed.second, load8(p + 8) ^ state);
    if (size >= 8) {
        a = load8(p);
        b = load8(p + size - 8); /* what overlaps counts twice */
    } else if (size) {
        memcpy(&a, p, size);
    }
    return folded(a ^ seed.second, b ^ state);
}

#endif
