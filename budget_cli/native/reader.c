/* A block of JSON lines -> columns of numbers, for the fields of a plan. Strict, and silent about reasons.

Either a line is understood whole, every byte of it checked (the grammar, UTF-8, escapes, the types of the fields), and
adds a value to each column; or it is deferred: its place goes back to Python, where the reference reader knows the
reasons. So nothing here decides what is valid: in doubt, a line is deferred.

The block ends with a newline: no token holds one, so it ends every loop below. Memory is kept from block to block, as
fresh pages would cost a fifth of the time. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <math.h>
#include <stdlib.h>

#include "arena.h"
#include "column.h"
#include "decimal.h"
#include "evaluate.h"
#include "exact_sum.h"
#include "json_scan.h"
#include "seed.h"

enum { MAX_CHILDREN = 64 }; /* a bit of a word each */
enum { LONGEST_GAP = 32 };

/* ---- columns */

typedef struct {
    Text text; /* borrowed from the block */
    size_t size;
    uint64_t hash;
} Id;

typedef struct {
    int kind;
    int joins;   /* its path goes through a list: log-probs are joined, numbers added */
    int lenient; /* a value of another type makes this slot unusable, and does not defer the line */
    int keeps;   /* the log-probs of a list are rows, too */

    /* of the line being read */
    int state;
    double value;
    ExactSum sum;
    Text text, text_end; /* borrowed from the block: an id or a span */
    int64_t count;       /* rows of an array */

    /* of the block, one entry per line; nothing is stored before the first line that has something */
    int used;
    uint8_t *states; /* owned */
    int64_t *values; /* owned; the bits of a double; of an id, its place; of a span, two offsets */
    int64_t *counts; /* owned; tokens of a list of log-probs, -1 for a plain number; rows of an array */
    Column rows;     /* double, of an array, or of the lists that are kept */
    size_t rows_before; /* size of `rows` where this line began */

    Column ids;      /* Id: the distinct ids in order of first occurrence */
    int64_t *places; /* owned; by hash, open addressing, -1: free */
    size_t room;     /* of `places`, a power of two */
} Slot;

typedef struct {
    char *key;   /* owned; with its closing quote, as it stands in the text */
    size_t size; /* of `key` */
    uint64_t head, mask; /* the first eight bytes of `key`, or all if it has fewer */
    uint64_t tail;       /* its last eight bytes, if it has more */
    int each;    /* its value is a list, and what is below applies to every element */
    int slot;    /* of its value; -1: none */
    int span;    /* the slot that keeps where its value stands; -1: none */
    int first_child, children;

    /* as the last object had it, for writers repeat themselves; -1: none */
    int first_found;    /* the child that came first */
    int follower;       /* the child of the same object that came after this one */
    int gap_after;      /* `gap` stood between the value of this child and its own; -1: after the brace */
    size_t gap_size;    /* 0: none */
    unsigned char gap[LONGEST_GAP]; /* from a value, over the comma and the key, to the next value */
} Node;

/* An expression whose value is that of a slot. */
typedef struct {
    int slot, root;
} Program;

typedef struct {
    PyObject_HEAD
    Node *nodes; /* owned; nodes[0] is the record; NULL until the plan is complete */
    Slot *slots; /* owned */
    int node_count, slot_count;
    Expression *expressions; /* owned; each after those that it is made of */
    Program *programs;       /* owned */
    Value *roots;            /* owned; of the line being read, by slot */
    int expression_count, program_count;
    Arena scratch, ids; /* of an expression; the texts of ids that stand nowhere in the block */
    size_t line_count, line_room; /* lines in the columns; lines that their arrays have room for */
    int failed;                   /* out of memory for them */
    Column lines;    /* int64: the number of each line that is in the columns */
    Column deferred; /* int64: number, start and end of each line that is not */
    Text limit;      /* borrowed: the end of the block */
    int busy;        /* reading without the interpreter's lock, or making the result */
} Reader;

/* ---- fields */

/* Make ready for the next line. */
static void forget(Slot *slot) {
    if (slot->state == MISSING) return;
    slot->state = MISSING;
    slot->value = NAN;
    slot->sum = (ExactSum){0};
    slot->count = 0;
    slot->rows_before = slot->rows.size;
}

static void take_back(Slot *slot) {
    slot->rows.size = slot->rows_before;
    forget(slot);
}

static int is_token_count(double value) { return value >= 0 && value < 0x1p53 && value == floor(value); }

/* A list of log-probs; `keeps` is a constant at both calls, so that a list that is only summed costs nothing more. */
static inline Text list_sum(Text p, Text limit, Slot *slot, int keeps) {
    double value;
    p = skip_space(p + 1);
    for (;;) {
        if (!(p = decimal(p, limit, &value))) return NULL;
        sum_add(&slot->sum, value);
        if (keeps) push(&slot->rows, &value, sizeof value);
        p = skip_space(p);
        if (*p == ']') return p + 1;
        if (*p != ',') return NULL;
        p = skip_space(p + 1);
    }
}

