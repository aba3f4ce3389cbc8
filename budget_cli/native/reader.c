/* A block of JSON lines -> columns of numbers, by the fields of a compiled tree. Strict, and silent about reasons.

A line is either understood whole, every byte of it checked (the grammar, UTF-8, escapes, the types of the fields), and
adds a value to each column; or it is odd, and its place is given back for the careful reading in Python, which knows the
reasons. So nothing here decides what is valid: where in doubt, a line is odd.

The newline that ends a line is no part of any token, so it stops every loop below; the caller ends a last line that
lacks it. Memory is kept from block to block: fresh pages would cost a fifth of the time. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "hash.h"

#if defined(__GNUC__)
#define LIKELY(x) __builtin_expect(!!(x), 1)
#else
#error "needs the 128-bit integers and builtins of GCC and Clang"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "reads eight bytes at a time, the first of them lowest"
#endif

typedef const unsigned char *Text;
typedef unsigned __int128 Wide;

enum { MAX_DEPTH = 256, MAX_CHILDREN = 64 };

/* What a slot takes, as in compiled.py. A sequence is a number or a list of them, summed; of the plurals an element is a
row; a span is any value, unread. */
enum Kind { KEY, NUMBER, WHOLE, SEQUENCE, NUMBERS, WHOLES, SPAN };

enum State { VALUE, MISSING, IS_NULL, LIST, UNUSABLE };

/* ---- columns */

typedef struct {
    char *data;
    size_t size, capacity; /* bytes */
    int failed;            /* no memory; told once the block is read */
} Column;

static void push(Column *column, const void *bytes, size_t size) {
    if (column->size + size > column->capacity) {
        size_t capacity = column->capacity ? 2 * column->capacity : 4096;
        char *data = realloc(column->data, capacity);
        if (!data) {
            column->failed = 1;
            return;
        }
        column->data = data;
        column->capacity = capacity;
    }
    memcpy(column->data + column->size, bytes, size);
    column->size += size;
}

static void push_integer(Column *column, int64_t value) { push(column, &value, sizeof value); }

typedef struct {
    Text text;
    size_t size;
    uint64_t hash;
} Id;

typedef struct {
    double sum, lost, doubt; /* a running sum, what its roundings lost, and at most how much that sum lost in turn */
    int64_t count;
} Sum;

typedef struct {
    int kind;
    int joins;   /* its path goes through a list: log-probs are joined, numbers added */
    int lenient; /* a value of another type is only unusable, and does not make the line odd */

    /* of the line being read */
    int state;
    double value;
    Sum sum;
    Text text, text_end; /* of a key or a span */
    int64_t count;       /* of a plural: its rows */

    /* of the block, an entry a line; nothing is stored before the first line that has something */
    int seen;
    uint8_t *states;
    int64_t *values; /* doubles; of a key its place among the distinct ones; of a span two offsets */
    int64_t *counts; /* of a sequence its tokens, -1 for a number that is no list; of a plural its rows */
    Column rows;     /* double, of a plural */
    size_t rows_before;

    Column ids;      /* Id: the distinct keys, first seen first */
    int64_t *places; /* by hash, open addressing; -1: free */
    size_t room;     /* of `places`, a power of two */
} Slot;

typedef struct {
    char *key;   /* with its closing quote, as it stands in the text */
    size_t size; /* of that */
    uint64_t head, mask; /* its first eight bytes, or all where it has fewer */
    uint64_t tail;       /* its last eight, where it has more */
    int each;    /* its value is a list: go on in every element */
    int slot;    /* of its value; -1: none */
    int span;    /* the slot that is to know where its value stands; -1: none */
    int first_child, children;
} Node;

typedef struct {
    PyObject_HEAD
    Node *nodes; /* nodes[0] is the record */
    Slot *slots;
    int node_count, slot_count;
    size_t line_count, line_room; /* in the columns; what their arrays have room for */
    int failed;                   /* no memory for them */
    Column lines; /* int64, the number of each line that is in the columns */
    Column odd;   /* int64, number, start and end of each line that is not */
    Text limit;   /* of the block: eight bytes may be loaded where they end before it */
    int busy;     /* reading, without the interpreter's lock */
} Reader;

