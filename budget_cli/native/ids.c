/* Texts -> their places among the distinct ones, first seen first. Knows nothing of what they are.

Texts come and go one after the other, with the end of each (int64, in bytes from the first one's beginning). What is
kept of one is its bytes, its end, four bytes of its hash, and eight to sixteen in the table: a Python dict of strings
and integers takes five times as much. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <stdlib.h>

#include "hash.h"

enum { TOGETHER = 64 };

typedef struct {
    PyObject_HEAD
    unsigned char *texts;
    int64_t *ends;
    uint32_t *hashes;
    uint32_t *slots;     /* by hash, open addressing: a place and one, 0: free */
    size_t room;         /* of `slots`, a power of two */
    size_t size, capacity; /* of `texts`, in bytes */
    size_t count, most;  /* of `ends` and `hashes` */
    int busy;            /* at work without the interpreter's lock */
} Table;

static int64_t begin_of(const int64_t *ends, size_t place) { return place ? ends[place - 1] : 0; }

/* A fifth more than is needed; what is not touched yet takes no memory where the allocator maps large pieces. */
static int grow(void **data, size_t *room, size_t needed, size_t each) {
    if (needed <= *room) return 1;
    size_t more = needed + needed / 5 + 64;
    void *grown = realloc(*data, more * each);
    if (!grown) return 0;
    *data = grown;
    *room = more;
    return 1;
}

static int make_slots(Table *table, size_t count) {
    if (2 * count < table->room) return 1;
    size_t room = table->room ? table->room : 256;
    while (2 * count >= room) room *= 2;
    uint32_t *slots = calloc(room, sizeof *slots);
    if (!slots) return 0;
    for (size_t place = 0; place < table->count; place++) {
        size_t at = table->hashes[place] & (room - 1);
        while (slots[at]) at = (at + 1) & (room - 1);
        slots[at] = (uint32_t)place + 1;
    }
    free(table->slots);
    table->slots = slots;
    table->room = room;
    return 1;
}

/* Where the text is in `slots`, or the free slot that is to have it. */
static size_t slot_of(const Table *table, const unsigned char *text, size_t size, uint32_t hash) {
    size_t at = hash & (table->room - 1);
    for (; table->slots[at]; at = (at + 1) & (table->room - 1)) {
        size_t place = table->slots[at] - 1;
        int64_t begin = begin_of(table->ends, place);
        if (table->hashes[place] == hash && (size_t)(table->ends[place] - begin) == size &&
            !memcmp(table->texts + begin, text, size))
            break;
    }
    return at;
}

static int add(Table *table, size_t at, const unsigned char *text, size_t size, uint32_t hash) {
    size_t most = table->most;
    if (table->count == UINT32_MAX - 1 || !grow((void **)&table->texts, &table->capacity, table->size + size, 1) ||
        !grow((void **)&table->hashes, &most, table->count + 1, sizeof *table->hashes) ||
        !grow((void **)&table->ends, &table->most, table->count + 1, sizeof *table->ends))
        return 0;
    memcpy(table->texts + table->size, text, size);
    table->size += size;
    table->ends[table->count] = (int64_t)table->size;
    table->hashes[table->count] = hash;
    table->slots[at] = (uint32_t)++table->count;
    return 1;
}

/* Hashes first, some at a time, so that the table's lines are on their way when they are looked at. */
static int look_up(Table *table, const unsigned char *texts, const int64_t *ends, size_t count, int64_t *places,
                   int adds) {
    uint32_t hashes[TOGETHER];
    if (!make_slots(table, table->count + (adds ? count : 1))) return 0;
    for (size_t first = 0; first < count; first += TOGETHER) {
        size_t some = count - first < TOGETHER ? count - first : TOGETHER;
        for (size_t i = 0; i < some; i++) {
            int64_t begin = begin_of(ends, first + i);
            hashes[i] = (uint32_t)hash_of(texts + begin, (size_t)(ends[first + i] - begin));
            __builtin_prefetch(&table->slots[hashes[i] & (table->room - 1)]);
        }
        for (size_t i = 0; i < some; i++) {
            int64_t begin = begin_of(ends, first + i);
            size_t size = (size_t)(ends[first + i] - begin);
            size_t at = slot_of(table, texts + begin, size, hashes[i]);
            if (!table->slots[at] && adds && !add(table, at, texts + begin, size, hashes[i])) return 0;
            places[first + i] = (int64_t)table->slots[at] - 1;
        }
    }
    return 1;
}