/* A list, whose elements are rows. */
static Text array_rows(Text p, Text limit, Slot *slot) {
    double value;
    p = skip_space(p + 1);
    for (;;) {
        if (!(p = decimal(p, limit, &value)) || !isfinite(value)) return NULL;
        if (slot->kind == TOKENS_ARRAY && !is_token_count(value)) return NULL;
        push(&slot->rows, &value, sizeof value);
        slot->count++;
        p = skip_space(p);
        if (*p == ']') return p + 1;
        if (*p != ',') return NULL;
        p = skip_space(p + 1);
    }
}

/* A string, or an integer of up to 18 digits, as it stands in the text. */
static Text id_value(Text p, Text limit, Slot *slot) {
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
    if (slot->kind == ID) return id_value(p, limit, slot);
    if (slot->kind >= NUMBER_ARRAY) {
        slot->state = LIST;
        return *p == '[' ? array_rows(p, limit, slot) : NULL;
    }
    if (*p == '[' && slot->kind == LOG_PROB) {
        Text inner = skip_space(p + 1);
        if (*inner == ']') return inner + 1; /* no log-probs */
        slot->state = LIST;
        return slot->keeps ? list_sum(p, limit, slot, 1) : list_sum(p, limit, slot, 0);
    }
    if (!(p = decimal(p, limit, &value)) || !isfinite(value)) return NULL;
    if (slot->kind == TOKENS && !is_token_count(value)) return NULL;
    if (slot->joins) {
        slot->state = slot->kind == LOG_PROB ? LIST : VALUE;
        sum_add(&slot->sum, value);
        if (slot->keeps) push(&slot->rows, &value, sizeof value);
    } else {
        slot->state = VALUE;
        slot->value = value;
    }
    return p;
}

/* The value of a slot; a lenient slot is unusable where it is not one. */
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
    if ((load8(p) & node->mask) != node->head) return 0;
    return size <= 8 || (load8(p + size - 8) == node->tail && (size <= 16 || !memcmp(p + 8, node->key + 8, size - 16)));
}

static Text object(Reader *reader, Node *node, Text p);

/* The elements of a list; those that are lists in turn, `inner`, stand for their elements. */
static Text elements(Reader *reader, Node *node, Text p, int inner) {
    p = skip_space(p + 1);
    if (*p == ']') return p + 1;
    for (;;) {
        if (!node->children) p = leaf(p, reader->limit, &reader->slots[node->slot]);
        else if (*p == '[' && !inner) p = elements(reader, node, p, 1);
        else p = *p == '{' ? object(reader, node, p) : NULL;
        if (!p) return NULL;
        p = skip_space(p);
        if (*p == ']') return p + 1;
        if (*p != ',') return NULL;
        p = skip_space(p + 1);
    }
}