/* ---- tokens: each takes the place where the token begins and gives the place after it, or NULL */

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u

static inline uint64_t load(Text p) {
    uint64_t eight;
    memcpy(&eight, p, 8);
    return eight;
}

static inline Text skip_space(Text p) {
    while (*p == ' ' || *p == '\t' || *p == '\r') p++;
    return p;
}

static const unsigned char ESCAPES[256] = {['"'] = 1, ['\\'] = 1, ['/'] = 1, ['b'] = 1,
                                           ['f'] = 1, ['n'] = 1,  ['r'] = 1, ['t'] = 1};
static const signed char HEX[256] = { /* a digit's value and one; 0: it is none */
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

/* From the backslash. Half of a surrogate pair is none. */
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

/* One character of two bytes or more, as The Unicode Standard has them (table 3-7). */
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

/* Whether one of the bytes at `p` ends the plain part of a string: a quote, a backslash, what is no ASCII or no text. */
#ifdef __SSE2__
enum { STRIDE = 16 };
static inline unsigned long long stops(Text p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i other = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)); /* signed: from 0x80 on, too */
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), other));
}
static inline int first_stop(unsigned long long found) { return __builtin_ctzll(found); }
#else
enum { STRIDE = 8 };
static inline uint64_t zero_bytes(uint64_t x) { return (x - ONES) & ~x & HIGHS; }
static inline unsigned long long stops(Text p) {
    uint64_t eight = load(p);
    uint64_t found = zero_bytes(eight ^ (ONES * '"')) | zero_bytes(eight ^ (ONES * '\\'));
    return found | ((eight - ONES * 0x20) & ~eight & HIGHS) | (eight & HIGHS);
}
/* The lowest is exact: a borrow only disturbs what is above it. */
static inline int first_stop(unsigned long long found) { return __builtin_ctzll(found) >> 3; }
#endif

/* One or more characters of a string that are not plain, of the same kind; NULL for what no string holds. */
static Text special_end(Text p, int *escaped) {
    if (*p == '\\') {
        *escaped = 1;
        do p = escape_end(p);
        while (p && *p == '\\');
    } else {
        do p = *p >= 0x80 ? utf8_end(p) : NULL; /* a newline, too, ends here */
        while (p && *p >= 0x80);
    }
    return p;
}

#ifdef __SSE2__
static inline uint64_t where(const __m128i *four, __m128i (*of)(__m128i)) {
    uint64_t found = 0;
    for (int i = 0; i < 4; i++) found |= (uint64_t)(unsigned)_mm_movemask_epi8(of(four[i])) << 16 * i;
    return found;
}
static inline __m128i is_quote(__m128i bytes) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')); }
static inline __m128i is_slash(__m128i bytes) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')); }
static inline __m128i is_other(__m128i bytes) { return _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)); } /* see `stops` */

/* 64 bytes of a string at once: simple escapes cost a few instructions and no guess of where the next one is. Gives how
many bytes are plain or simply escaped, and in `closed` whether a quote comes after them. */
static inline int plain_bytes(Text p, int *closed, int *escaped) {
    __m128i four[4];
    for (int i = 0; i < 4; i++) four[i] = _mm_loadu_si128((const __m128i *)(p + 16 * i));
    uint64_t quotes = where(four, is_quote), slashes = where(four, is_slash), others = where(four, is_other);
    int end = others ? __builtin_ctzll(others) : 64;
    while (slashes) {
        int at = __builtin_ctzll(slashes);
        if (at >= end || quotes << (63 - at) << 1) break; /* a quote before it ends the string */
        if (at == 63 || !ESCAPES[p[at + 1]]) {
            end = at;
            break;
        }
        *escaped = 1;
        quotes &= ~(2ull << at);
        slashes &= ~(3ull << at);
    }
    int quote = quotes ? __builtin_ctzll(quotes) : 64;
    *closed = quote < end;
    return *closed ? quote : end;
}

static Text string_end(Text p, Text limit, int *escaped);