static int are_ends(const Py_buffer *texts, const Py_buffer *ends) {
    const int64_t *end = (const int64_t *)ends->buf;
    int64_t before = 0;
    if (ends->len % 8) return 0;
    for (Py_ssize_t i = 0; i < ends->len / 8; before = end[i++])
        if (end[i] < before || end[i] > texts->len) return 0;
    return 1;
}

static PyObject *looked_up(Table *table, PyObject *args, int adds) {
    Py_buffer texts, ends;
    PyObject *found = NULL;
    if (!PyArg_ParseTuple(args, "y*y*", &texts, &ends)) return NULL;
    if (table->busy) {
        PyErr_SetString(PyExc_RuntimeError, "a table does one thing at a time");
    } else if (!are_ends(&texts, &ends)) {
        PyErr_SetString(PyExc_ValueError, "expected the end of each text");
    } else if ((found = PyBytes_FromStringAndSize(NULL, ends.len))) {
        int done;
        int64_t *places = (int64_t *)PyBytes_AsString(found);
        table->busy = 1;
        Py_BEGIN_ALLOW_THREADS
        done = look_up(table, texts.buf, ends.buf, ends.len / 8, places, adds);
        Py_END_ALLOW_THREADS
        table->busy = 0;
        if (!done) {
            Py_CLEAR(found);
            PyErr_NoMemory();
        }
    }
    PyBuffer_Release(&texts);
    PyBuffer_Release(&ends);
    return found;
}

static PyObject *Table_places(Table *table, PyObject *args) { return looked_up(table, args, 1); }

static PyObject *Table_find(Table *table, PyObject *args) { return looked_up(table, args, 0); }

static PyObject *Table_texts(Table *table, PyObject *unused) {
    (void)unused;
    return Py_BuildValue("(NN)", PyBytes_FromStringAndSize((const char *)table->texts, (Py_ssize_t)table->size),
                         PyBytes_FromStringAndSize((const char *)table->ends, (Py_ssize_t)(8 * table->count)));
}

static Py_ssize_t Table_length(Table *table) { return (Py_ssize_t)table->count; }

static void Table_dealloc(Table *table) {
    PyTypeObject *type = Py_TYPE((PyObject *)table);
    free(table->texts);
    free(table->ends);
    free(table->hashes);
    free(table->slots);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(table);
    Py_DECREF(type);
}

PyDoc_STRVAR(places_doc, "places(texts, ends)\n--\n\nThe place of each text (int64, as bytes); an unknown one gets the next.");
PyDoc_STRVAR(find_doc, "find(texts, ends)\n--\n\nThe same, -1 for an unknown one, which stays so.");
PyDoc_STRVAR(texts_doc, "texts()\n--\n\nThe distinct texts, first seen first, and their ends.");

static PyMethodDef methods[] = {{"places", (PyCFunction)Table_places, METH_VARARGS, places_doc},
                                {"find", (PyCFunction)Table_find, METH_VARARGS, find_doc},
                                {"texts", (PyCFunction)Table_texts, METH_NOARGS, texts_doc},
                                {NULL, NULL, 0, NULL}};

static PyType_Slot type_slots[] = {{Py_tp_dealloc, Table_dealloc},
                                   {Py_tp_methods, methods},
                                   {Py_sq_length, Table_length},
                                   {Py_tp_doc, "Distinct texts by their places."},
                                   {0, NULL}};

static PyType_Spec type_spec = {"budget_cli.native.ids.Table", sizeof(Table), 0, Py_TPFLAGS_DEFAULT, type_slots};

static int execute(PyObject *module) {
    PyObject *type = PyType_FromSpec(&type_spec);
    if (!type) return -1;
    int added = PyModule_AddObjectRef(module, "Table", type);
    Py_DECREF(type);
    return added;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "ids", "Texts by their places.", 0,
                                 NULL, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_ids(void) { return PyModuleDef_Init(&definition); }
