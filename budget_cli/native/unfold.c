/* Lines that hold several records -> a line for each record, with the members that a plan reads.

A line is a list of records, an object with such a list at a path, whose other members belong to each of them, or an
object of parallel arrays. Either every record of a line is written, every byte of the line checked, or the line is
deferred: its place goes back to Python, where the reference reader knows the reasons. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <stdlib.h>

#include "column.h"
#include "json_scan.h"

enum { MAX_KEYS = 64 };
enum { MOST_GROWTH = 16, FREE_GROWTH = 1 << 16 }; /* of a line, whose shared members are written for each record */

/* What a line is. The constants are exported to Python. */
enum Form { LISTS, PATH, COLUMNS, FORMS };

typedef struct {
    Text begin, end; /* borrowed from the block; NULL: not there */
} Span;

typedef struct {
    const char *text; /* borrowed; with its closing quote, as it stands in the text */
    size_t size;
    uint64_t head, mask; /* its first eight bytes, or all if it has fewer */
    int sizes;           /* of COLUMNS: a list here says how many records there are */
} Key;

typedef struct {
    Key *keys;
    int count;
} Keys;

typedef struct {
    int form;
    Keys read;    /* the members of a record that are written */
    Keys path;    /* of PATH: the keys to the list, one below the other */
    Keys around;  /* of PATH: the members of the line that a record has below `_line`; none: it has no such member */
    Keys top;     /* of PATH: all that are looked for in the line, and where those of `read` and `around` are there */
    int read_at[MAX_KEYS], around_at[MAX_KEYS], list_at;
    int line_key; /* the place of `_line` in `read`; -1: it is not read */
    Key keys[5 * MAX_KEYS + 1]; /* those of `read`, `path` and `around`, then those of `top` */
    Text limit;   /* borrowed: the end of the block */
    Column rows, lines, deferred, elements;
} Unfolding;

/* The key at `p`, after its quote, tried first at `guess`; -1 if it is none of them. */
static int key_at(const Keys *keys, Text p, Text limit, int guess) {
    uint64_t head = 0;
    memcpy(&head, p, limit - p < 8 ? limit - p : 8); /* a newline ends it before the limit, so no key is longer */
    for (int i = 0; i < keys->count; i++) {
        int at = guess + i < keys->count ? guess + i : guess + i - keys->count;
        const Key *key = &keys->keys[at];
        if ((head & key->mask) == key->head && (size_t)(limit - p) >= key->size && !memcmp(p, key->text, key->size))
            return at;
    }
    return -1;
}

/* An object, at its brace: puts where the values of these keys stand, and returns its end. NULL if a key occurs twice
or has escapes. */
static Text members(Text p, Text limit, const Keys *keys, Span *found) {
    int guess = 0;
    memset(found, 0, keys->count * sizeof *found);
    p = skip_space(p + 1);
    if (*p == '}') return p + 1;
    for (;;) {
        int escaped = 0;
        if (*p++ != '"') return NULL;
        int at = key_at(keys, p, limit, guess);
        p = at < 0 ? string_end(p, limit, &escaped) : p + keys->keys[at].size;
        if (!p || escaped) return NULL;
        p = skip_space(p);
        if (*p != ':') return NULL;
        p = skip_space(p + 1);
        Text begin = p;
        if (!(p = value_end(p, limit))) return NULL;
        if (at >= 0) {
            if (found[at].begin) return NULL;
            found[at] = (Span){begin, p};
            guess = at + 1 < keys->count ? at + 1 : 0;
        }
        p = skip_space(p);
        if (*p == '}') return p + 1;
        if (*p != ',') return NULL;
        p = skip_space(p + 1);
    }
}

/* The elements of a list, at its bracket, after those that are there already; NULL if it is not valid. */
static Text list_elements(Unfolding *of, Text p) {
    p = skip_space(p + 1);
    if (*p == ']') return p + 1;
    for (;;) {
        Span element = {p, value_end(p, of->limit)};
        if (!element.end) return NULL;
        push(&of->elements, &element, sizeof element);
        p = skip_space(element.end);
        if (*p == ']') return p + 1;
        if (*p != ',') return NULL;
        p = skip_space(p + 1);
    }
}