static Text field(Reader *reader, Node *node, Text p) {
    Text begin = p;
    if (node->each) p = *p == '[' ? elements(reader, node, p, 0) : NULL;
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

/* True if the text at `p` is that which stood before the value of this node the last time. */
static inline int is_gap(const Node *node, Text p, Text limit) {
    size_t size = node->gap_size;
    if (size < 8 || limit - p < LONGEST_GAP || load8(p) != load8(node->gap)) return 0;
    if (load8(p + size - 8) != load8(node->gap + size - 8)) return 0;
    return size <= 16 || (load8(p + 8) == load8(node->gap + 8) && load8(p + size - 16) == load8(node->gap + size - 16));
}

/* The child whose key, after its quote, is at `p`: first of all the one that followed the last time; NULL if none. */
static inline Node *child_at(Node *children, int count, int follower, Text p, Text limit) {
    if (follower >= 0 && is_key(children + follower, p, limit)) return children + follower;
    for (Node *child = children; child < children + count; child++)
        if (is_key(child, p, limit)) return child;
    return NULL;
}

/* The child whose key stands between `p` and `end` with escapes; NULL if there is none. */
NO_INLINE static Node *escaped_child(Node *children, int count, Text p, Text end) {
    for (Node *child = children; child < children + count; child++) {
        Text q = p;
        size_t at = 0, size = 1;
        while (q < end && at + size <= child->size - 1) {
            char bytes[4] = {(char)*q};
            int escape = 1;
            q = *q == '\\' ? unescaped(q, bytes, &escape) : q + 1;
            size = escape;
            if (at + size > child->size - 1 || memcmp(child->key + at, bytes, size)) break;
            at += size;
            if (q == end && at == child->size - 1) return child;
        }
    }
    return NULL;
}

/* An object, at its brace. A key of the plan that occurs twice defers the line. */
static Text object(Reader *reader, Node *node, Text p) {
    Node *children = reader->nodes + node->first_child;
    int last = -1; /* the child found last */
    uint64_t found = 0; /* a bit per child */
    int empty = 1, after_last = 1; /* `p` is right after its value, or after the brace */
    p++;
    for (;;) {
        int *follower = last < 0 ? &node->first_found : &children[last].follower;
        Node *child = *follower < 0 ? NULL : children + *follower;
        if (child && after_last && child->gap_after == last && is_gap(child, p, reader->limit)) {
            p = skip_space(p + child->gap_size);
        } else {
            Text gap = p;
            int escaped = 0;
            p = skip_space(p);
            if (*p == '}') return p + 1;
            if (!empty) {
                if (*p != ',') return NULL;
                p = skip_space(p + 1);
            }
            if (*p++ != '"') return NULL;
            Text key = p;
            child = child_at(children, node->children, *follower, p, reader->limit);
            p = child ? p + child->size : string_end(p, reader->limit, &escaped);
            if (!p) return NULL;
            if (escaped) child = escaped_child(children, node->children, key, p - 1);
            p = skip_space(p);
            if (*p != ':') return NULL;
            p = skip_space(p + 1);
            if (child) *follower = (int)(child - children);
            if (child && after_last && p - gap <= LONGEST_GAP) {
                child->gap_after = last;
                child->gap_size = p - gap;
                memcpy(child->gap, gap, p - gap);
            }
        }
        empty = 0;
        after_last = child != NULL;
        if (child) {
            uint64_t bit = 1ull << (child - children);
            if (found & bit) return NULL;
            found |= bit;
            last = (int)(child - children);
            p = field(reader, child, p);
        } else {
            p = value_end(p, reader->limit);
        }
        if (!p) return NULL;
    }
}

/* ---- ids */

static Seed seed; /* of all readers of the process */

static int is_same(const Id *id, Text text, size_t size) {
    if (id->size != size) return 0;
    if (size < 8 || size > 16) return !memcmp(id->text, text, size);
    /* without a call, which would cost more */
    return load8(id->text) == load8(text) && load8(id->text + size - 8) == load8(text + size - 8);
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

/* The place of the id among the distinct ones. */
static int64_t place_of(Slot *slot, Text text, size_t size) {
    const Id *ids = (const Id *)slot->ids.data;
    size_t count = slot->ids.size / sizeof(Id);
    /* the responses of a prompt often stand together */
    if (count && is_same(&ids[count - 1], text, size)) return (int64_t)count - 1;
    if (2 * count >= slot->room) make_room(slot);
    if (slot->ids.failed) return 0;
    uint64_t hash = hash_of(text, size, seed);
    size_t at = hash & (slot->room - 1);
    for (; slot->places[at] >= 0; at = (at + 1) & (slot->room - 1)) {
        const Id *id = &ids[slot->places[at]];
        if (id->hash == hash && is_same(id, text, size)) return slot->places[at];
    }
    slot->places[at] = (int64_t)count;
    push(&slot->ids, &(Id){text, size, hash}, sizeof(Id));
    return (int64_t)count;
}

/* ---- expressions */

/* Computes what the expressions give for this line. */
static void run_programs(Reader *reader, Text base) {
    for (int i = 0; i < reader->slot_count; i++) {
        Slot *slot = &reader->slots[i];
        if (slot->kind != SPAN) continue;
        reader->roots[i] = (Value){.type = NOTHING};
        if (slot->state == VALUE) reader->roots[i] = value_in_text(slot->text, slot->text_end, reader->limit);
    }
    Evaluation of = {.nodes = reader->expressions, .scratch = &reader->scratch, .roots = reader->roots};
    for (const Program *program = reader->programs; program < reader->programs + reader->program_count; program++) {
        Slot *slot = &reader->slots[program->slot];
        Found found = {.kind = slot->kind, .lenient = slot->lenient, .keeps = slot->keeps, .rows = &slot->rows};
        int state = expression_state(&of, program->root, base, reader->limit, &reader->ids, &found);
        if (state == VALUE || state == LIST) {
            slot->value = found.value;
            slot->sum = found.sum;
            slot->text = found.text;
            slot->text_end = found.text_end;
        } else {
            slot->rows.size = slot->rows_before;
        }
        slot->state = state;
    }
    reader->failed |= of.failed;
}

/* ---- lines */

static int entry_size(const Slot *slot) { return slot->kind == SPAN ? 16 : 8; }

/* Makes room for more lines. */
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

/* Stores what this line has for the slot. */
static void keep(Slot *slot, size_t line, Text base) {
    if (slot->state == MISSING && !slot->used) return;
    if (!slot->used) {
        double nothing = NAN;
        for (size_t i = 0; i < line; i++) {
            slot->states[i] = MISSING;
            memcpy(&slot->values[i], &nothing, 8);
            slot->counts[i] = slot->kind == LOG_PROB ? -1 : 0;
        }
        if (slot->kind == ID || slot->kind == SPAN) memset(slot->values, -1, line * entry_size(slot));
        slot->used = 1;
    }
    slot->states[line] = (uint8_t)slot->state;
    switch (slot->kind) {
    case ID:
        slot->values[line] = slot->state == VALUE ? place_of(slot, slot->text, slot->text_end - slot->text) : -1;
        break;
    case SPAN:
        slot->values[2 * line] = slot->state == VALUE ? slot->text - base : -1;
        slot->values[2 * line + 1] = slot->state == VALUE ? slot->text_end - base : -1;
        break;
    case LOG_PROB:
        slot->counts[line] = slot->state == LIST ? slot->sum.count : -1; /* fall through */
    case NUMBER: case TOKENS: case TRUTH:
        memcpy(&slot->values[line], &slot->value, 8);
        break;
    default:
        slot->counts[line] = slot->count;
    }
    forget(slot);
}

/* True if the slot's sum, if it has one, is known to the last bit. */
static int is_settled(Slot *slot) { return !slot->sum.count || sum_rounded(&slot->sum, &slot->value); }

/* Reads every line from `base` to the limit. Returns their number, and adds that of the blank ones. */
static int64_t read_lines(Reader *reader, Text base, int64_t longest, int64_t *blank) {
    Slot *last = reader->slots + reader->slot_count;
    int64_t number = 0;
    for (Text p = base; p < reader->limit;) {
        number++;
        Text begin = skip_space(p), end = *begin == '{' ? object(reader, reader->nodes, begin) : NULL;
        if (end) end = skip_space(end);
        int plain = end && *end == '\n' && end - p <= longest;
        if (plain && reader->program_count) run_programs(reader, base);
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
                push_integer(&reader->deferred, number);
                push_integer(&reader->deferred, p - base);
                push_integer(&reader->deferred, end - base);
            }
        }
        p = end + 1;
    }
    return number;
}

