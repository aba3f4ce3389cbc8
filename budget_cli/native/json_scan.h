/* A text in JSON -> where each of its tokens and values ends, every byte checked: the grammar, UTF-8, escapes.

Each function takes the place where a token begins and returns the place after it, or NULL if it is not valid. The text
must end with a newline, at limit[-1]: no token holds one, so it ends every loop. */

#ifndef BUDGET_CLI_JSON_SCAN_H
#define BUDGET_CLI_JSON_SCAN_H

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "portable.h"

enum { MAX_DEPTH = 256 };

static inline Text skip_space(Text p) {
    while (*p == ' ' || *p == '\t' || *p == '\r') p++;
    return p;
}

static const unsigned char ESCAPES[256] = {['"'] = 1, ['\\'] = 1, ['/'] = 1, ['b'] = 1,
                                           ['f'] = 1, ['n'] = 1,  ['r'] = 1, ['t'] = 1};
static const signed char HEX[256] = { /* the value of a digit, plus one; 0 for any other byte */
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16};

static inline int hex_digits(Text p) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
        if (!HEX[p[i]]) return -1;
        value = value * 16 + HEX[p[i]] - 1;
    }
    return value;
}

/* `p` is at the backslash. Half of a surrogate pair is not valid. */
static inline Text escape_end(Text p) {
    if (LIKELY(ESCAPES[p[1]])) return p + 2;
    if (p[1] != 'u') return NULL;
    int unit = hex_digits(p + 2);
    if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) return NULL;
    if (unit < 0xD800 || unit > 0xDBFF) return p + 6;
    if (p[6] != '\\' || p[7] != 'u') return NULL;
    unit = hex_digits(p + 8);
    return unit >= 0xDC00 && unit <= 0xDFFF ? p + 12 : NULL;
}

/* Puts the character of the escape at `p` in UTF-8, at most four bytes, and their number; returns the escape's end. */
static MAYBE_UNUSED Text unescaped(Text p, char *bytes, int *size) {
    static const char SIMPLE[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                     ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
    *size = 1;
    if (p[1] != 'u') {
        bytes[0] = SIMPLE[p[1]];
        return p + 2;
    }
    int character = hex_digits(p + 2);
    p += 6;
    if (character >= 0xD800 && character <= 0xDBFF) {
        character = 0x10000 + ((character - 0xD800) << 10) + (hex_digits(p + 2) - 0xDC00);
        p += 6;
    }
    if (character < 0x80) {
        bytes[0] = (char)character;
    } else if (character < 0x800) {
        *size = 2;
        bytes[0] = (char)(0xC0 | character >> 6);
    } else if (character < 0x10000) {
        *size = 3;
        bytes[0] = (char)(0xE0 | character >> 12);
    } else {
        *size = 4;
        bytes[0] = (char)(0xF0 | character >> 18);
    }
    for (int i = 1; i < *size; i++) bytes[i] = (char)(0x80 | ((character >> 6 * (*size - 1 - i)) & 0x3F));
    return p;
}

/* One character of two bytes or more (The Unicode Standard, table 3-7). */
static inline Text utf8_end(Text p) {
    unsigned c = p[0];
#define TAIL(i) ((p[i] & 0xC0) == 0x80)
    if (c >= 0xC2 && c <= 0xDF) return TAIL(1) ? p + 2 : NULL;
    if (c >= 0xE0 && c <= 0xEF) {
        if ((c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F)) return NULL;
        return TAIL(1) && TAIL(2) ? p + 3 : NULL;
    }
    if (c >= 0xF0 && c <= 0xF4) {
        if ((c == 0xF0 && p[1] < 0x90) || (c == 0xF4 && p[1] > 0x8F)) return NULL;
        return TAIL(1) && TAIL(2) && TAIL(3) ? p + 4 : NULL;
    }
    return NULL;
#undef TAIL
}

/* Marks each of the STRIDE bytes at `p` that ends a run of plain characters: a quote, a backslash, a control character,
a byte of 0x80 or above. */
#ifdef __SSE2__
enum { STRIDE = 16 };
static inline unsigned long long stops(Text p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i other = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)); /* signed: 0x80 and above, too */
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), other));
}
static inline int first_stop(unsigned long long found) { return __builtin_ctzll(found); }
#else
enum { STRIDE = 8 };
static inline uint64_t zero_bytes(uint64_t x) { return (x - ONES) & ~x & HIGHS; }
static inline unsigned long long stops(Text p) {
    uint64_t eight = load8(p);
    uint64_t found = zero_bytes(eight ^ (ONES * '"')) | zero_bytes(eight ^ (ONES * '\\'));
    return found | ((eight - ONES * 0x20) & ~eight & HIGHS) | (eight & HIGHS);
}
/* The lowest mark is exact: a borrow disturbs only those above it. */
static inline int first_stop(unsigned long long found) { return __builtin_ctzll(found) >> 3; }
#endif

