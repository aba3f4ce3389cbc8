/* What the C parts take from the compiler, the machine and the C library. All that is not portable is stated here. */

#ifndef BUDGET_CLI_PORTABLE_H
#define BUDGET_CLI_PORTABLE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Where one of these fails, the extension is not compiled, and the installation goes on with the reference reader. */
#if !defined(__GNUC__) || !defined(__SIZEOF_INT128__)
#error "needs the builtins and the 128-bit integers of GCC or Clang"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "needs a little-endian machine: eight bytes are loaded at once, and the first must be the lowest"
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define NO_INLINE __attribute__((noinline))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define MAYBE_UNUSED __attribute__((unused)) /* of a header: not every file that includes it calls every function */

typedef unsigned __int128 Wide;
typedef const unsigned char *Text;

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u

static inline uint64_t load8(Text p) {
    uint64_t eight;
    memcpy(&eight, p, 8);
    return eight;
}

static inline int is_digit(unsigned c) { return c - '0' < 10; }

#endif