/* ---- to and from Python */

typedef struct {
    PyTypeObject *lines, *slot; /* owned: the types of the results */
} Types;

static PyStructSequence_Field lines_fields[] = {
    {"lines", "number of lines, the blank ones included"},
    {"blank", "number of blank lines"},
    {"numbers", "int64: the number (from 1) of each line that is in the columns"},
    {"deferred", "int64: number, start and end (bytes from the block's beginning) of each line that is not"},
    {"slots", "a Slot for each slot of the plan"},
    {NULL, NULL}};

static PyStructSequence_Field slot_fields[] = {
    {"states", "uint8: what each line has; one state if all lines have the same; empty if no line has anything"},
    {"values", "float64; int64 of ids (places among the distinct) and of spans (start and end); of an array, its rows"},
    {"counts", "int64: tokens, -1 for a plain number; rows of an array; empty if no line has a list"},
    {"id_texts", "the distinct ids in order of first occurrence, as in the text, each followed by a comma"},
    {"id_ends", "int64: the end of each in id_texts, its comma included"},
    {"tokens", "float64: the log-probs of all lists, one after another, if the slot keeps them"},
    {NULL, NULL}};

static PyStructSequence_Desc lines_type = {"budget_cli.native.reader.Lines", "The lines of a block.", lines_fields, 5};
static PyStructSequence_Desc slot_type = {"budget_cli.native.reader.Slot", "The column of a slot.", slot_fields, 6};

static PyObject *bytes_of(const void *data, size_t size) {
    return PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
}

/* A result of this type; takes the references, and NULL if one of them is NULL. */
static PyObject *named(PyTypeObject *type, PyObject **items, int count) {
    PyObject *result = PyStructSequence_New(type);
    int complete = result != NULL;
    for (int i = 0; i < count; i++) {
        if (!items[i]) complete = 0;
        if (result) PyStructSequence_SetItem(result, i, items[i]);
        else Py_XDECREF(items[i]);
    }
    if (!complete) Py_CLEAR(result);
    return result;
}

/* Puts the distinct ids, a comma after each, and their ends; false, with an exception, if there is no memory. */
static int put_ids(const Slot *slot, PyObject **texts, PyObject **ends) {
    const Id *ids = (const Id *)slot->ids.data;
    size_t count = slot->ids.size / sizeof(Id), size = 0;
    for (size_t i = 0; i < count; i++) size += ids[i].size + 1;
    *texts = bytes_of(NULL, size);
    *ends = bytes_of(NULL, count * sizeof(int64_t));
    if (!*texts || !*ends) return 0;
    char *text = PyBytes_AsString(*texts), *end = PyBytes_AsString(*ends);
    int64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(text + at, ids[i].text, ids[i].size);
        at += (int64_t)ids[i].size + 1;
        text[at - 1] = ',';
        memcpy(end + i * sizeof at, &at, sizeof at);
    }
    return 1;
}