static void put_member(Column *rows, const Key *key, Span value) {
    size_t size = value.end - value.begin;
    char *to = push_room(rows, key->size + size + 3);
    if (!to) return;
    to[0] = '"';
    memcpy(to + 1, key->text, key->size);
    to[key->size + 1] = ':';
    memcpy(to + key->size + 2, value.begin, size);
    to[key->size + size + 2] = ',';
}

/* Ends an object, which has a comma after each member. */
static void close_object(Column *rows, const char *end, size_t size) {
    if (rows->size && rows->data[rows->size - 1] == ',') rows->size--;
    push(rows, end, size);
}

/* A record, at its brace; `shared` are the members of the line, or NULL; `around` those below `_line`. */
static Text record_row(Unfolding *of, Text p, const Span *shared, const Span *around) {
    Span found[MAX_KEYS];
    Text begin = p;
    if (*p != '{' || !(p = members(p, of->limit, &of->read, found))) return NULL;
    Column *rows = &of->rows;
    size_t size = 0;
    for (int i = 0; i < of->read.count; i++)
        if (found[i].begin) size += found[i].end - found[i].begin + of->read.keys[i].size;
    int whole = 2 * size > (size_t)(p - begin); /* written as it is, if most of it is read */
    if (whole) push(rows, begin, p - begin - 1);
    push(rows, whole ? "," : "{", 1);
    for (int i = 0; i < of->read.count; i++) {
        const Key *key = &of->read.keys[i];
        if (found[i].begin) {
            if (!whole) put_member(rows, key, found[i]);
        } else if (i == of->line_key && around) {
            push(rows, "\"", 1);
            push(rows, key->text, key->size);
            push(rows, ":{", 2);
            for (int j = 0; j < of->around.count; j++)
                if (around[j].begin) put_member(rows, &of->around.keys[j], around[j]);
            close_object(rows, "},", 2);
        } else if (shared && shared[i].begin) {
            put_member(rows, key, shared[i]);
        }
    }
    close_object(rows, "}\n", 2);
    return p;
}

/* A list of records, at its bracket. Returns how many there are; -1 if one is no object, or anything is not valid. */
static int64_t list_rows(Unfolding *of, Text p, Text *end, const Span *shared, const Span *around) {
    int64_t count = 0;
    if (*p != '[') return -1;
    p = skip_space(p + 1);
    if (*p == ']') return -1;
    for (;;) {
        if (!(p = record_row(of, p, shared, around))) return -1;
        count++;
        p = skip_space(p);
        if (*p == ']') {
            *end = p + 1;
            return count;
        }
        if (*p != ',') return -1;
        p = skip_space(p + 1);
    }
}

static int64_t path_rows(Unfolding *of, Text p, Text *end) {
    Span found[2 * MAX_KEYS + 1], shared[MAX_KEYS], around[MAX_KEYS], step;
    Text unused;
    if (*p != '{' || !(*end = members(p, of->limit, &of->top, found))) return -1;
    for (int i = 0; i < of->read.count; i++) shared[i] = found[of->read_at[i]];
    for (int i = 0; i < of->around.count; i++) around[i] = found[of->around_at[i]];
    step = found[of->list_at];
    for (int i = 1; i < of->path.count && step.begin; i++) {
        Keys one = {.keys = of->path.keys + i, .count = 1};
        if (*step.begin != '{' || !members(step.begin, of->limit, &one, &step)) return -1;
    }
    return step.begin ? list_rows(of, step.begin, &unused, shared, of->around.count ? around : NULL) : -1;
}

