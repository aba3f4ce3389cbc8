/* The hash by which ids are looked up; of the same bytes the same on every machine. */

#include <stdint.h>
#include <string.h>

static inline uint64_t hash_of(const unsigned char *p, size_t size) {
    const uint64_t odd = 0x9E3779B97F4A7C15u;
    uint64_t hash = size, eight;
    for (; size >= 8; p += 8, size -= 8) {
        memcpy(&eight, p, 8);
        hash = (hash ^ eight) * odd;
        hash ^= hash >> 32;
    }
    eight = 0;
    memcpy(&eight, p, size);
    hash = (hash ^ eight) * odd;
    return hash ^ hash >> 32;
}