static PyObject *slot_result(const Types *types, const Slot *slot, size_t lines) {
    if (!slot->used) lines = 0;
    int array = slot->kind == NUMBER_ARRAY || slot->kind == TOKENS_ARRAY;
    int alike = lines > 0 && !memcmp(slot->states, slot->states + 1, lines - 1);
    int counted = array || (slot->kind == LOG_PROB && lines && memchr(slot->states, LIST, lines));
    PyObject *items[6] = {bytes_of(slot->states, alike ? 1 : lines),
                          array ? bytes_of(slot->rows.data, slot->rows.size)
                                : bytes_of(slot->values, lines * entry_size(slot)),
                          bytes_of(slot->counts, counted ? 8 * lines : 0), NULL, NULL,
                          bytes_of(slot->rows.data, slot->keeps ? slot->rows.size : 0)};
    put_ids(slot, &items[3], &items[4]);
    return named(types->slot, items, 6);
}

static PyObject *slot_results(const Types *types, const Reader *reader) {
    PyObject *slots = PyList_New(reader->slot_count);
    for (int i = 0; slots && i < reader->slot_count; i++) {
        PyObject *slot = slot_result(types, &reader->slots[i], reader->line_count);
        if (!slot || PyList_SetItem(slots, i, slot) < 0) Py_CLEAR(slots);
    }
    return slots;
}

/* Make ready for the next block. */
static void clear(Reader *reader) {
    reader->line_count = reader->lines.size = reader->deferred.size = 0;
    reader->failed = reader->lines.failed = reader->deferred.failed = 0;
    arena_reset(&reader->ids);
    for (Slot *slot = reader->slots; slot < reader->slots + reader->slot_count; slot++) {
        slot->used = 0;
        slot->rows.size = slot->rows_before = slot->ids.size = 0;
        slot->rows.failed = slot->ids.failed = 0;
        slot->state = UNUSABLE;
        forget(slot);
        if (slot->places) memset(slot->places, -1, slot->room * sizeof *slot->places);
    }
}

static int has_failed(const Reader *reader) {
    int failed = reader->failed | reader->lines.failed | reader->deferred.failed;
    for (const Slot *slot = reader->slots; slot < reader->slots + reader->slot_count; slot++)
        failed |= slot->rows.failed | slot->ids.failed;
    return failed;
}

PyDoc_STRVAR(read_doc,
             "read(buffer, start, stop, longest)\n--\n\n"
             "Read the lines of buffer[start:stop], which ends with a newline. Return Lines, with arrays as bytes.\n\n"
             "A line of more than `longest` bytes is deferred. The buffer must not be written to meanwhile.");

static PyObject *Reader_read(Reader *reader, PyObject *args) {
    PyObject *buffer, *result = NULL;
    Py_ssize_t start, stop;
    long long longest;
    int64_t lines, blank = 0;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "OnnL", &buffer, &start, &stop, &longest)) return NULL;
    if (!reader->nodes) {
        PyErr_SetString(PyExc_RuntimeError, "the reader has no plan: its __init__ was not called, or failed");
        return NULL;
    }
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) return NULL;
    if (reader->busy) { /* asked after a buffer was given, which may have been done in Python */
        PyErr_SetString(PyExc_RuntimeError, "a reader reads one block at a time");
        PyBuffer_Release(&view);
        return NULL;
    }
    if (start < 0 || start >= stop || stop > view.len || ((const char *)view.buf)[stop - 1] != '\n') {
        PyErr_SetString(PyExc_ValueError, "expected whole lines");
        PyBuffer_Release(&view);
        return NULL;
    }
    reader->busy = 1;
    reader->limit = (Text)view.buf + stop;
    clear(reader);
    Py_BEGIN_ALLOW_THREADS
    lines = read_lines(reader, (Text)view.buf + start, longest, &blank);
    Py_END_ALLOW_THREADS
    if (has_failed(reader)) {
        PyErr_NoMemory();
    } else {
        const Types *types = PyType_GetModuleState(Py_TYPE((PyObject *)reader));
        PyObject *items[5] = {PyLong_FromLongLong(lines), PyLong_FromLongLong(blank),
                              bytes_of(reader->lines.data, reader->lines.size),
                              bytes_of(reader->deferred.data, reader->deferred.size), slot_results(types, reader)};
        result = named(types->lines, items, 5);
    }
    reader->busy = 0;
    PyBuffer_Release(&view);
    return result;
}

/* ---- the plan */

static void free_expressions(Expression *expressions, int count) {
    for (int i = 0; expressions && i < count; i++) free(expressions[i].text);
    free(expressions);
}