/* The rest of a string of more than a few bytes; kept apart, so that short ones stay in few instructions. */
__attribute__((noinline)) static Text long_string_end(Text p, Text limit, int *escaped) {
    while (limit - p >= 64) {
        int closed, plain = plain_bytes(p, &closed, escaped);
        p += plain;
        if (closed) return p + 1;
        if (plain < 64 && !(p = special_end(p, escaped))) return NULL;
    }
    return string_end(p, limit, escaped);
}
#endif

/* From after the opening quote to after the closing one. */
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

static inline int is_digit(unsigned c) { return c - '0' < 10; }

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
    return limit - p >= (Py_ssize_t)size && !memcmp(p, word, size) ? p + size : NULL;
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

/* A key and its colon, from the quote: to where the value begins. */
static Text key_end(Text p, Text limit, int *escaped) {
    if (*p != '"' || !(p = string_end(p + 1, limit, escaped))) return NULL;
    p = skip_space(p);
    return *p == ':' ? skip_space(p + 1) : NULL;
}

/* Any value. Depth is bounded, so that nothing recurses over the data. */
static Text value_end(Text p, Text limit) {
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

/* ---- numbers: correctly rounded */

static uint64_t powers_of_five[28]; /* 5^27 is the last below 2^64 */

/* significand * 10^exponent for |exponent| <= 27 and a significand that is not 0.

10^e = 2^e * 5^e, and 5^|e| fits 64 bits, so the product, or the quotient, is had exactly: its first 63 bits or more, and
whether anything follows. Hence one rounding, half to even. */
static double scaled(uint64_t significand, int exponent) {
    uint64_t five = powers_of_five[exponent < 0 ? -exponent : exponent], first;
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

static const double POWERS_OF_TEN[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Digits, eight at a time where there are eight: added to the significand, which may overflow (the caller counts). */
static inline Text digits(Text p, Text limit, uint64_t *significand) {
    uint64_t sum = *significand;
    while (limit - p >= 8) {
        uint64_t eight = load(p);
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

/* A number and its value; inf or more than a double holds is for the caller to refuse. */
static Text number(Text p, Text limit, double *value) {
    Text begin = p, first, dot = NULL;
    uint64_t significand = 0;
    int negative = *p == '-', exponent = 0;
    p += negative;
    first = p;
    p = digits(p, limit, &significand);
    if (p == first || (*first == '0' && p - first > 1)) return NULL;
    if (!significand && *p != '.' && *p != 'e' && *p != 'E') negative = 0; /* as an integer, -0 is 0 */
    Py_ssize_t count = p - first;
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
    if (LIKELY(count <= 19 && exponent >= -27 && exponent <= 27)) {
        double magnitude = (double)significand;
        if (significand > 1ull << 53 || exponent < -22 || exponent > 22)
            magnitude = significand ? scaled(significand, exponent) : 0;
        else /* both exact, so one rounding (Clinger, "How to Read Floating Point Numbers Accurately", 1990) */
            magnitude = exponent < 0 ? magnitude / POWERS_OF_TEN[-exponent] : magnitude * POWERS_OF_TEN[exponent];
        *value = negative ? -magnitude : magnitude;
        return p;
    }
    char text[64]; /* rare: with its end marked, for the C library */
    if (p - begin >= (Py_ssize_t)sizeof text) return NULL;
    memcpy(text, begin, p - begin);
    text[p - begin] = 0;
    *value = strtod(text, NULL);
    return p;
}

/* ---- sums: correctly rounded, or not at all */

/* a + b, and what the rounding lost, exactly (Knuth, TAOCP 2, 4.2.2) */
static inline double two_sum(double a, double b, double *lost) {
    double sum = a + b, part = sum - a;
    *lost = (a - (sum - part)) + (b - part);
    return sum;
}

static inline void add(Sum *sum, double x) {
    double lost, lost_of_lost;
    sum->sum = two_sum(sum->sum, x, &lost);
    sum->lost = two_sum(sum->lost, lost, &lost_of_lost);
    sum->doubt += fabs(lost_of_lost);
    sum->count++;
}

/* The sum of doubles, rounded once, as Python's math.fsum has it; false where that cannot be told. */
static int rounded(const Sum *sum, double *total) {
    *total = sum->sum + sum->lost + 0.0; /* never -0 */
    if (!isfinite(*total)) return 0;
    if (sum->doubt == 0) return 1;
    double doubt = 1.001 * sum->doubt; /* it was added in floating point, too */
    return sum->sum + nextafter(sum->lost - doubt, -INFINITY) == *total &&
           sum->sum + nextafter(sum->lost + doubt, INFINITY) == *total;
}

/* ---- fields */

/* Ready for the next line. */
static void forget(Slot *slot) {
    if (slot->state == MISSING) return;
    slot->state = MISSING;
    slot->value = NAN;
    slot->sum = (Sum){0};
    slot->count = 0;
    slot->rows_before = slot->rows.size;
}

static void take_back(Slot *slot) {
    slot->rows.size = slot->rows_before;
    forget(slot);
}

static int is_whole(double value) { return value >= 0 && value < 0x1p53 && value == floor(value); }

static Text list_sum(Text p, Text limit, Sum *sum) {
    double value;
    p = skip_space(p + 1);
    for (;;) {
        if (!(p = number(p, limit, &value))) return NULL;
        add(sum, value);
        p = skip_space(p);
        if (*p == ']') return p + 1;
        if (*p != ',') return NULL;
        p = skip_space(p + 1);
    }
}

/* A list whose elements are rows. */
static Text rows(Text p, Text limit, Slot *slot) {
    double value;
    p = skip_space(p + 1);
    for (;;) {
        if (!(p = number(p, limit, &value)) || !isfinite(value) || (slot->kind == WHOLES && !is_whole(value))) return NULL;
        push(&slot->rows, &value, sizeof value);
        slot->count++;
        p = skip_space(p);
        if (*p == ']') return p + 1;
        if (*p != ',') return NULL;
        p = skip_space(p + 1);
    }
}

/* A string, or an integer of up to 18 digits, as it stands in the text. */
static Text key_value(Text p, Text limit, Slot *slot) {
    Text begin = p;
    int escaped = 0;
    if (*p == '"') {
        p = string_end(p + 1, limit, &escaped);
    } else {
        int negative = *p == '-';
        p = number_end(p);
        if (!p || p - begin - negative > 18 || (negative && begin[1] == '0')) return NULL;
        for (Text q = begin + negative; q < p; q++)
            if (!is_digit(*q)) return NULL;
    }
    slot->text = begin;
    slot->text_end = p;
    slot->state = VALUE;
    return p;
}

static Text leaf_value(Text p, Text limit, Slot *slot) {
    double value;
    if (*p == 'n' && !slot->joins) {
        slot->state = IS_NULL;
        return word_end(p, limit, "null", 4);
    }
    if (slot->kind == KEY) return key_value(p, limit, slot);
    if (slot->kind >= NUMBERS) {
        slot->state = LIST;
        return *p == '[' ? rows(p, limit, slot) : NULL;
    }
    if (*p == '[' && slot->kind == SEQUENCE) {
        slot->state = LIST;
        return list_sum(p, limit, &slot->sum);
    }
    if (!(p = number(p, limit, &value)) || !isfinite(value) || (slot->kind == WHOLE && !is_whole(value))) return NULL;
    if (slot->joins) {
        slot->state = slot->kind == SEQUENCE ? LIST : VALUE;
        add(&slot->sum, value);
    } else {
        slot->state = VALUE;
        slot->value = value;
    }
    return p;
}

static Text leaf(Text p, Text limit, Slot *slot) {
    Text end = leaf_value(p, limit, slot);
    if (!end && slot->lenient) {
        take_back(slot);
        slot->state = UNUSABLE;
        end = value_end(p, limit);
    }
    return end;
}

static inline int is_key(const Node *node, Text p, Text limit) {
    size_t size = node->size;
    if (limit - p < 8 || (size_t)(limit - p) < size) return (size_t)(limit - p) >= size && !memcmp(p, node->key, size);
    if ((load(p) & node->mask) != node->head) return 0;
    return size <= 8 || (load(p + size - 8) == node->tail && (size <= 16 || !memcmp(p + 8, node->key + 8, size - 16)));
}

static Text object(Reader *reader, const Node *node, Text p);

static Text elements(Reader *reader, const Node *node, Text p) {
    p = skip_space(p + 1);
    if (*p == ']') return p + 1;
    for (;;) {
        if (!node->children) p = leaf(p, reader->limit, &reader->slots[node->slot]);
        else p = *p == '{' ? object(reader, node, p) : NULL;
        if (!p) return NULL;
        p = skip_space(p);
        if (*p == ']') return p + 1;
        if (*p != ',') return NULL;
        p = skip_space(p + 1);
    }
}

static Text field(Reader *reader, const Node *node, Text p) {
    Text begin = p;
    if (node->each) p = *p == '[' ? elements(reader, node, p) : NULL;
    else if (node->children && *p == '{') p = object(reader, node, p);
    else if (node->slot >= 0) p = leaf(p, reader->limit, &reader->slots[node->slot]);
    else p = value_end(p, reader->limit);
    if (node->span >= 0) {
        Slot *slot = &reader->slots[node->span];
        slot->state = VALUE;
        slot->text = begin;
        slot->text_end = p;
    }
    return p;
}

/* From the brace. A key that counts and occurs twice, or one in escapes, makes the line odd. */
static Text object(Reader *reader, const Node *node, Text p) {
    const Node *children = reader->nodes + node->first_child;
    uint64_t seen = 0;
    int next = 0; /* writers keep to an order: the child after the last one is looked at first */
    p = skip_space(p + 1);
    if (*p == '}') return p + 1;
    for (;;) {
        if (*p++ != '"') return NULL;
        const Node *child = NULL;
        for (int i = 0; i < node->children; i++) {
            int at = next + i < node->children ? next + i : next + i - node->children;
            const Node *c = children + at;
            if (is_key(c, p, reader->limit)) {
                if (seen >> at & 1) return NULL;
                seen |= 1ull << at;
                next = at + 1 < node->children ? at + 1 : 0;
                child = c;
                break;
            }
        }
        int escaped = 0;
        p = child ? p + child->size : string_end(p, reader->limit, &escaped);
        if (!p || escaped) return NULL;
        p = skip_space(p);
        if (*p != ':') return NULL;
        p = skip_space(p + 1);
        p = child ? field(reader, child, p) : value_end(p, reader->limit);
        if (!p) return NULL;
        p = skip_space(p);
        if (*p == '}') return p + 1;
        if (*p != ',') return NULL;
        p = skip_space(p + 1);
    }
}

/* ---- keys */

static int is_same(const Id *id, Text text, size_t size) {
    if (id->size != size) return 0;
    if (size < 8 || size > 16) return !memcmp(id->text, text, size);
    return load(id->text) == load(text) && load(id->text + size - 8) == load(text + size - 8); /* a call costs more */
}

static void make_room(Slot *slot) {
    size_t room = slot->room ? 2 * slot->room : 1024;
    int64_t *places = realloc(slot->places, room * sizeof *places);
    if (!places) {
        slot->ids.failed = 1;
        return;
    }
    slot->places = places;
    slot->room = room;
    memset(places, -1, room * sizeof *places);
    const Id *ids = (const Id *)slot->ids.data;
    for (size_t i = 0; i < slot->ids.size / sizeof(Id); i++) {
        size_t at = ids[i].hash & (room - 1);
        while (places[at] >= 0) at = (at + 1) & (room - 1);
        places[at] = (int64_t)i;
    }
}

/* The place of the key among the distinct ones. */
static int64_t place_of(Slot *slot, Text text, size_t size) {
    const Id *ids = (const Id *)slot->ids.data;
    size_t count = slot->ids.size / sizeof(Id);
    if (count && is_same(&ids[count - 1], text, size)) return (int64_t)count - 1; /* a prompt's responses in a row */
    if (2 * count >= slot->room) make_room(slot);
    if (slot->ids.failed) return 0;
    uint64_t hash = hash_of(text, size);
    size_t at = hash & (slot->room - 1);
    for (; slot->places[at] >= 0; at = (at + 1) & (slot->room - 1)) {
        const Id *id = &ids[slot->places[at]];
        if (id->hash == hash && is_same(id, text, size)) return slot->places[at];
    }
    slot->places[at] = (int64_t)count;
    push(&slot->ids, &(Id){text, size, hash}, sizeof(Id));
    return (int64_t)count;
}

/* ---- lines */

static int entry_size(const Slot *slot) { return slot->kind == SPAN ? 16 : 8; }

/* Room for one more line. */
static void make_line_room(Reader *reader) {
    size_t room = reader->line_room ? 2 * reader->line_room : 1024;
    for (Slot *slot = reader->slots; slot < reader->slots + reader->slot_count; slot++) {
        uint8_t *states = realloc(slot->states, room);
        if (states) slot->states = states;
        int64_t *values = realloc(slot->values, room * entry_size(slot));
        if (values) slot->values = values;
        int64_t *counts = realloc(slot->counts, room * sizeof *counts);
        if (counts) slot->counts = counts;
        reader->failed |= !states || !values || !counts;
    }
    if (!reader->failed) reader->line_room = room;
}

/* What this line has for the slot. */
static void keep(Slot *slot, size_t line, Text base) {
    if (slot->state == MISSING && !slot->seen) return;
    if (!slot->seen) {
        double nothing = NAN;
        for (size_t i = 0; i < line; i++) {
            slot->states[i] = MISSING;
            memcpy(&slot->values[i], &nothing, 8);
            slot->counts[i] = slot->kind == SEQUENCE ? -1 : 0;
        }
        if (slot->kind == KEY || slot->kind == SPAN) memset(slot->values, -1, line * entry_size(slot));
        slot->seen = 1;
    }
    slot->states[line] = (uint8_t)slot->state;
    switch (slot->kind) {
    case KEY:
        slot->values[line] = slot->state == VALUE ? place_of(slot, slot->text, slot->text_end - slot->text) : -1;
        break;
    case SPAN:
        slot->values[2 * line] = slot->state == VALUE ? slot->text - base : -1;
        slot->values[2 * line + 1] = slot->state == VALUE ? slot->text_end - base : -1;
        break;
    case SEQUENCE:
        slot->counts[line] = slot->state == LIST ? slot->sum.count : -1; /* fall through */
    case NUMBER: case WHOLE:
        memcpy(&slot->values[line], &slot->value, 8);
        break;
    default:
        slot->counts[line] = slot->count;
    }
    forget(slot);
}

static int is_settled(Slot *slot) { return !slot->sum.count || rounded(&slot->sum, &slot->value); }

/* Every line from `base` to the limit, the last of which ends with a newline; the number of them, and of blank ones. */
static int64_t read_lines(Reader *reader, Text base, int64_t longest, int64_t *blank) {
    Slot *last = reader->slots + reader->slot_count;
    int64_t number = 0;
    for (Text p = base; p < reader->limit;) {
        number++;
        Text begin = skip_space(p), end = *begin == '{' ? object(reader, reader->nodes, begin) : NULL;
        if (end) end = skip_space(end);
        int plain = end && *end == '\n' && end - p <= longest;
        for (Slot *slot = reader->slots; plain && slot < last; slot++) plain = is_settled(slot);
        if (plain) {
            if (reader->line_count == reader->line_room) make_line_room(reader);
            if (reader->failed) return number;
            push_integer(&reader->lines, number);
            for (Slot *slot = reader->slots; slot < last; slot++) keep(slot, reader->line_count, base);
            reader->line_count++;
        } else {
            end = memchr(p, '\n', reader->limit - p);
            for (Slot *slot = reader->slots; slot < last; slot++) take_back(slot);
            if (*begin == '\n' && end - p <= longest) {
                ++*blank;
            } else {
                push_integer(&reader->odd, number);
                push_integer(&reader->odd, p - base);
                push_integer(&reader->odd, end - base);
            }
        }
        p = end + 1;
    }
    return number;
}

/* ---- to and from Python */

static PyObject *bytes_of(const void *data, size_t size) {
    return PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
}

/* The distinct keys one after the other, a comma after each, and the ends. */
static PyObject *keys_of(const Slot *slot) {
    const Id *ids = (const Id *)slot->ids.data;
    size_t count = slot->ids.size / sizeof(Id), size = 0;
    for (size_t i = 0; i < count; i++) size += ids[i].size + 1;
    PyObject *texts = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    PyObject *ends = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * sizeof(int64_t)));
    if (!texts || !ends) {
        Py_XDECREF(texts);
        Py_XDECREF(ends);
        return NULL;
    }
    char *text = PyBytes_AsString(texts), *end = PyBytes_AsString(ends);
    int64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(text + at, ids[i].text, ids[i].size);
        at += (int64_t)ids[i].size + 1;
        text[at - 1] = ',';
        memcpy(end + i * sizeof at, &at, sizeof at);
    }
    return Py_BuildValue("(NN)", texts, ends);
}

/* (states, values, counts, (keys, their ends)); empty where no line has anything. One state stands for all lines that have
the same, and no counts for those of a sequence that is nowhere a list. */
static PyObject *slot_as_tuple(const Slot *slot, size_t lines) {
    if (!slot->seen) lines = 0;
    int plural = slot->kind == NUMBERS || slot->kind == WHOLES;
    int alike = lines > 0 && !memcmp(slot->states, slot->states + 1, lines - 1);
    int counted = plural || (slot->kind == SEQUENCE && lines && memchr(slot->states, LIST, lines));
    return Py_BuildValue("(NNNN)", bytes_of(slot->states, alike ? 1 : lines),
                         plural ? bytes_of(slot->rows.data, slot->rows.size)
                                : bytes_of(slot->values, lines * entry_size(slot)),
                         bytes_of(slot->counts, counted ? 8 * lines : 0), keys_of(slot));
}

/* Ready for the next block. */
static void clear(Reader *reader) {
    reader->line_count = reader->lines.size = reader->odd.size = 0;
    reader->failed = reader->lines.failed = reader->odd.failed = 0;
    for (Slot *slot = reader->slots; slot < reader->slots + reader->slot_count; slot++) {
        slot->seen = 0;
        slot->rows.size = slot->rows_before = slot->ids.size = 0;
        slot->rows.failed = slot->ids.failed = 0;
        slot->state = UNUSABLE;
        forget(slot);
        if (slot->places) memset(slot->places, -1, slot->room * sizeof *slot->places);
    }
}

static int has_failed(const Reader *reader) {
    int failed = reader->failed | reader->lines.failed | reader->odd.failed;
    for (const Slot *slot = reader->slots; slot < reader->slots + reader->slot_count; slot++)
        failed |= slot->rows.failed | slot->ids.failed;
    return failed;
}

PyDoc_STRVAR(read_doc,
             "read(buffer, start, stop, longest)\n--\n\n"
             "The lines of buffer[start:stop], which ends with a newline; a line of more than `longest` bytes is odd.\n\n"
             "Returns (lines, blank, numbers, odd, slots): how many lines there are and how many of them are blank; the\n"
             "numbers (1-based) of those in the columns; number, start and end of the odd ones; and for each slot its\n"
             "(states, values, counts, (keys, their ends)), empty where no line has anything; one state stands for all lines\n"
             "that have the same, and no counts for those of a sequence that is nowhere a list. Arrays come as bytes.");

static PyObject *Reader_read(Reader *reader, PyObject *args) {
    PyObject *buffer, *slots = NULL, *result = NULL;
    Py_ssize_t start, stop;
    long long longest, lines;
    int64_t blank = 0;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "OnnL", &buffer, &start, &stop, &longest)) return NULL;
    if (reader->busy) {
        PyErr_SetString(PyExc_RuntimeError, "a reader reads one block at a time");
        return NULL;
    }
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) return NULL;
    Text base = (Text)view.buf + start;
    if (start < 0 || start >= stop || stop > view.len || base[stop - start - 1] != '\n') {
        PyErr_SetString(PyExc_ValueError, "expected whole lines");
        goto done;
    }
    reader->limit = (Text)view.buf + stop;
    clear(reader);
    reader->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    lines = read_lines(reader, base, longest, &blank);
    Py_END_ALLOW_THREADS
    reader->busy = 0;
    if (has_failed(reader)) {
        PyErr_NoMemory();
        goto done;
    }
    slots = PyList_New(reader->slot_count);
    for (int i = 0; slots && i < reader->slot_count; i++) {
        PyObject *columns = slot_as_tuple(&reader->slots[i], reader->line_count);
        if (!columns || PyList_SetItem(slots, i, columns) < 0) Py_CLEAR(slots);
    }
    if (slots) result = Py_BuildValue("(LLNNN)", lines, (long long)blank, bytes_of(reader->lines.data, reader->lines.size),
                                      bytes_of(reader->odd.data, reader->odd.size), slots);
