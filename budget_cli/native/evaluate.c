/* Values of expressions: see evaluate.h. A file of its own, so that the reader's own code is compiled as without it. */

#include "evaluate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "blake2b.h"
#include "decimal.h"
#include "json_scan.h"

enum { MAX_OBJECT = 64, MAX_WHOLE_DIGITS = 15, EQUAL_LEVELS = 8 };

/* Their names, by which the plan asks for them. */
static const char *const NAMES[OPERATIONS] = {
    "root", "field", "index", "literal", "current", "chain", "list_of", "or", "and", "not", "equal", "unequal",
    "less", "less_equal", "greater", "greater_equal", "project", "filter", "flatten", "kept", "masked", "until_kept",
    "total", "dot", "nandot", "number_of", "minus", "stem", "part", "digest", "join", "from_json", "graded",
    "weighted", "length", "sum", "values", "to_string", "to_number", "not_null"};

/* How an evaluation ends: with a value; with null for the whole expression, since a function was given null where it
takes none; or undecided. */
enum Outcome { DONE, ABSENT, DOUBT };

static Value word_value(int type) { return (Value){.type = type}; }

static Value number_value(double number, int whole) {
    return (Value){.type = COUNTED, .number = number, .whole = whole};
}

/* The value that stands at `p`, whose end is known and valid. */
static inline Value text_value(Text p, Text end, Text limit) {
    Value value = {.begin = p, .end = end, .limit = limit, .whole = -1};
    switch (*p) {
    case '"': value.type = WORDS, value.begin++, value.end--; break;
    case '[': value.type = ARRAY; break;
    case '{': value.type = OBJECT; break;
    case 't': value.type = YES; break;
    case 'f': value.type = NO; break;
    case 'n': value.type = NOTHING; break;
    default: value.type = COUNTED;
    }
    return value;
}

static inline int is_list(const Value *value) { return value->type == ARRAY || value->type == GATHERED; }

/* ---- the elements of a list */

typedef struct {
    const Value *items;
    size_t left; /* of `items` */
    Text p, limit;
} Elements;

static inline Elements elements_of(const Value *list) {
    if (list->type == GATHERED) return (Elements){.items = list->items, .left = list->count};
    return (Elements){.p = skip_space(list->begin + 1), .limit = list->limit};
}

/* Puts the next element; false if there is none. */
static inline int next_element(Elements *of, Value *element) {
    if (!of->p) {
        if (!of->left) return 0;
        *element = *of->items++;
        of->left--;
        return 1;
    }
    if (*of->p == ']') return 0;
    Text end = value_end(of->p, of->limit);
    if (!end) return 0; /* does not occur: the text is valid */
    *element = text_value(of->p, end, of->limit);
    of->p = skip_space(end);
    if (*of->p == ',') of->p = skip_space(of->p + 1);
    return 1;
}

/* A list that grows in the arena. */
typedef struct {
    Value *items;
    size_t count, room;
} Gathering;

static int gather(Evaluation *of, Gathering *list, const Value *value) {
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        Value *items = arena_take(of->scratch, room * sizeof *items);
        if (!items) {
            of->failed = 1;
            return 0;
        }
        if (list->count) memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = *value;
    return 1;
}

static Value gathered(const Gathering *list) {
    return (Value){.type = GATHERED, .items = list->items, .count = list->count};
}

/* ---- the members of an object */

typedef struct {
    Text key, key_end; /* without quotes */
    Value value;
} Member;

/* Puts the members; false if a key has escapes or occurs twice, or there are too many. */
static int members_of(const Value *object, Member *members, int *count) {
    *count = 0;
    Text p = skip_space(object->begin + 1);
    while (*p != '}') {
        int escaped = 0;
        Text key = p + 1, key_end = string_end(key, object->limit, &escaped);
        if (!key_end || escaped || *count == MAX_OBJECT) return 0;
        p = skip_space(skip_space(key_end) + 1);
        Text end = value_end(p, object->limit);
        if (!end) return 0;
        for (int i = 0; i < *count; i++)
            if (members[i].key_end - members[i].key == key_end - 1 - key && !memcmp(members[i].key, key, key_end - 1 - key))
                return 0;
        members[(*count)++] = (Member){key, key_end - 1, text_value(p, end, object->limit)};
        p = skip_space(end);
        if (*p == ',') p = skip_space(p + 1);
    }
    return 1;
}

static int has_key(const Member *member, const char *key) {
    size_t size = strlen(key);
    return (size_t)(member->key_end - member->key) == size && !memcmp(member->key, key, size);
}

/* The member of this key, of which the last counts; NOTHING if there is none. */
static int member_at(const Value *object, const Expression *node, Value *out) {
    *out = word_value(NOTHING);
    if (object->type != OBJECT) return DONE;
    Text p = skip_space(object->begin + 1), limit = object->limit;
    while (*p != '}') {
        int escaped = 0, found = (size_t)(limit - p) > node->size && !memcmp(p + 1, node->text, node->size);
        if (!(p = string_end(p + 1, limit, &escaped)) || escaped) return DOUBT;
        p = skip_space(skip_space(p) + 1);
        Text end = value_end(p, limit);
        if (!end) return DOUBT;
        if (found) *out = text_value(p, end, limit);
        p = skip_space(end);
        if (*p == ',') p = skip_space(p + 1);
    }
    return DONE;
}