static void free_plan(Node *nodes, int node_count, Slot *slots, int slot_count) {
    for (int i = 0; nodes && i < node_count; i++) free(nodes[i].key);
    for (int i = 0; slots && i < slot_count; i++) {
        Slot *slot = &slots[i];
        free(slot->states);
        free(slot->values);
        free(slot->counts);
        free(slot->rows.data);
        free(slot->ids.data);
        free(slot->places);
    }
    free(nodes);
    free(slots);
}

/* The item at `i`, borrowed; NULL, with an exception, if it is no tuple. */
static PyObject *tuple_at(PyObject *items, Py_ssize_t i) {
    PyObject *item = PyTuple_GetItem(items, i);
    if (item && !PyTuple_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "expected a tuple for each node and each slot");
        return NULL;
    }
    return item;
}

static int put_slot(Slot *slot, PyObject *item) {
    if (!PyArg_ParseTuple(item, "iii|i", &slot->kind, &slot->joins, &slot->lenient, &slot->keeps)) return 0;
    if (slot->keeps && slot->kind != LOG_PROB) {
        PyErr_SetString(PyExc_ValueError, "only a slot of log-probs keeps them");
        return 0;
    }
    if (slot->kind >= 0 && slot->kind < KINDS) return 1;
    PyErr_Format(PyExc_ValueError, "no kind of slot is %d", slot->kind);
    return 0;
}

static int put_node(Node *node, PyObject *item) {
    const char *key;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(item, "y#iiiii", &key, &size, &node->each, &node->slot, &node->span, &node->first_child,
                          &node->children))
        return 0;
    if (!size) {
        PyErr_SetString(PyExc_ValueError, "a key has at least its closing quote");
        return 0;
    }
    node->key = malloc(size);
    if (!node->key) {
        PyErr_NoMemory();
        return 0;
    }
    memcpy(node->key, key, size);
    node->size = size;
    node->first_found = node->follower = node->gap_after = -1;
    memcpy(&node->head, key, size < 8 ? size : 8);
    node->mask = size < 8 ? (1ull << 8 * size) - 1 : ~0ull;
    if (size > 8) memcpy(&node->tail, key + size - 8, 8);
    return 1;
}

/* What is wrong with the plan, or NULL. Children stand after their parent, so there is no circle, and each is reached
once; the depth is bounded because objects are read by recursion over the plan. */
static const char *plan_fault(const Node *nodes, Py_ssize_t node_count, const Slot *slots, Py_ssize_t slot_count,
                              int *depth) {
    Py_ssize_t next = 1;
    for (Py_ssize_t i = 0; i < node_count; i++) {
        const Node *node = &nodes[i];
        if (node->children < 0 || node->children > MAX_CHILDREN) return "too many children";
        if (node->children && node->first_child != next) return "children do not follow one another";
        if (node->children > node_count - next) return "no such child";
        if (depth[i] > MAX_DEPTH) return "the plan is too deep";
        for (int child = 0; child < node->children; child++) depth[next + child] = depth[i] + 1;
        next += node->children;
        if (node->slot < -1 || node->slot >= slot_count || node->span < -1 || node->span >= slot_count)
            return "no such slot";
        if (node->slot >= 0 && slots[node->slot].kind >= SPAN) return "a value needs another kind of slot than a span";
        if (node->span >= 0 && slots[node->span].kind != SPAN) return "a span needs a slot of its kind";
        if (node->each && !node->children && node->slot < 0) return "the elements of a list need a slot or children";
    }
    return next == node_count ? NULL : "a node without a parent";
}

/* An operation, given as (operation, slot, number, text, parts); `levels` are those of the operations before it. */
static int put_expression(Expression *expression, PyObject *item, int at, int *levels, const Slot *slots, int slot_count) {
    PyObject *text, *parts;
    char *bytes;
    Py_ssize_t size;
    long long number;
    if (!PyArg_ParseTuple(item, "iiLO!O!", &expression->operation, &expression->slot, &number, &PyBytes_Type, &text,
                          &PyTuple_Type, &parts))
        return 0;
    if (PyBytes_AsStringAndSize(text, &bytes, &size) < 0) return 0;
    expression->number = number;
    int operation = expression->operation, count = (int)PyTuple_Size(parts), expected;
    const char *fault = operation < 0 || operation >= OPERATIONS ? "no such operation" : NULL;
    if (!fault) {
        expected = operation_parts(operation);
        if (count > MAX_ARGUMENTS || (expected < 0 ? !count : count != expected)) fault = "an operation of other parts";
        if (operation == ROOT && (expression->slot < 0 || expression->slot >= slot_count || slots[expression->slot].kind != SPAN))
            fault = "a root needs a span";
        if ((operation == FIELD || operation == LITERAL) && size < 2) fault = "an operation needs its text";
    }
    levels[at] = 1;
    for (int i = 0; !fault && i < count; i++) {
        long part = PyLong_AsLong(PyTuple_GetItem(parts, i));
        if (part == -1 && PyErr_Occurred()) return 0;
        if (part < 0 || part >= at) {
            fault = "the parts of an operation come before it";
            break;
        }
        expression->children[i] = (int)part;
        if (levels[part] >= levels[at]) levels[at] = levels[part] + 1;
    }
    if (!fault && levels[at] > MAX_LEVELS) fault = "an expression is too deep";
    if (fault) {
        PyErr_SetString(PyExc_ValueError, fault);
        return 0;
    }
    expression->count = count;
    expression->size = size;
    if (!(expression->text = malloc(size + 1))) {
        PyErr_NoMemory();
        return 0;
    }
    memcpy(expression->text, bytes, size + 1);
    if (operation == LITERAL && !is_literal((Text)expression->text, size)) {
        PyErr_SetString(PyExc_ValueError, "a literal is JSON and a newline");
        return 0;
    }
    return 1;
}