done:
    PyBuffer_Release(&view);
    return result;
}

/* (key, each, slot, span, first child, children) of every node, the record's own first; kind, joins, lenient of slots. */
static int Reader_init(Reader *reader, PyObject *args, PyObject *named) {
    PyObject *nodes, *slots;
    (void)named;
    if (!PyArg_ParseTuple(args, "O!O!", &PyList_Type, &nodes, &PyList_Type, &slots)) return -1;
    if (reader->nodes) {
        PyErr_SetString(PyExc_TypeError, "a reader is made once");
        return -1;
    }
    Py_ssize_t node_count = PyList_Size(nodes), slot_count = PyList_Size(slots);
    reader->nodes = calloc(node_count + 1, sizeof(Node));
    reader->slots = calloc(slot_count + 1, sizeof(Slot));
    if (!reader->nodes || !reader->slots) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < slot_count; i++) {
        Slot *slot = &reader->slots[i];
        if (!PyArg_ParseTuple(PyList_GetItem(slots, i), "iii", &slot->kind, &slot->joins, &slot->lenient)) return -1;
        reader->slot_count++;
    }
    for (Py_ssize_t i = 0; i < node_count; i++) {
        Node *node = &reader->nodes[i];
        const char *key;
        Py_ssize_t size;
        if (!PyArg_ParseTuple(PyList_GetItem(nodes, i), "y#iiiii", &key, &size, &node->each, &node->slot, &node->span,
                              &node->first_child, &node->children))
            return -1;
        if (node->slot >= slot_count || node->span >= slot_count || node->first_child < 0 || node->children < 0 ||
            node->children > MAX_CHILDREN || node->first_child + node->children > node_count || !size) {
            PyErr_SetString(PyExc_ValueError, "no such node or slot, or too many children");
            return -1;
        }
        node->key = malloc(size);
        if (!node->key) {
            PyErr_NoMemory();
            return -1;
        }
        memcpy(node->key, key, size);
        node->size = size;
        memcpy(&node->head, key, size < 8 ? size : 8);
        node->mask = size < 8 ? (1ull << 8 * size) - 1 : ~0ull;
        if (size > 8) memcpy(&node->tail, key + size - 8, 8);
        reader->node_count++;
    }
    return 0;
}

