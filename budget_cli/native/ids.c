/* Texts -> their places among the distinct texts, in order of first occurrence. Knows nothing of what they mean.

Texts are passed concatenated, with the end of each (int64, bytes from the beginning of the first). For each text the
table keeps its bytes, its end, four bytes of its hash, and eight to sixteen bytes of slots: a fifth of what a Python
dict of strings and integers takes. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <stdlib.h>

#include "buffers.h"
#include "seed.h"

enum { BATCH = 64 }; /* texts whose slots are prefetched together */

typedef struct {
    PyObject_HEAD
    unsigned char *texts;  /* owned; the distinct texts, concatenated */
    int64_t *ends;         /* owned; the end of each in `texts` */
    uint32_t *hashes;      /* owned; the low half of the hash of each */
    uint32_t *slots;       /* owned; by hash, open addressing: a place plus one, 0 if free */
    size_t room;           /* of `slots`, a power of two */
    size_t size, capacity; /* of `texts`, bytes */
    size_t count, most;    /* of `ends` and `hashes` */
    int busy;              /* at work without the interpreter's lock */
} Table;

static Seed seed; /* of all tables of the process */

static int64_t begin_of(const int64_t *ends, size_t place) { return place ? ends[place - 1] : 0; }

/* Makes room for `needed` items and a fifth more. Pages that have not been touched take no memory if the allocator maps
large pieces. */
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

/* Returns the slot of the text, or the free slot where it belongs. */
static size_t slot_of(const Table *table, const unsigned char *text, size_t size, uint32_t hash) {
    size_t at = hash & (table->room - 1);
    for (; table->slots[at]; at = (at + 1) & (table->room - 1)) {
        size_t place = table->slots[at] - 1;
        int64_t begin = begin_of(table->ends, place);
        if (table->hashes[place] == hash && (size_t)(table->ends[place] - begin) == size &&
            (!size || !memcmp(table->texts + begin, text, size)))
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
    if (size) memcpy(table->texts + table->size, text, size);
    table->size += size;
    table->ends[table->count] = (int64_t)table->size;
    table->hashes[table->count] = hash;
    table->slots[at] = (uint32_t)++table->count;
    return 1;
}

/* Puts the place of each text, or -1. Hashes a batch first, so that its slots are in the cache when they are read. */
static int look_up(Table *table, const unsigned char *texts, const int64_t *ends, size_t count, int64_t *places,
                   int adds) {
    uint32_t hashes[BATCH];
    if (!make_slots(table, table->count + (adds ? count : 1))) return 0;
    for (size_t first = 0; first < count; first += BATCH) {
        size_t some = count - first < BATCH ? count - first : BATCH;
        for (size_t i = 0; i < some; i++) {
            int64_t begin = begin_of(ends, first + i);
            hashes[i] = (uint32_t)hash_of(texts + begin, (size_t)(ends[first + i] - begin), seed);
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

/* True if the ends rise and stay within the texts. */
static int are_ends(const Py_buffer *texts, const Py_buffer *ends) {
    const int64_t *end = (const int64_t *)ends->buf;
    int64_t before = 0;
    for (Py_ssize_t i = 0; i < ends->len / 8; before = end[i++])
        if (end[i] < before || end[i] > texts->len) return 0;
    return 1;
}

/* True, with an exception, if another thread is at work on the table. */
static int is_busy(const Table *table) {
    if (table->busy) PyErr_SetString(PyExc_RuntimeError, "a table does one thing at a time");
    return table->busy;
}

static PyObject *places_of(Table *table, const Py_buffer *texts, const Py_buffer *ends, int adds) {
    if (is_busy(table)) return NULL;
    if (!are_ends(texts, ends)) {
        PyErr_SetString(PyExc_ValueError, "expected the end of each text");
        return NULL;
    }
    PyObject *result = PyBytes_FromStringAndSize(NULL, ends->len);
    if (!result) return NULL;
    int64_t *places = (int64_t *)PyBytes_AsString(result);
    int done;
    table->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    done = look_up(table, texts->buf, ends->buf, (size_t)ends->len / 8, places, adds);
    Py_END_ALLOW_THREADS
    table->busy = 0;
    if (!done) {
        Py_DECREF(result);
        return PyErr_NoMemory();
    }
    return result;
}

static PyObject *places_of_args(Table *table, PyObject *args, int adds) {
    Py_buffer texts, ends = {0};
    PyObject *array, *result = NULL;
    if (!PyArg_ParseTuple(args, "y*O", &texts, &array)) return NULL;
    if (get_array(array, "ends", 'i', 0, &ends)) result = places_of(table, &texts, &ends, adds);
    if (ends.obj) PyBuffer_Release(&ends);
    PyBuffer_Release(&texts);
    return result;
}

static PyObject *Table_places(Table *table, PyObject *args) { return places_of_args(table, args, 1); }

static PyObject *Table_find(Table *table, PyObject *args) { return places_of_args(table, args, 0); }

static PyObject *Table_texts(Table *table, PyObject *unused) {
    (void)unused;
    if (is_busy(table)) return NULL;
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

PyDoc_STRVAR(places_doc,
             "places(texts, ends)\n--\n\n"
             "Return the place of each text (int64, as bytes), adding the unknown ones.\n\n"
             "The arrays must not be written to meanwhile.");
PyDoc_STRVAR(find_doc,
             "find(texts, ends)\n--\n\n"
             "Return the place of each text (int64, as bytes), or -1 if it is unknown. Adds none.");
PyDoc_STRVAR(texts_doc,
             "texts()\n--\n\n"
             "Return the distinct texts in order of first occurrence, concatenated, and their ends (int64, as bytes).");

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
    if (!seed.first && !draw_seed(&seed)) return -1; /* once: tables that are there already keep it */
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