static int put_program(Program *program, PyObject *item, int expression_count, const Slot *slots, int slot_count) {
    if (!PyArg_ParseTuple(item, "ii", &program->slot, &program->root)) return 0;
    int kind = program->slot >= 0 && program->slot < slot_count ? slots[program->slot].kind : SPAN;
    if (kind != SPAN && kind != NUMBER_ARRAY && kind != TOKENS_ARRAY && program->root >= 0 && program->root < expression_count)
        return 1;
    PyErr_SetString(PyExc_ValueError, "no such program");
    return 0;
}

PyDoc_STRVAR(Reader_doc,
             "Reader(nodes, slots, expressions=(), programs=())\n--\n\n"
             "Reads blocks of lines by a plan, one block at a time.\n\n"
             "A node is (key with its closing quote, each, slot, span, first child, number of children), a slot is\n"
             "(kind, joins, lenient, keeps), the last of which may be left out. The record is the first node; the children of all nodes follow in their order.\n"
             "An expression is (operation, slot of a span, number, text, parts), its parts before it; a program is (slot,\n"
             "expression): the slot takes what the expression gives.");

static int Reader_init(Reader *reader, PyObject *args, PyObject *named_args) {
    PyObject *lists[4] = {NULL}, *items[4] = {NULL};
    Py_ssize_t counts[4] = {0};
    (void)named_args;
    if (!PyArg_ParseTuple(args, "O!O!|O!O!", &PyList_Type, &lists[0], &PyList_Type, &lists[1], &PyList_Type, &lists[2],
                          &PyList_Type, &lists[3]))
        return -1;
    if (reader->nodes) {
        PyErr_SetString(PyExc_TypeError, "a reader is made once");
        return -1;
    }
    /* tuples of our own: an item's __index__ may change the lists, which would free what is being read */
    int made = 1;
    for (int i = 0; i < 4; i++) {
        items[i] = lists[i] ? PyList_AsTuple(lists[i]) : PyTuple_New(0);
        made = made && items[i];
        counts[i] = items[i] ? PyTuple_Size(items[i]) : 0;
    }
    int node_count = (int)counts[0], slot_count = (int)counts[1], expression_count = (int)counts[2];
    Node *nodes = calloc(counts[0] + 1, sizeof(Node));
    Slot *slots = calloc(counts[1] + 1, sizeof(Slot));
    Expression *expressions = calloc(counts[2] + 1, sizeof(Expression));
    Program *programs = calloc(counts[3] + 1, sizeof(Program));
    Value *roots = calloc(counts[1] + 1, sizeof(Value));
    int *depth = calloc((counts[0] > counts[2] ? counts[0] : counts[2]) + 1, sizeof *depth);
    if (made && (!nodes || !slots || !expressions || !programs || !roots || !depth)) {
        PyErr_NoMemory();
        made = 0;
    }
    for (Py_ssize_t i = 0; made && i < counts[1]; i++) {
        PyObject *item = tuple_at(items[1], i);
        made = item && put_slot(&slots[i], item);
    }
    for (Py_ssize_t i = 0; made && i < counts[0]; i++) {
        PyObject *item = tuple_at(items[0], i);
        made = item && put_node(&nodes[i], item);
    }
    const char *fault = made ? plan_fault(nodes, node_count, slots, slot_count, depth) : NULL;
    if (fault) PyErr_SetString(PyExc_ValueError, fault);
    made = made && !fault;
    for (Py_ssize_t i = 0; made && i < counts[2]; i++) {
        PyObject *item = tuple_at(items[2], i);
        made = item && put_expression(&expressions[i], item, (int)i, depth, slots, slot_count);
    }
    for (Py_ssize_t i = 0; made && i < counts[3]; i++) {
        PyObject *item = tuple_at(items[3], i);
        made = item && put_program(&programs[i], item, expression_count, slots, slot_count);
    }
    if (made && reader->nodes) PyErr_SetString(PyExc_TypeError, "a reader is made once"); /* by an __index__ */
    made = made && !PyErr_Occurred();
    if (made) {
        reader->nodes = nodes;
        reader->slots = slots;
        reader->expressions = expressions;
        reader->programs = programs;
        reader->roots = roots;
        reader->node_count = node_count;
        reader->slot_count = slot_count;
        reader->expression_count = expression_count;
        reader->program_count = (int)counts[3];
    } else {
        free_plan(nodes, node_count, slots, slot_count);
        free_expressions(expressions, expression_count);
        free(programs);
        free(roots);
    }
    free(depth);
    for (int i = 0; i < 4; i++) Py_XDECREF(items[i]);
    return made ? 0 : -1;
}