/* ---- numbers and strings */

/* Sets `number` and `whole`; false if it is not finite, or not read here. */
static int to_double(Value *value) {
    if (value->whole >= 0) return isfinite(value->number);
    Text p = value->begin, end = decimal(p, value->limit, &value->number);
    if (end != value->end || !isfinite(value->number)) return 0;
    ptrdiff_t digits = end - p - (*p == '-');
    value->whole = digits <= MAX_WHOLE_DIGITS && fabs(value->number) < 1e15 && number_end(p) == end;
    for (; value->whole && p < end; p++) value->whole = is_digit(*p) || *p == '-';
    return 1;
}

/* True if a number is written as a large integer, which Python computes exactly and a double does not. */
static int is_large(const Value *value) {
    if (value->whole > 0 || !value->begin) return 0;
    for (Text p = value->begin; p < value->end; p++)
        if (!is_digit(*p) && *p != '-') return 0;
    return 1;
}

static int has_escapes(const Value *words) {
    return words->end > words->begin && memchr(words->begin, '\\', words->end - words->begin) != NULL;
}

/* True for what JMESPath takes for false: null, false, and what is empty. */
static int is_false(const Value *value) {
    switch (value->type) {
    case NOTHING: case NO: return 1;
    case WORDS: return value->begin == value->end;
    case ARRAY: return *skip_space(value->begin + 1) == ']';
    case OBJECT: return *skip_space(value->begin + 1) == '}';
    case GATHERED: return !value->count;
    default: return 0;
    }
}

/* 1 if a mask keeps what stands here: it is not 0, false or -100; -1 in doubt. */
static inline int is_kept(Value *element) {
    if (element->type == NO) return 0;
    if (element->type != COUNTED) return is_list(element) ? -1 : 1;
    if (element->whole < 0 && element->end == element->begin + 1) return *element->begin != '0';
    if (!to_double(element)) return -1;
    return element->number != 0 && element->number != -100;
}

/* A number times another, as Python multiplies them; false in doubt. */
static int product(Value *one, Value *other, double *result) {
    if (!to_double(one) || !to_double(other) || is_large(one) || is_large(other)) return 0;
    *result = one->number * other->number;
    return isfinite(*result) && (!one->whole || !other->whole || fabs(*result) < 0x1p53);
}

/* A new string, which `size` bytes at the result are to be written to; quotes and a newline are around them. */
static char *new_words(Evaluation *of, size_t size, Value *out) {
    char *text = arena_take(of->scratch, size + 3);
    if (!text) {
        of->failed = 1;
        return NULL;
    }
    text[0] = text[size + 1] = '"';
    text[size + 2] = '\n';
    Text begin = (Text)text + 1;
    *out = (Value){.type = WORDS, .begin = begin, .end = begin + size, .limit = begin + size + 2};
    return text + 1;
}

/* ---- the canonical text of a value, into a digest: that of json.dumps with sorted keys and no spaces */

static void hash_words(Blake2b *hash, Text p, Text end) {
    hash_add(hash, "\"", 1);
    while (p < end) {
        Text slash = memchr(p, '\\', end - p);
        hash_add(hash, p, (slash ? slash : end) - p);
        if (!slash) break;
        char bytes[8];
        int size;
        p = unescaped(slash, bytes, &size);
        unsigned char first = (unsigned char)bytes[0];
        const char *letter = size == 1 && first ? strchr("\bb\ff\nn\rr\tt\"\"\\\\", first) : NULL;
        if (letter) {
            bytes[0] = '\\';
            bytes[1] = letter[1];
            size = 2;
        } else if (size == 1 && first < 0x20) {
            memcpy(bytes, "\\u00", 4);
            bytes[4] = "01"[first >> 4];
            bytes[5] = "0123456789abcdef"[first & 15];
            size = 6;
        }
        hash_add(hash, bytes, size);
    }
    hash_add(hash, "\"", 1);
}

static int by_key(const void *one, const void *other) {
    const Member *a = one, *b = other;
    size_t size = a->key_end - a->key, other_size = b->key_end - b->key;
    int order = memcmp(a->key, b->key, size < other_size ? size : other_size); /* UTF-8 sorts as code points do */
    return order ? order : size < other_size ? -1 : size > other_size;
}

static int hash_value(Blake2b *hash, const Value *value, int levels);

NO_INLINE static int hash_object(Blake2b *hash, const Value *value, int levels) {
    Member members[MAX_OBJECT];
    int count;
    if (!members_of(value, members, &count)) return DOUBT;
    qsort(members, count, sizeof *members, by_key);
    hash_add(hash, "{", 1);
    for (int i = 0; i < count; i++) {
        if (i) hash_add(hash, ",", 1);
        hash_words(hash, members[i].key, members[i].key_end);
        hash_add(hash, ":", 1);
        if (hash_value(hash, &members[i].value, levels - 1) != DONE) return DOUBT;
    }
    hash_add(hash, "}", 1);
    return DONE;
}