static int64_t column_rows(Unfolding *of, Text p, Text *end) {
    Span found[MAX_KEYS];
    size_t first[MAX_KEYS];
    int64_t sizes[MAX_KEYS], size = -1;
    if (*p != '{' || !(*end = members(p, of->limit, &of->read, found))) return -1;
    of->elements.size = 0;
    for (int i = 0; i < of->read.count; i++) {
        sizes[i] = -1;
        if (!found[i].begin || *found[i].begin != '[') continue;
        first[i] = of->elements.size / sizeof(Span);
        if (!list_elements(of, found[i].begin)) return -1;
        sizes[i] = (int64_t)(of->elements.size / sizeof(Span) - first[i]);
        if (!of->read.keys[i].sizes) continue;
        if (size >= 0 && sizes[i] != size) return -1;
        size = sizes[i];
    }
    if (size <= 0 || of->elements.failed) return -1;
    size_t room = of->rows.size + MOST_GROWTH * (size_t)(*end - p) + FREE_GROWTH;
    for (int64_t row = 0; row < size; row++) {
        push(&of->rows, "{", 1);
        for (int i = 0; i < of->read.count; i++) {
            if (!found[i].begin) continue;
            const Span *elements = (const Span *)of->elements.data + (sizes[i] == size ? first[i] : 0);
            put_member(&of->rows, &of->read.keys[i], sizes[i] == size ? elements[row] : found[i]);
        }
        close_object(&of->rows, "}\n", 2);
        if (of->rows.size > room) return -1;
    }
    return size;
}

/* Unfolds every line from `base` to the limit. Returns their number, and adds that of the blank ones. */
static int64_t unfold_lines(Unfolding *of, Text base, int64_t longest, int64_t *blank) {
    int64_t number = 0;
    for (Text p = base; p < of->limit;) {
        number++;
        Text begin = skip_space(p), end = NULL;
        size_t before = of->rows.size;
        int64_t rows = of->form == LISTS  ? list_rows(of, begin, &end, NULL, NULL)
                       : of->form == PATH ? path_rows(of, begin, &end)
                                          : column_rows(of, begin, &end);
        if (rows > 0) end = skip_space(end);
        size_t most = MOST_GROWTH * (size_t)(end ? end - p : 0) + FREE_GROWTH;
        if (rows > 0 && *end == '\n' && end - p <= longest && of->rows.size - before <= most) {
            for (int64_t i = 0; i < rows; i++) push_integer(&of->lines, number);
        } else {
            of->rows.size = before;
            end = memchr(p, '\n', of->limit - p);
            if (*begin == '\n' && end - p <= longest) {
                ++*blank;
            } else {
                push_integer(&of->deferred, number);
                push_integer(&of->deferred, p - base);
                push_integer(&of->deferred, end - base);
            }
        }
        p = end + 1;
        if (of->rows.failed) break;
    }
    return number;
}

/* ---- to and from Python */

/* The place of the key among those of `top`, to which it is added if it is not there. */
static int top_place(Keys *top, const Key *key) {
    for (int i = 0; i < top->count; i++)
        if (top->keys[i].size == key->size && !memcmp(top->keys[i].text, key->text, key->size)) return i;
    top->keys[top->count] = *key;
    return top->count++;
}

/* The keys of a tuple of bytes, borrowed; false, with an exception, if they are something else. */
static int get_keys(PyObject *items, Keys *keys, Key *room) {
    keys->keys = room;
    keys->count = 0;
    Py_ssize_t count = PyTuple_Size(items);
    if (count > MAX_KEYS) {
        PyErr_SetString(PyExc_ValueError, "too many keys");
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Key *key = &keys->keys[i];
        char *text;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(items, i), &text, &size) < 0) return 0;
        if (!size) {
            PyErr_SetString(PyExc_ValueError, "a key has at least its closing quote");
            return 0;
        }
        *key = (Key){.text = text, .size = (size_t)size, .mask = size < 8 ? (1ull << 8 * size) - 1 : ~0ull};
        memcpy(&key->head, text, size < 8 ? size : 8);
    }
    keys->count = (int)count;
    return 1;
}

static PyObject *bytes_of(const Column *column) {
    return PyBytes_FromStringAndSize(column->data, (Py_ssize_t)column->size);
}