/* One or more escapes, or characters of several bytes; NULL at a byte that no string holds. */
static Text special_end(Text p, int *escaped) {
    if (*p == '\\') {
        *escaped = 1;
        do p = escape_end(p);
        while (p && *p == '\\');
    } else {
        do p = *p >= 0x80 ? utf8_end(p) : NULL; /* a newline ends here, too */
        while (p && *p >= 0x80);
    }
    return p;
}

#ifdef __SSE2__
/* Of the 64 bytes at a place, a bit each: the quotes, the backslashes, the bytes below 0x20 or of 0x80 and above. */
typedef struct {
    uint64_t quotes, slashes, others;
} Marks;

static inline Marks marks_by_16(Text p) {
    __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    Marks marks = {0, 0, 0};
    for (int i = 0; i < 64; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(p + i));
        marks.quotes |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, quote)) << i;
        marks.slashes |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, slash)) << i;
        marks.others |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmplt_epi8(bytes, space)) << i; /* signed: see `stops` */
    }
    return marks;
}

/* Returns how many of the 64 bytes are plain or belong to a simple escape, and puts whether a quote follows them. A
simple escape costs a few instructions, without a branch on where the next one is. */
static inline int plain_bytes(Marks marks, Text p, int *closed, int *escaped) {
    int end = marks.others ? __builtin_ctzll(marks.others) : 64;
    while (marks.slashes) {
        int at = __builtin_ctzll(marks.slashes);
        if (at >= end || marks.quotes << (63 - at) << 1) break; /* a quote ended the string before it */
        if (at == 63 || !ESCAPES[p[at + 1]]) {
            end = at;
            break;
        }
        *escaped = 1;
        marks.quotes &= ~(2ull << at);
        marks.slashes &= ~(3ull << at);
    }
    int quote = marks.quotes ? __builtin_ctzll(marks.quotes) : 64;
    *closed = quote < end;
    return *closed ? quote : end;
}

/* Moves over whole steps of 64 bytes of a string. Returns after its closing quote, or near the limit with `closed`
unset; NULL if the string is not valid. `marks_of` is a constant at each call. */
static ALWAYS_INLINE Text long_steps(Text p, Text limit, int *closed, int *escaped, Marks (*marks_of)(Text)) {
    *closed = 0;
    while (limit - p >= 64) {
        int plain = plain_bytes(marks_of(p), p, closed, escaped);
        p += plain;
        if (*closed) return p + 1;
        if (plain < 64 && !(p = special_end(p, escaped))) return NULL;
    }
    return p;
}

NO_INLINE static Text steps_by_16(Text p, Text limit, int *closed, int *escaped) {
    return long_steps(p, limit, closed, escaped, marks_by_16);
}

#ifdef __x86_64__
/* The same, where the processor has AVX2: half as many instructions. */
__attribute__((target("avx2"))) static inline Marks marks_by_32(Text p) {
    __m256i quote = _mm256_set1_epi8('"'), slash = _mm256_set1_epi8('\\'), space = _mm256_set1_epi8(0x20);
    Marks marks = {0, 0, 0};
    for (int i = 0; i < 64; i += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(p + i));
        marks.quotes |= (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, quote)) << i;
        marks.slashes |= (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, slash)) << i;
        marks.others |= (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(space, bytes)) << i;
    }
    return marks;
}