static int hash_value(Blake2b *hash, const Value *value, int levels) {
    Elements elements;
    Value element;
    int first = 1;
    if (!levels) return DOUBT;
    switch (value->type) {
    case NOTHING: hash_add(hash, "null", 4); return DONE;
    case NO: hash_add(hash, "false", 5); return DONE;
    case YES: hash_add(hash, "true", 4); return DONE;
    case WORDS: hash_words(hash, value->begin, value->end); return DONE;
    case COUNTED:
        if (!value->begin || value->end - value->begin > 18 || (*value->begin == '-' && value->begin[1] == '0')) return DOUBT;
        for (Text p = value->begin; p < value->end; p++)
            if (!is_digit(*p) && *p != '-') return DOUBT; /* a float, as Python writes it */
        hash_add(hash, value->begin, value->end - value->begin);
        return DONE;
    case OBJECT: return hash_object(hash, value, levels);
    default:
        hash_add(hash, "[", 1);
        for (elements = elements_of(value); next_element(&elements, &element); first = 0) {
            if (!first) hash_add(hash, ",", 1);
            if (hash_value(hash, &element, levels - 1) != DONE) return DOUBT;
        }
        hash_add(hash, "]", 1);
        return DONE;
    }
}

/* ---- operations */

/* A string, byte by byte, without its escapes. */
typedef struct {
    Text p, end;
    char bytes[4]; /* of an escape */
    int size, at;  /* of `bytes` */
} Unescaping;

static int next_byte(Unescaping *of) {
    if (of->at < of->size) return (unsigned char)of->bytes[of->at++];
    if (of->p == of->end) return -1;
    if (*of->p != '\\') return *of->p++;
    of->p = unescaped(of->p, of->bytes, &of->size);
    of->at = 1;
    return (unsigned char)of->bytes[0];
}

static int are_same_words(const Value *one, const Value *other) {
    Unescaping a = {.p = one->begin, .end = one->end}, b = {.p = other->begin, .end = other->end};
    for (;;) {
        int byte = next_byte(&a);
        if (byte != next_byte(&b)) return 0;
        if (byte < 0) return 1;
    }
}

static int equal(Value *one, Value *other, int levels, int *result);

NO_INLINE static int are_equal_objects(const Value *one, const Value *other, int levels, int *result) {
    Member members[MAX_OBJECT], others[MAX_OBJECT];
    int count, other_count, at;
    if (!members_of(one, members, &count) || !members_of(other, others, &other_count)) return DOUBT;
    *result = count == other_count;
    for (int i = 0; *result && i < count; i++) {
        size_t size = members[i].key_end - members[i].key;
        for (at = 0; at < count; at++)
            if (others[at].key_end - others[at].key == (ptrdiff_t)size && !memcmp(others[at].key, members[i].key, size)) break;
        *result = at < count;
        if (*result && equal(&members[i].value, &others[at].value, levels - 1, result) != DONE) return DOUBT;
    }
    return DONE;
}

static int equal(Value *one, Value *other, int levels, int *result) {
    *result = 0;
    if (is_list(one) && is_list(other)) {
        Elements each = elements_of(one), others = elements_of(other);
        Value a, b;
        if (!levels) return DOUBT;
        for (;;) {
            int more = next_element(&each, &a);
            *result = more == next_element(&others, &b);
            if (!more || !*result) return DONE;
            if (equal(&a, &b, levels - 1, result) != DONE) return DOUBT;
            if (!*result) return DONE;
        }
    }
    if (one->type != other->type) {
        /* within lists and objects, and only there, true is 1 */
        int truth = one->type == YES || one->type == NO || other->type == YES || other->type == NO;
        return truth && levels < EQUAL_LEVELS && (one->type == COUNTED || other->type == COUNTED) ? DOUBT : DONE;
    }
    if (one->type == OBJECT) return levels ? are_equal_objects(one, other, levels, result) : DOUBT;
    if (one->type == WORDS) {
        *result = are_same_words(one, other);
    } else if (one->type == COUNTED) {
        if (!to_double(one) || !to_double(other) || is_large(one) || is_large(other)) return DOUBT;
        *result = one->number == other->number;
    } else {
        *result = 1;
    }
    return DONE;
}

static int compared(int operation, Value *one, Value *other, Value *out) {
    int result;
    if (operation == EQUAL || operation == UNEQUAL) {
        if (equal(one, other, EQUAL_LEVELS, &result) != DONE) return DOUBT;
        *out = word_value(result == (operation == EQUAL) ? YES : NO);
        return DONE;
    }
    *out = word_value(NOTHING);
    if (one->type == WORDS || other->type == WORDS) return DOUBT;
    if (one->type != COUNTED || other->type != COUNTED) return DONE;
    if (!to_double(one) || !to_double(other) || is_large(one) || is_large(other)) return DOUBT;
    double a = one->number, b = other->number;
    result = operation == LESS ? a < b : operation == LESS_EQUAL ? a <= b : operation == GREATER ? a > b : a >= b;
    *out = word_value(result ? YES : NO);
    return DONE;
}

