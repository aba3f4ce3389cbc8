/* Bytes -> their BLAKE2b digest of 16 bytes (RFC 7693), without a key. */

#ifndef BUDGET_CLI_BLAKE2B_H
#define BUDGET_CLI_BLAKE2B_H

#include "portable.h"

enum { DIGEST_BYTES = 16, HASH_BLOCK = 128 };

typedef struct {
    uint64_t state[8], size; /* bytes so far, those in `block` included */
    unsigned char block[HASH_BLOCK];
    size_t filled; /* of `block` */
} Blake2b;

static const uint64_t HASH_START[8] = {0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu,
                                       0xa54ff53a5f1d36f1u, 0x510e527fade682d1u, 0x9b05688c2b3e6c1fu,
                                       0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u};

static const unsigned char HASH_ORDER[12][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3}};

static inline uint64_t turned(uint64_t word, int bits) { return word >> bits | word << (64 - bits); }

static ALWAYS_INLINE void hash_mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x;
    v[d] = turned(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = turned(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 63);
}

static void hash_block(Blake2b *hash, int last) {
    uint64_t v[16], words[16];
    memcpy(words, hash->block, HASH_BLOCK); /* little-endian, as portable.h requires */
    memcpy(v, hash->state, sizeof hash->state);
    memcpy(v + 8, HASH_START, sizeof HASH_START);
    v[12] ^= hash->size; /* data of 2^64 bytes does not occur */
    if (last) v[14] = ~v[14];
    for (int round = 0; round < 12; round++) {
        const unsigned char *at = HASH_ORDER[round];
        hash_mix(v, 0, 4, 8, 12, words[at[0]], words[at[1]]);
        hash_mix(v, 1, 5, 9, 13, words[at[2]], words[at[3]]);
        hash_mix(v, 2, 6, 10, 14, words[at[4]], words[at[5]]);
        hash_mix(v, 3, 7, 11, 15, words[at[6]], words[at[7]]);
        hash_mix(v, 0, 5, 10, 15, words[at[8]], words[at[9]]);
        hash_mix(v, 1, 6, 11, 12, words[at[10]], words[at[11]]);
        hash_mix(v, 2, 7, 8, 13, words[at[12]], words[at[13]]);
        hash_mix(v, 3, 4, 9, 14, words[at[14]], words[at[15]]);
    }
    for (int i = 0; i < 8; i++) hash->state[i] ^= v[i] ^ v[i + 8];
    hash->filled = 0;
}

static MAYBE_UNUSED void hash_begin(Blake2b *hash) {
    memset(hash, 0, sizeof *hash);
    memcpy(hash->state, HASH_START, sizeof HASH_START);
    hash->state[0] ^= 0x01010000u ^ DIGEST_BYTES; /* one sequence, no key */
}

static MAYBE_UNUSED void hash_add(Blake2b *hash, const void *bytes, size_t size) {
    const char *from = bytes;
    while (size) {
        if (hash->filled == HASH_BLOCK) hash_block(hash, 0);
        size_t part = HASH_BLOCK - hash->filled < size ? HASH_BLOCK - hash->filled : size;
        memcpy(hash->block + hash->filled, from, part);
        hash->filled += part;
        hash->size += part;
        from += part;
        size -= part;
    }
}

/* Puts the digest in hexadecimal, 32 characters. */
static MAYBE_UNUSED void hash_end(Blake2b *hash, char *hexadecimal) {
    memset(hash->block + hash->filled, 0, HASH_BLOCK - hash->filled);
    hash_block(hash, 1);
    const unsigned char *digest = (const unsigned char *)hash->state;
    for (int i = 0; i < DIGEST_BYTES; i++) {
        hexadecimal[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hexadecimal[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
}

#endif