PyDoc_STRVAR(unfold_doc,
             "unfold(buffer, start, stop, longest, form, read, sizing, path, around, line_key)\n--\n\n"
             "Unfold the lines of buffer[start:stop], which ends with a newline, into lines of one record each.\n\n"
             "The keys are tuples of bytes, each with its closing quote: those that are read, the first `sizing` of\n"
             "which say how many records there are in arrays side by side; those of the path; those of the line that\n"
             "a record has below `_line`, which is read[line_key] (-1: it is not read). A line of more than `longest`\n"
             "bytes is deferred. Return the lines; for each the number of the line that it is from (int64, as bytes);\n"
             "number, start and end of each line that is deferred; and the number of lines, and of blank ones.");

static PyObject *unfold(PyObject *module, PyObject *args) {
    PyObject *buffer, *read, *path, *around;
    Py_ssize_t start, stop;
    long long longest;
    int64_t lines, blank = 0;
    int sizing;
    Unfolding *of;
    Py_buffer view;
    (void)module;
    if (!(of = calloc(1, sizeof *of))) return PyErr_NoMemory();
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "OnnLiO!iO!O!i", &buffer, &start, &stop, &longest, &of->form, &PyTuple_Type, &read,
                          &sizing, &PyTuple_Type, &path, &PyTuple_Type, &around, &of->line_key))
        goto freed;
    if (!get_keys(read, &of->read, of->keys) || !get_keys(path, &of->path, of->keys + MAX_KEYS) ||
        !get_keys(around, &of->around, of->keys + 2 * MAX_KEYS))
        goto freed;
    if (of->form < 0 || of->form >= FORMS || sizing > of->read.count || of->line_key >= of->read.count ||
        (of->form == PATH && !of->path.count)) {
        PyErr_SetString(PyExc_ValueError, "no such form or key");
        goto freed;
    }
    for (int i = 0; i < sizing; i++) of->read.keys[i].sizes = 1;
    of->top.keys = of->keys + 3 * MAX_KEYS;
    for (int i = 0; i < of->read.count; i++) of->read_at[i] = top_place(&of->top, &of->read.keys[i]);
    for (int i = 0; i < of->around.count; i++) of->around_at[i] = top_place(&of->top, &of->around.keys[i]);
    if (of->path.count) of->list_at = top_place(&of->top, &of->path.keys[0]);
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) goto freed;
    if (start < 0 || start >= stop || stop > view.len || ((const char *)view.buf)[stop - 1] != '\n') {
        PyErr_SetString(PyExc_ValueError, "expected whole lines");
    } else {
        of->limit = (Text)view.buf + stop;
        Py_BEGIN_ALLOW_THREADS
        lines = unfold_lines(of, (Text)view.buf + start, longest, &blank);
        Py_END_ALLOW_THREADS
        if (of->rows.failed | of->lines.failed | of->deferred.failed | of->elements.failed)
            PyErr_NoMemory();
        else
            result = Py_BuildValue("(NNNLL)", bytes_of(&of->rows), bytes_of(&of->lines), bytes_of(&of->deferred),
                                   (long long)lines, (long long)blank);
    }
    PyBuffer_Release(&view);
freed:
    free(of->rows.data);
    free(of->lines.data);
    free(of->deferred.data);
    free(of->elements.data);
    free(of);
    return result;
}

static PyMethodDef functions[] = {{"unfold", unfold, METH_VARARGS, unfold_doc}, {NULL, NULL, 0, NULL}};

static int execute(PyObject *module) {
    return PyModule_AddIntConstant(module, "LISTS", LISTS) < 0 || PyModule_AddIntConstant(module, "PATH", PATH) < 0 ||
                   PyModule_AddIntConstant(module, "COLUMNS", COLUMNS) < 0 ||
                   PyModule_AddIntConstant(module, "MAX_KEYS", MAX_KEYS) < 0
               ? -1
               : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "unfold", "Lines of several records as lines of one.", 0,
                                 functions, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_unfold(void) { return PyModuleDef_Init(&definition); }