static int masked(Evaluation *of, Value *values, Value *mask, Value *out) {
    Elements each = elements_of(values), masks = elements_of(mask);
    Gathering found = {0};
    Value value, element;
    for (;;) {
        int more = next_element(&each, &value), kept;
        if (more != next_element(&masks, &element)) return DOUBT;
        if (!more) break;
        if ((kept = is_kept(&element)) < 0 || (kept && !gather(of, &found, &value))) return DOUBT;
    }
    *out = gathered(&found);
    return DONE;
}

/* The values before the first that the mask keeps. */
static int until_kept(Evaluation *of, Value *values, Value *mask, Value *out) {
    Elements each = elements_of(values), masks = elements_of(mask);
    Gathering found = {0};
    Value value, element;
    size_t before = 0;
    for (int any = 0; next_element(&masks, &element); before += !any) {
        int kept = is_kept(&element);
        if (kept < 0) return DOUBT;
        any |= kept;
    }
    for (; before && next_element(&each, &value); before--)
        if (!gather(of, &found, &value)) return DOUBT;
    *out = gathered(&found);
    return DONE;
}

static int summed(Value *list, int exactly, Value *out) {
    Elements each = elements_of(list);
    ExactSum sum = {0};
    double whole = 0;
    Value value;
    while (next_element(&each, &value)) {
        if (value.type != COUNTED || !to_double(&value)) return DOUBT;
        if (!exactly && (!value.whole || fabs(whole += value.number) >= 0x1p53)) return DOUBT; /* as Python adds floats */
        sum_add(&sum, value.number);
    }
    if (!exactly) {
        *out = number_value(whole, 1);
        return DONE;
    }
    double total = 0;
    if (sum.count && !sum_rounded(&sum, &total)) return DOUBT;
    *out = number_value(total, 0);
    return DONE;
}

static int dot(Value *values, Value *weights, int skips, Value *out) {
    Elements each = elements_of(values), others = elements_of(weights);
    ExactSum sum = {0};
    Value value, weight;
    double term, total = 0;
    for (;;) {
        int more = next_element(&each, &value);
        if (more != next_element(&others, &weight)) return DOUBT;
        if (!more) break;
        if (skips && value.type == NOTHING) continue;
        if (value.type != COUNTED || weight.type != COUNTED || !product(&value, &weight, &term)) return DOUBT;
        sum_add(&sum, term);
    }
    if ((skips && !sum.count) || (sum.count && !sum_rounded(&sum, &total))) return DOUBT;
    *out = number_value(total, 0);
    return DONE;
}

/* The part of a string before the last `parts` separators, or a single part; no escapes are in either. */
static int split(Value *words, Value *separator, Value *which, int stem, Value *out) {
    size_t size = separator->end - separator->begin;
    if (has_escapes(words) || has_escapes(separator) || !size || !to_double(which) || !which->whole) return DOUBT;
    double wanted = which->number;
    if (fabs(wanted) > 1000 || (stem && wanted < 0)) return DOUBT;
    if (stem) {
        Text end = words->end;
        for (int i = 0; i < wanted; i++) {
            if ((size_t)(end - words->begin) < size) break;
            Text p = end - size;
            while (p >= words->begin && memcmp(p, separator->begin, size)) p--;
            if (p < words->begin) break;
            end = p;
        }
        *out = *words;
        out->end = end;
        return DONE;
    }
    Text begins[1001];
    int count = 1;
    begins[0] = words->begin;
    for (Text p = words->begin; p + size <= words->end;) {
        if (memcmp(p, separator->begin, size)) {
            p++;
        } else {
            p += size;
            if (count == 1000) return DOUBT;
            begins[count++] = p;
        }
    }
    int at = (int)wanted < 0 ? (int)wanted + count : (int)wanted;
    *out = word_value(NOTHING);
    if (at < 0 || at >= count) return DONE;
    *out = *words;
    out->begin = begins[at];
    if (at + 1 < count) out->end = begins[at + 1] - size;
    return DONE;
}

static int joined(Evaluation *of, Value *separator, Value *list, Value *out) {
    size_t size = 0, between = separator->end - separator->begin;
    Value value;
    Elements each = elements_of(list);
    for (; next_element(&each, &value); size += value.end - value.begin + between)
        if (value.type != WORDS) return DOUBT;
    if (size > 1 << 20) return DOUBT;
    char *text = new_words(of, size > between ? size - between : 0, out);
    if (!text) return DOUBT;
    each = elements_of(list);
    for (int first = 1; next_element(&each, &value); first = 0) {
        if (!first) {
            memcpy(text, separator->begin, between);
            text += between;
        }
        memcpy(text, value.begin, value.end - value.begin);
        text += value.end - value.begin;
    }
    return DONE;
}

