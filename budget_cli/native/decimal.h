/* A number in JSON -> the double nearest to it, ties to even, whatever the locale.

A newline must stand before `limit`: no number holds one, so it ends every loop. Eight bytes are loaded at once only if
they end before `limit`. Call decimal_init once, before the first number. */

#ifndef BUDGET_CLI_DECIMAL_H
#define BUDGET_CLI_DECIMAL_H

#include <stdlib.h>
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif
#if defined(_POSIX_VERSION) && _POSIX_VERSION >= 200809L
#define HAS_C_LOCALE 1 /* uselocale: a thread may use strtod in the locale "C", whatever the locale of the process */
#include <locale.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif
#endif

#include "portable.h"

#ifdef HAS_C_LOCALE
static locale_t c_locale; /* made once, never freed */

/* Returns false if there is no memory. */
static MAYBE_UNUSED int decimal_init(void) {
    if (!c_locale) c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return c_locale != (locale_t)0;
}

static int library_value(const char *text, double *value) {
    locale_t before = uselocale(c_locale);
    *value = strtod(text, NULL);
    uselocale(before);
    return 1;
}
#else
static MAYBE_UNUSED int decimal_init(void) { return 1; }

/* Here strtod may expect a decimal comma, so such numbers are not read. */
static int library_value(const char *text, double *value) {
    (void)text, (void)value;
    return 0;
}
#endif

enum { MOST_FIVES = 27 }; /* 5^27 is the last power below 2^64 */

static const uint64_t POWERS_OF_FIVE[MOST_FIVES + 1] = {
    0x1u,             0x5u,              0x19u,              0x7du,
    0x271u,           0xc35u,            0x3d09u,            0x1312du,
    0x5f5e1u,         0x1dcd65u,         0x9502f9u,          0x2e90eddu,
    0xe8d4a51u,       0x48c27395u,       0x16bcc41e9u,       0x71afd498du,
    0x2386f26fc1u,    0xb1a2bc2ec5u,     0x3782dace9d9u,     0x1158e460913du,
    0x56bc75e2d631u,  0x1b1ae4d6e2ef5u,  0x878678326eac9u,   0x2a5a058fc295edu,
    0xd3c21bcecceda1u, 0x422ca8b0a00a425u, 0x14adf4b7320334b9u, 0x6765c793fa10079du};

static const double POWERS_OF_TEN[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* significand * 10^exponent, for |exponent| <= MOST_FIVES and a significand that is not 0.

10^e = 2^e * 5^e, and 5^|e| fits 64 bits, so the product or the quotient is known exactly: its first 63 bits or more,
and whether anything follows them. It is rounded once, half to even. */
static double scaled(uint64_t significand, int exponent) {
    uint64_t five = POWERS_OF_FIVE[exponent < 0 ? -exponent : exponent], first;
    int shift = __builtin_clzll(significand), five_shift = __builtin_clzll(five), binary, follows;
    significand <<= shift;
    five <<= five_shift;
    if (exponent < 0) {
        Wide numerator = (Wide)significand << 63;
        first = (uint64_t)(numerator / five);
        follows = numerator != (Wide)first * five;
        binary = exponent - shift + five_shift - 63;
    } else {
        Wide product = (Wide)significand * five;
        first = (uint64_t)(product >> 64);
        follows = (uint64_t)product != 0;
        binary = exponent - shift - five_shift + 64;
    }
    shift = __builtin_clzll(first); /* 0 or 1 */
    first <<= shift;
    uint64_t mantissa = first >> 11, below = first & 0x7FF;
    mantissa += below > 0x400 || (below == 0x400 && (follows || (mantissa & 1)));
    uint64_t bits = ((uint64_t)(binary - shift + 11 + 52 + 1023) << 52) + (mantissa - (1ull << 52));
    double value;
    memcpy(&value, &bits, 8);
    return value;
}

/* Appends digits to the significand, eight at a time while there are eight. It may overflow: the caller counts them. */
static inline Text digits(Text p, Text limit, uint64_t *significand) {
    uint64_t sum = *significand;
    while (limit - p >= 8) {
        uint64_t eight = load8(p);
        if (((eight & (ONES * 0xF0)) | ((eight + ONES * 6) & (ONES * 0xF0)) >> 4) != ONES * 0x33) break; /* no digit */
        eight -= ONES * '0';
        eight = eight * 10 + (eight >> 8); /* in pairs, then in fours, then all */
        eight = ((eight & 0x000000FF000000FFu) * 0x000F424000000064u +
                 ((eight >> 16) & 0x000000FF000000FFu) * 0x0000271000000001u) >> 32;
        sum = sum * 100000000u + (uint32_t)eight;
        p += 8;
    }
    while (is_digit(*p)) sum = sum * 10 + (*p++ - '0');
    *significand = sum;
    return p;
}

/* Puts the value of the number at `p` and returns the place after it; NULL if it is not a number, or one that is not
read here (hard to round, and of more than 63 characters). The value is infinite if it is beyond a double. */
static MAYBE_UNUSED Text decimal(Text p, Text limit, double *value) {
    Text begin = p, first, dot = NULL;
    uint64_t significand = 0;
    int negative = *p == '-', exponent = 0;
    p += negative;
    first = p;
    p = digits(p, limit, &significand);
    if (p == first || (*first == '0' && p - first > 1)) return NULL;
    if (!significand && *p != '.' && *p != 'e' && *p != 'E') negative = 0; /* the integer -0 is 0 */
    ptrdiff_t count = p - first;
    if (*p == '.') {
        dot = ++p;
        p = digits(p, limit, &significand);
        if (p == dot) return NULL;
        exponent = -(int)(p - dot > 10000 ? 10000 : p - dot);
        count += p - dot;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        int sign = *p == '-' ? -1 : 1, power = 0;
        if (*p == '+' || *p == '-') p++;
        if (!is_digit(*p)) return NULL;
        for (; is_digit(*p); p++) power = power < 10000 ? power * 10 + (*p - '0') : power;
        exponent += sign * power;
    }
    if (count > 19) { /* leading zeros are no significant digits: 0.00012… */
        for (Text q = first; *q == '0' || *q == '.'; q++) count -= *q == '0';
    }
    if (LIKELY(count <= 19 && exponent >= -MOST_FIVES && exponent <= MOST_FIVES)) {
        double magnitude = (double)significand;
        if (significand > 1ull << 53 || exponent < -22 || exponent > 22)
            magnitude = significand ? scaled(significand, exponent) : 0;
        else /* both exact, so one rounding (Clinger, "How to Read Floating Point Numbers Accurately", 1990) */
            magnitude = exponent < 0 ? magnitude / POWERS_OF_TEN[-exponent] : magnitude * POWERS_OF_TEN[exponent];
        *value = negative ? -magnitude : magnitude;
        return p;
    }
    char text[64]; /* rare, and left to the C library, which needs a terminating zero */
    if (p - begin >= (ptrdiff_t)sizeof text) return NULL;
    memcpy(text, begin, p - begin);
    text[p - begin] = 0;
    return library_value(text, value) ? p : NULL;
}

#endif