__attribute__((target("avx2"))) NO_INLINE static Text steps_by_32(Text p, Text limit, int *closed, int *escaped) {
    return long_steps(p, limit, closed, escaped, marks_by_32);
}
#endif

static Text string_end(Text p, Text limit, int *escaped);

/* The rest of a string of more than a few bytes. Not inlined, so that short strings take few instructions. */
NO_INLINE static Text long_string_end(Text p, Text limit, int *escaped) {
    int closed;
#ifdef __x86_64__
    p = __builtin_cpu_supports("avx2") ? steps_by_32(p, limit, &closed, escaped)
                                       : steps_by_16(p, limit, &closed, escaped);
#else
    p = steps_by_16(p, limit, &closed, escaped);
#endif
    return closed || !p ? p : string_end(p, limit, escaped);
}
#endif

/* From after the opening quote to after the closing one; sets `escaped` if there is an escape. */
static Text string_end(Text p, Text limit, int *escaped) {
    for (;;) {
        while (LIKELY(limit - p >= STRIDE)) {
            unsigned long long found = stops(p);
            if (found) {
                p += first_stop(found);
                break;
            }
            p += STRIDE;
#ifdef __SSE2__
            if (limit - p >= 64) return long_string_end(p, limit, escaped);
#endif
        }
        if (*p == '"') return p + 1;
        if (*p != '\\' && *p >= 0x20 && *p < 0x80) p++; /* near the limit */
        else if (!(p = special_end(p, escaped))) return NULL;
    }
}

static Text digits_end(Text p) {
    if (!is_digit(*p)) return NULL;
    while (is_digit(*p)) p++;
    return p;
}

static Text number_end(Text p) {
    if (*p == '-') p++;
    if (*p == '0') p++;
    else if (!(p = digits_end(p))) return NULL;
    if (*p == '.' && !(p = digits_end(p + 1))) return NULL;
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-') p++;
        p = digits_end(p);
    }
    return p;
}

static Text word_end(Text p, Text limit, const char *word, size_t size) {
    return limit - p >= (ptrdiff_t)size && !memcmp(p, word, size) ? p + size : NULL;
}

static Text scalar_end(Text p, Text limit) {
    int escaped = 0;
    switch (*p) {
    case '"': return string_end(p + 1, limit, &escaped);
    case 't': return word_end(p, limit, "true", 4);
    case 'f': return word_end(p, limit, "false", 5);
    case 'n': return word_end(p, limit, "null", 4);
    default: return number_end(p);
    }
}

/* From the quote of a key, over its colon, to where its value begins. */
static Text key_end(Text p, Text limit, int *escaped) {
    if (*p != '"' || !(p = string_end(p + 1, limit, escaped))) return NULL;
    p = skip_space(p);
    return *p == ':' ? skip_space(p + 1) : NULL;
}

/* Any value of up to MAX_DEPTH levels; NULL for a deeper one. Without recursion: data cannot exhaust the stack. */
static MAYBE_UNUSED Text value_end(Text p, Text limit) {
    uint64_t in_object[MAX_DEPTH / 64];
    int depth = 0, escaped = 0;
    for (;;) {
        if (*p == '{' || *p == '[') {
            int object = *p == '{';
            if (depth == MAX_DEPTH) return NULL;
            p = skip_space(p + 1);
            if (*p == (object ? '}' : ']')) {
                p++;
            } else {
                uint64_t bit = 1ull << (depth % 64);
                in_object[depth / 64] = (depth % 64 ? in_object[depth / 64] & ~bit : 0) | (object ? bit : 0);
                depth++;
                if (object && !(p = key_end(p, limit, &escaped))) return NULL;
                continue;
            }
        } else if (!(p = scalar_end(p, limit))) {
            return NULL;
        }
        for (;;) { /* after a value */
            if (!depth) return p;
            int object = in_object[(depth - 1) / 64] >> ((depth - 1) % 64) & 1;
            p = skip_space(p);
            if (*p == ',') {
                p = skip_space(p + 1);
                if (object && !(p = key_end(p, limit, &escaped))) return NULL;
                break;
            }
            if (*p != (object ? '}' : ']')) return NULL;
            p++;
            depth--;
        }
    }
}

#endif