static int parsed(Evaluation *of, Value *words, Value *out) {
    char *text = new_words(of, words->end - words->begin + 8, out), *to = text;
    if (!text) return DOUBT;
    for (Text p = words->begin; p < words->end;) {
        Text slash = memchr(p, '\\', words->end - p);
        size_t plain = (slash ? slash : words->end) - p;
        memcpy(to, p, plain);
        to += plain;
        if (!slash) break;
        int size;
        p = unescaped(slash, to, &size); /* never longer than the escape */
        to += size;
    }
    *to = '\n';
    Text begin = skip_space((Text)text), limit = (Text)to + 1, end = value_end(begin, limit);
    if (!end || *skip_space(end) != '\n' || skip_space(end) != (Text)to) return DOUBT;
    *out = text_value(begin, end, limit);
    return DONE;
}

static int graded(const Value *scores, Value *out) {
    Member members[MAX_OBJECT];
    int count;
    if (!members_of(scores, members, &count)) return DOUBT;
    const Value *value = NULL;
    for (int i = 0; i < count; i++)
        if (has_key(&members[i], "value")) value = &members[i].value;
    if (!value) {
        if (count != 1 || members[0].value.type != OBJECT) return DOUBT;
        Value only = members[0].value;
        if (!members_of(&only, members, &count)) return DOUBT;
        for (int i = 0; i < count; i++)
            if (has_key(&members[i], "value")) value = &members[i].value;
        if (!value) return DOUBT;
    }
    Value found = *value;
    if (found.type == WORDS) {
        const char *grade = found.end == found.begin + 1 ? strchr("CPIN", *found.begin) : NULL;
        if (!grade || !*grade) return DOUBT;
        *out = number_value(*grade == 'C' ? 1 : *grade == 'P' ? 0.5 : 0, 0);
        return DONE;
    }
    if (found.type == YES || found.type == NO) {
        *out = number_value(found.type == YES, 0);
        return DONE;
    }
    if (found.type != COUNTED || !to_double(&found)) return DOUBT;
    *out = number_value(found.number, 0);
    return DONE;
}

static int weighted(const Value *rewards, Value *out) {
    Member members[MAX_OBJECT], parts[MAX_OBJECT];
    int count, inner, found = 0;
    double total = 0, term;
    if (!members_of(rewards, members, &count)) return DOUBT;
    for (int i = 0; i < count; i++) {
        if (members[i].value.type != OBJECT) continue;
        Value score = word_value(NOTHING), weight = number_value(1, 0);
        if (!members_of(&members[i].value, parts, &inner)) return DOUBT;
        for (int j = 0; j < inner; j++) {
            if (has_key(&parts[j], "score")) score = parts[j].value;
            if (has_key(&parts[j], "weight")) weight = parts[j].value;
        }
        if (score.type != COUNTED || weight.type != COUNTED || !product(&score, &weight, &term)) return DOUBT;
        total += term;
        found = 1;
    }
    if (!found || !isfinite(total)) return DOUBT;
    *out = number_value(total, 0);
    return DONE;
}

static int length_of(const Value *value, Value *out) {
    double count = 0;
    Member members[MAX_OBJECT];
    int inner;
    Value element;
    if (value->type == WORDS) {
        if (has_escapes(value)) return DOUBT;
        for (Text p = value->begin; p < value->end; p++) count += (*p & 0xC0) != 0x80;
    } else if (is_list(value)) {
        for (Elements each = elements_of(value); next_element(&each, &element);) count++;
    } else {
        if (value->type != OBJECT || !members_of(value, members, &inner)) return DOUBT;
        count = inner;
    }
    *out = number_value(count, 1);
    return DONE;
}

static int as_words(Evaluation *of, const Value *value, Value *out) {
    if (value->type == WORDS) {
        *out = *value;
        return DONE;
    }
    const char *word = value->type == YES ? "true" : value->type == NO ? "false" : value->type == NOTHING ? "null" : NULL;
    Text begin = word ? (Text)word : value->begin;
    size_t size = word ? strlen(word) : (size_t)(value->end - value->begin);
    if (!word) {
        if (value->type != COUNTED || !begin || size > 18 || (*begin == '-' && begin[1] == '0')) return DOUBT;
        for (Text p = begin; p < value->end; p++)
            if (!is_digit(*p) && *p != '-') return DOUBT;
    }
    char *text = new_words(of, size, out);
    if (!text) return DOUBT;
    memcpy(text, begin, size);
    return DONE;
}

static int as_number(const Value *value, Value *out) {
    *out = word_value(NOTHING);
    if (value->type == COUNTED) *out = *value;
    if (value->type != WORDS) return DONE;
    Text p = value->begin + (value->begin < value->end && *value->begin == '-');
    if (p == value->end || value->end - p > MAX_WHOLE_DIGITS || (*p == '0' && value->end - value->begin > 1)) return DOUBT;
    double number = 0;
    for (; p < value->end; p++) {
        if (!is_digit(*p)) return DOUBT;
        number = 10 * number + (*p - '0');
    }
    *out = number_value(*value->begin == '-' ? -number : number, 1);
    return DONE;
}

static int evaluate(Evaluation *of, int at, const Value *current, Value *out);