static void Reader_dealloc(Reader *reader) {
    PyTypeObject *type = Py_TYPE((PyObject *)reader);
    free_plan(reader->nodes, reader->node_count, reader->slots, reader->slot_count);
    free_expressions(reader->expressions, reader->expression_count);
    free(reader->programs);
    free(reader->roots);
    arena_free(&reader->scratch);
    arena_free(&reader->ids);
    free(reader->lines.data);
    free(reader->deferred.data);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(reader);
    Py_DECREF(type);
}

/* ---- the module */

static PyMethodDef methods[] = {{"read", (PyCFunction)Reader_read, METH_VARARGS, read_doc}, {NULL, NULL, 0, NULL}};

static PyType_Slot type_slots[] = {{Py_tp_init, Reader_init},
                                   {Py_tp_dealloc, Reader_dealloc},
                                   {Py_tp_methods, methods},
                                   {Py_tp_doc, (void *)Reader_doc},
                                   {0, NULL}};

static PyType_Spec type_spec = {"budget_cli.native.reader.Reader", sizeof(Reader), 0, Py_TPFLAGS_DEFAULT, type_slots};

static const struct {
    const char *name;
    int value;
} constants[] = {{"ID", ID},
                 {"NUMBER", NUMBER},
                 {"TOKENS", TOKENS},
                 {"LOG_PROB", LOG_PROB},
                 {"NUMBER_ARRAY", NUMBER_ARRAY},
                 {"TOKENS_ARRAY", TOKENS_ARRAY},
                 {"SPAN", SPAN},
                 {"TRUTH", TRUTH},
                 {"MAX_ARGUMENTS", MAX_ARGUMENTS},
                 {"MAX_LEVELS", MAX_LEVELS},
                 {"VALUE", VALUE},
                 {"MISSING", MISSING},
                 {"NULL", IS_NULL},
                 {"LIST", LIST},
                 {"UNUSABLE", UNUSABLE},
                 {"MAX_CHILDREN", MAX_CHILDREN},
                 {"MAX_DEPTH", MAX_DEPTH}};

static int execute(PyObject *module) {
    Types *types = PyModule_GetState(module);
    if (!seed.first && !draw_seed(&seed)) return -1; /* once: a reader may be at work */
    if (!decimal_init() || !evaluation_begins()) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0) return -1;
    PyObject *operations = PyTuple_New(OPERATIONS);
    for (int i = 0; operations && i < OPERATIONS; i++) {
        PyObject *name = PyUnicode_FromString(operation_name(i));
        if (!name || PyTuple_SetItem(operations, i, name) < 0) Py_CLEAR(operations);
    }
    int named = operations ? PyModule_AddObjectRef(module, "OPERATIONS", operations) : -1;
    Py_XDECREF(operations);
    if (named < 0) return -1;
    types->lines = PyStructSequence_NewType(&lines_type);
    types->slot = PyStructSequence_NewType(&slot_type);
    if (!types->lines || !types->slot) return -1;
    PyObject *type = PyType_FromModuleAndSpec(module, &type_spec, NULL);
    int added = type ? PyModule_AddObjectRef(module, "Reader", type) : -1;
    Py_XDECREF(type);
    if (added == 0) added = PyModule_AddObjectRef(module, "Lines", (PyObject *)types->lines);
    if (added == 0) added = PyModule_AddObjectRef(module, "Slot", (PyObject *)types->slot);
    return added;
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    Types *types = PyModule_GetState(module);
    Py_VISIT(types->lines);
    Py_VISIT(types->slot);
    return 0;
}

static int clear_module(PyObject *module) {
    Types *types = PyModule_GetState(module);
    Py_CLEAR(types->lines);
    Py_CLEAR(types->slot);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "reader", "A block of JSON lines as columns.", sizeof(Types),
                                 NULL, module_slots, traverse, clear_module, NULL};

PyMODINIT_FUNC PyInit_reader(void) { return PyModuleDef_Init(&definition); }