static void Reader_dealloc(Reader *reader) {
    PyTypeObject *type = Py_TYPE((PyObject *)reader);
    for (int i = 0; i < reader->node_count; i++) free(reader->nodes[i].key);
    for (int i = 0; i < reader->slot_count; i++) {
        Slot *slot = &reader->slots[i];
        free(slot->states);
        free(slot->values);
        free(slot->counts);
        free(slot->rows.data);
        free(slot->ids.data);
        free(slot->places);
    }
    free(reader->nodes);
    free(reader->slots);
    free(reader->lines.data);
    free(reader->odd.data);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(reader);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {{"read", (PyCFunction)Reader_read, METH_VARARGS, read_doc}, {NULL, NULL, 0, NULL}};

static PyType_Slot type_slots[] = {{Py_tp_init, Reader_init},
                                   {Py_tp_dealloc, Reader_dealloc},
                                   {Py_tp_methods, methods},
                                   {Py_tp_doc, "Reader(nodes, slots): reads blocks of lines, one at a time."},
                                   {0, NULL}};

static PyType_Spec type_spec = {"budget_cli.native.reader.Reader", sizeof(Reader), 0, Py_TPFLAGS_DEFAULT, type_slots};

static int execute(PyObject *module) {
    powers_of_five[0] = 1;
    for (int i = 1; i < 28; i++) powers_of_five[i] = 5 * powers_of_five[i - 1];
    PyObject *type = PyType_FromSpec(&type_spec);
    if (!type) return -1;
    int added = PyModule_AddObjectRef(module, "Reader", type);
    Py_DECREF(type);
    return added;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "reader", "A block of JSON lines as columns.", 0,
                                 NULL, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_reader(void) { return PyModuleDef_Init(&definition); }