static int projected(Evaluation *of, const Expression *node, const Value *current, Value *out) {
    Value base, element, part;
    int outcome = evaluate(of, node->children[0], current, &base);
    if (outcome != DONE) return outcome;
    *out = word_value(NOTHING);
    if (!is_list(&base)) return DONE;
    Gathering found = {0};
    for (Elements each = elements_of(&base); next_element(&each, &element);) {
        if (node->operation == FILTER) {
            if ((outcome = evaluate(of, node->children[2], &element, &part)) != DONE) return outcome;
            if (is_false(&part)) continue;
        }
        if ((outcome = evaluate(of, node->children[1], &element, &part)) != DONE) return outcome;
        if (part.type != NOTHING && !gather(of, &found, &part)) return DOUBT;
    }
    *out = gathered(&found);
    return DONE;
}

static int flattened(Evaluation *of, const Value *list, Value *out) {
    Value element, inner;
    Gathering found = {0};
    *out = word_value(NOTHING);
    if (!is_list(list)) return DONE;
    for (Elements each = elements_of(list); next_element(&each, &element);) {
        if (!is_list(&element)) {
            if (!gather(of, &found, &element)) return DOUBT;
            continue;
        }
        for (Elements more = elements_of(&element); next_element(&more, &inner);)
            if (!gather(of, &found, &inner)) return DOUBT;
    }
    *out = gathered(&found);
    return DONE;
}

static int element_at(const Value *list, int64_t at, Value *out) {
    Value element;
    *out = word_value(NOTHING);
    if (!is_list(list)) return DONE;
    if (at < 0) {
        int64_t count = 0;
        for (Elements each = elements_of(list); next_element(&each, &element);) count++;
        if ((at += count) < 0) return DONE;
    }
    for (Elements each = elements_of(list); next_element(&each, &element); at--) {
        if (at) continue;
        *out = element;
        break;
    }
    return DONE;
}

/* What each argument of a function may be: n, a number; s, a string; b, a boolean; a, a list; o, an object; *, any. */
static const char *const TAKES[OPERATIONS][3] = {
    [KEPT] = {"a"}, [MASKED] = {"a", "a"}, [UNTIL_KEPT] = {"a", "a"}, [TOTAL] = {"na"}, [DOT] = {"a", "a"},
    [NANDOT] = {"a", "a"}, [NUMBER_OF] = {"bna"}, [MINUS] = {"n", "n"}, [STEM] = {"s", "s", "n"}, [PART] = {"s", "s", "n"},
    [DIGEST] = {"*"}, [JOIN] = {"s", "a"}, [FROM_JSON] = {"s"}, [GRADED] = {"o"}, [WEIGHTED] = {"o"}, [LENGTH] = {"sao"},
    [SUM] = {"a"}, [VALUES] = {"o"}, [TO_STRING] = {"*"}, [TO_NUMBER] = {"*"}};

static int is_taken(const Value *value, const char *types) {
    static const char OF[] = {[NOTHING] = '0', [NO] = 'b', [YES] = 'b', [COUNTED] = 'n', [WORDS] = 's', [ARRAY] = 'a',
                              [OBJECT] = 'o', [GATHERED] = 'a'};
    return *types == '*' || strchr(types, OF[value->type]);
}

NO_INLINE static int called(Evaluation *of, const Expression *node, Value *given, Value *out) {
    Value element;
    Gathering found = {0};
    Member members[MAX_OBJECT];
    Blake2b hash;
    char *text;
    int count;
    double difference;
    for (int i = 0; i < node->count; i++)
        if (!is_taken(&given[i], TAKES[node->operation][i])) return given[i].type == NOTHING ? ABSENT : DOUBT;
    switch (node->operation) {
    case KEPT:
        count = 0;
        for (Elements each = elements_of(given); next_element(&each, &element);) {
            int kept = is_kept(&element);
            if (kept < 0) return DOUBT;
            count += kept;
        }
        *out = number_value(count, 1);
        return DONE;
    case MASKED: return masked(of, &given[0], &given[1], out);
    case UNTIL_KEPT: return until_kept(of, &given[0], &given[1], out);
    case TOTAL:
        *out = given[0];
        return given[0].type == COUNTED ? DONE : summed(given, 1, out);
    case SUM: return summed(given, 0, out);
    case DOT: return dot(&given[0], &given[1], 0, out);
    case NANDOT: return dot(&given[0], &given[1], 1, out);
    case NUMBER_OF:
        *out = given[0].type == YES || given[0].type == NO ? number_value(given[0].type == YES, 1) : given[0];
        if (!is_list(given)) return DONE;
        for (Elements each = elements_of(given); next_element(&each, &element);) {
            if (is_list(&element)) return DOUBT;
            if (element.type == YES || element.type == NO) element = number_value(element.type == YES, 1);
            if (!gather(of, &found, &element)) return DOUBT;
        }
        *out = gathered(&found);
        return DONE;
    case MINUS:
        if (!to_double(&given[0]) || !to_double(&given[1]) || is_large(&given[0]) || is_large(&given[1])) return DOUBT;
        difference = given[0].number - given[1].number;
        *out = number_value(difference, given[0].whole && given[1].whole);
        return isfinite(difference) ? DONE : DOUBT;
    case STEM: return split(&given[0], &given[1], &given[2], 1, out);
    case PART: return split(&given[0], &given[1], &given[2], 0, out);
    case DIGEST:
        *out = word_value(NOTHING);
        if (given->type == NOTHING) return DONE;
        if (is_list(given))
            for (Elements each = elements_of(given); next_element(&each, &element);)
                if (element.type == NOTHING) return DONE;
        hash_begin(&hash);
        if (hash_value(&hash, given, 16) != DONE) return DOUBT;
        if (!(text = new_words(of, 2 * DIGEST_BYTES, out))) return DOUBT;
        hash_end(&hash, text);
        return DONE;
    case JOIN: return joined(of, &given[0], &given[1], out);
    case FROM_JSON: return parsed(of, given, out);
    case GRADED: return graded(given, out);
    case WEIGHTED: return weighted(given, out);
    case LENGTH: return length_of(given, out);
    case VALUES:
        if (!members_of(given, members, &count)) return DOUBT;
        for (int i = 0; i < count; i++)
            if (!gather(of, &found, &members[i].value)) return DOUBT;
        *out = gathered(&found);
        return DONE;
    case TO_STRING: return as_words(of, given, out);
    default: return as_number(given, out);
    }
}

/* The value of a node, where `current` is what it applies to; NULL is the record. */
static int evaluate(Evaluation *of, int at, const Value *current, Value *out) {
    const Expression *node = &of->nodes[at];
    Value given[3], one, other;
    Gathering list = {0};
    int outcome;
    switch (node->operation) {
    case ROOT: *out = of->roots[node->slot]; return DONE;
    case FIELD: return current ? member_at(current, node, out) : DOUBT;
    case INDEX: return current ? element_at(current, node->number, out) : DOUBT;
    case LITERAL: {
        Text text = (Text)node->text, limit = text + node->size;
        *out = text_value(text, limit - 1, limit);
        return DONE;
    }
    case CURRENT:
        if (!current) return DOUBT;
        *out = *current;
        return DONE;
    case CHAIN:
        if ((outcome = evaluate(of, node->children[0], current, &one)) != DONE) return outcome;
        for (int i = 1; i < node->count; i++) {
            if ((outcome = evaluate(of, node->children[i], &one, &other)) != DONE) return outcome;
            one = other;
        }
        *out = one;
        return DONE;
    case LIST_OF:
        *out = word_value(NOTHING);
        if (current && current->type == NOTHING) return DONE;
        for (int i = 0; i < node->count; i++) {
            if ((outcome = evaluate(of, node->children[i], current, &one)) != DONE) return outcome;
            if (!gather(of, &list, &one)) return DOUBT;
        }
        *out = gathered(&list);
        return DONE;
    case OR: case AND:
        if ((outcome = evaluate(of, node->children[0], current, &one)) != DONE) return outcome;
        if (is_false(&one) == (node->operation == OR)) return evaluate(of, node->children[1], current, out);
        *out = one;
        return DONE;
    case NOT:
        if ((outcome = evaluate(of, node->children[0], current, &one)) != DONE) return outcome;
        *out = word_value(is_false(&one) ? YES : NO);
        return DONE;
    case PROJECT: case FILTER: return projected(of, node, current, out);
    case FLATTEN:
        if ((outcome = evaluate(of, node->children[0], current, &one)) != DONE) return outcome;
        return flattened(of, &one, out);
    case NOT_NULL:
        *out = word_value(NOTHING);
        for (int i = 0; i < node->count; i++) {
            if ((outcome = evaluate(of, node->children[i], current, &one)) != DONE) return outcome;
            if (out->type == NOTHING) *out = one;
        }
        return DONE;
    default:
        for (int i = 0; i < node->count; i++)
            if ((outcome = evaluate(of, node->children[i], current, &given[i])) != DONE) return outcome;
        if (node->operation < KEPT) return compared(node->operation, &given[0], &given[1], out);
        return called(of, node, given, out);
    }
}

/* ---- what a slot takes of a value */

/* A string or an integer as the text of an id, or as part of one; false in doubt. */
static int put_part(const Value *value, int is_part, char **to) {
    Text p = value->begin, end = value->end;
    size_t size = end - p;
    if (value->type == COUNTED) {
        if (!p) {
            if (value->whole <= 0) return 0;
            *to += snprintf(*to, 24, "%lld", (long long)value->number);
            return 1;
        }
        if (size > 18 || (*p == '-' && p[1] == '0')) return 0;
        for (Text q = p; q < end; q++)
            if (!is_digit(*q) && *q != '-') return 0;
    } else if (value->type != WORDS) {
        return 0;
    }
    int quoted = 0;
    if (is_part && value->type == WORDS) { /* parts that could be taken for other parts are quoted */
        int digits = 0, others = 0, high = 0, slashes = 0;
        Text q = p;
        while (q < end && *q == '-') q++;
        for (; q < end; q++) {
            if (*q == '\\') return 0;
            digits |= is_digit(*q);
            high |= *q >= 0x80;
            others |= !is_digit(*q) && *q < 0x80;
            slashes |= *q == '/';
        }
        if (!others && high) return 0; /* digits of another script, perhaps */
        quoted = slashes || p == end || (digits && !others);
        if (quoted && high) return 0;
    }
    if (quoted) memcpy(*to, "\\\"", 2), *to += 2;
    memcpy(*to, p, size);
    *to += size;
    if (quoted) memcpy(*to, "\\\"", 2), *to += 2;
    return 1;
}

/* An id: a string or an integer, or several of them, joined. */
static int id_found(Evaluation *of, const Value *value, Text base, Text limit, Arena *ids, Found *slot) {
    int in_block = value->type == WORDS && value->begin > base && value->end < limit;
    if (in_block && value->begin[-1] == '"' && *value->end == '"') {
        slot->text = value->begin - 1;
        slot->text_end = value->end + 1;
        return 1;
    }
    Value element;
    size_t size = 32 + (value->type == WORDS ? value->end - value->begin : 0);
    if (is_list(value))
        for (Elements each = elements_of(value); next_element(&each, &element);)
            size += 32 + (element.begin ? element.end - element.begin : 0);
    char *text = arena_take(ids, size), *to = text;
    if (!text) {
        of->failed = 1;
        return 0;
    }
    int quoted = value->type == WORDS || is_list(value), count = 0;
    if (quoted) *to++ = '"';
    if (is_list(value)) {
        for (Elements each = elements_of(value); next_element(&each, &element); count++) {
            if (count) *to++ = '/';
            if (!put_part(&element, 1, &to)) return 0;
        }
        if (!count) return 0;
    } else if (!put_part(value, 0, &to)) {
        return 0;
    }
    if (quoted) *to++ = '"';
    slot->text = (Text)text;
    slot->text_end = (Text)to;
    return 1;
}

/* Numbers of an expression; a list of them is summed, or, where that is not asked for, has to be one number throughout. */
static int numbers_found(Value *value, Found *slot) {
    Value element;
    double first = NAN;
    int64_t count = 0;
    if (value->type == COUNTED) {
        if (!to_double(value) || (slot->kind == TOKENS && (value->number < 0 || value->number >= 0x1p53 || value->number != floor(value->number)))) return UNUSABLE;
        slot->value = value->number;
        return VALUE;
    }
    if (!is_list(value) || (slot->kind != LOG_PROB && !slot->lenient)) return UNUSABLE;
    int differs = 0;
    for (Elements each = elements_of(value); next_element(&each, &element); count++) {
        if (element.type != COUNTED || !to_double(&element)) return UNUSABLE;
        if (slot->kind == LOG_PROB) {
            sum_add(&slot->sum, element.number);
            if (slot->keeps) push(slot->rows, &element.number, sizeof element.number);
        } else if (is_large(&element)) {
            return UNUSABLE;
        } else if (!count) {
            first = element.number;
        } else {
            differs |= element.number != first;
        }
    }
    if (!count) return slot->lenient ? MISSING : UNUSABLE;
    if (slot->kind == LOG_PROB) return LIST;
    slot->value = first;
    return differs ? MISSING : VALUE;
}

/* ---- what the reader calls */

int evaluation_begins(void) { return decimal_init(); }

const char *operation_name(int operation) { return NAMES[operation]; }

int operation_parts(int operation) {
    static const signed char COUNTS[KEPT] = {
        [CHAIN] = -1, [LIST_OF] = -1, [OR] = 2,      [AND] = 2,     [NOT] = 1,    [EQUAL] = 2,  [UNEQUAL] = 2,
        [LESS] = 2,   [LESS_EQUAL] = 2, [GREATER] = 2, [GREATER_EQUAL] = 2, [PROJECT] = 2, [FILTER] = 3, [FLATTEN] = 1};
    if (operation == NOT_NULL) return -1;
    if (operation < KEPT) return COUNTS[operation];
    return TAKES[operation][1] ? TAKES[operation][2] ? 3 : 2 : 1;
}

Value value_in_text(Text begin, Text end, Text limit) { return text_value(begin, end, limit); }

int is_literal(Text text, size_t size) {
    return text[size - 1] == '\n' && value_end(text, text + size) == text + size - 1;
}

int expression_state(Evaluation *of, int root, Text base, Text limit, Arena *ids, Found *found) {
    Value value;
    arena_reset(of->scratch);
    int outcome = evaluate(of, root, NULL, &value);
    if (outcome == DOUBT) return UNUSABLE;
    if (outcome == ABSENT) value = word_value(NOTHING);
    if (found->kind == TRUTH) {
        found->value = !is_false(&value);
        return value.type == COUNTED || value.type == WORDS ? UNUSABLE : VALUE;
    }
    if (value.type == NOTHING) return MISSING;
    if (found->kind == ID) return id_found(of, &value, base, limit, ids, found) ? VALUE : UNUSABLE;
    return numbers_found(&value, found);
}
