/* Columns of a block -> the moments of its prompts: what `moments._Part` computes, to the same bits, a prompt at a time.

Every sum runs over a prompt's responses in their order and every product is rounded before it is added (compiled without
fused operations), so that the numbers do not depend on who took them. Nothing here knows an id. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* as in moments.py */
enum { N, R0, R1, RR, R_MIN, R_MAX, K0, K1, KK, RK, K3, L_SUM, L_MIN, L_MAX, L_BEST, L_WORST, PROMPT };
enum { E0, E1, EE, RE, EK, OVER, BUDGET };
static const double EXACT = 9007199254740992.0; /* 2^53 */

typedef struct {
    const double *reward, *length, *log_ratio, *k3; /* of all responses, those of a prompt together; or NULL */
    double *r, *k, *e;                              /* of a prompt: centred, and above the smallest excess */
    const int64_t *budgets;
    size_t budget_count;
} Block;

static inline double known(double value) { return isnan(value) ? 0 : value; }

/* Puts the pivot, the sum about it and the scatter, and leaves x - mean in `centred`. */
static void centre(const double *x, size_t n, double *centred, double *x0, double *x1) {
    double pivot = known(x[0]), sum = 0;
    for (size_t i = 0; i < n; i++) sum += centred[i] = known(x[i]) - pivot;
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) centred[i] -= mean;
    *x0 = pivot;
    *x1 = sum;
}

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void put_excess(const Block *block, const double *length, size_t n, double shortest, double budget, double *row) {
    double start = shortest > budget ? shortest : budget, sum = 0, squares = 0, over = 0;
    double *e = block->e;
    for (size_t i = 0; i < n; i++) {
        double tokens = known(length[i]);
        e[i] = (tokens > start ? tokens : start) - start;
        sum += e[i];
        squares += e[i] * e[i];
        over += e[i] > 0;
    }
    double mean = sum / (double)n;
    row[E0] = start - budget;
    row[E1] = sum;
    row[OVER] = shortest > budget ? (double)n : over;
    row[RE] = dot(block->r, e, n);
    row[EK] = block->log_ratio ? dot(block->k, e, n) : 0;
    if ((double)n * squares < EXACT) { /* whole numbers: nothing is lost in the difference */
        row[EE] = ((double)n * squares - sum * sum) / (double)n;
    } else {
        for (size_t i = 0; i < n; i++) e[i] -= mean;
        row[EE] = dot(e, e, n);
    }
}

/* The row of the prompt whose n responses begin at `first`. */
static void put(const Block *block, size_t first, size_t n, double *row) {
    const double *reward = block->reward + first;
    memset(row, 0, (PROMPT + BUDGET * block->budget_count) * sizeof *row);
    row[N] = (double)n;
    centre(reward, n, block->r, &row[R0], &row[R1]);
    row[RR] = dot(block->r, block->r, n);
    double least = reward[0], most = reward[0];
    for (size_t i = 1; i < n; i++) {
        if (reward[i] < least) least = reward[i];
        if (reward[i] > most) most = reward[i];
    }
    row[R_MIN] = least;
    row[R_MAX] = most;
    if (block->log_ratio) {
        const double *k3 = block->k3 + first;
        centre(block->log_ratio + first, n, block->k, &row[K0], &row[K1]);
        row[KK] = dot(block->k, block->k, n);
        row[RK] = dot(block->r, block->k, n);
        for (size_t i = 0; i < n; i++) row[K3] += known(k3[i]);
    }
    row[L_MIN] = row[L_WORST] = INFINITY;
    row[L_MAX] = row[L_BEST] = -INFINITY;
    if (!block->length) return;
    const double *length = block->length + first;
    for (size_t i = 0; i < n; i++) {
        double tokens = known(length[i]);
        row[L_SUM] += tokens;
        if (tokens < row[L_MIN]) row[L_MIN] = tokens;
        if (tokens > row[L_MAX]) row[L_MAX] = tokens;
        if (reward[i] == most && tokens > row[L_BEST]) row[L_BEST] = tokens;
        if (reward[i] == least && tokens < row[L_WORST]) row[L_WORST] = tokens;
    }
    for (size_t i = 0; i < block->budget_count; i++)
        put_excess(block, length, n, row[L_MIN], (double)block->budgets[i], row + PROMPT + BUDGET * i);
}

/* The column with the responses of each prompt together, in their order. */
static const double *together(const double *column, const int64_t *codes, const size_t *starts, size_t *next,
                              size_t prompts, size_t responses, double *room) {
    if (!column) return NULL;
    memcpy(next, starts, prompts * sizeof *next);
    for (size_t i = 0; i < responses; i++) room[next[codes[i]]++] = column[i];
    return room;
}

enum Done { FINE, NO_MEMORY, NO_ROWS };

static enum Done put_all(Block *block, const int64_t *codes, size_t responses, size_t prompts, double *table) {
    size_t width = PROMPT + BUDGET * block->budget_count, most = 0;
    int in_order = 1, are_rows = 1;
    size_t *starts = calloc(2 * prompts + 1, sizeof *starts), *next = starts ? starts + prompts + 1 : NULL;
    if (!starts) return NO_MEMORY;
    for (size_t i = 0; i < responses && are_rows; i++) {
        are_rows = (uint64_t)codes[i] < prompts;
        in_order &= !i || codes[i - 1] <= codes[i];
        if (are_rows) starts[codes[i] + 1]++;
    }
    for (size_t i = 0; i < prompts; i++) {
        are_rows &= starts[i + 1] > 0;
        if (starts[i + 1] > most) most = starts[i + 1];
        starts[i + 1] += starts[i];
    }
    if (!are_rows) {
        free(starts);
        return NO_ROWS;
    }
    double *room = malloc((3 * most + (in_order ? 0 : 4 * responses) + 1) * sizeof *room);
    if (room) {
        block->r = room;
        block->k = room + most;
        block->e = room + 2 * most;
        if (!in_order) {
            const double **columns[] = {&block->reward, &block->length, &block->log_ratio, &block->k3};
            for (size_t i = 0; i < 4; i++)
                *columns[i] = together(*columns[i], codes, starts, next, prompts, responses,
                                       room + 3 * most + i * responses);
        }
        for (size_t i = 0; i < prompts; i++) put(block, starts[i], starts[i + 1] - starts[i], table + i * width);
    }
    free(room);
    free(starts);
    return room ? FINE : NO_MEMORY;
}

/* ---- to and from Python */

static int column(PyObject *given, Py_buffer *view, size_t responses, const double **values) {
    *values = NULL;
    if (given == Py_None) return 1;
    if (PyObject_GetBuffer(given, view, PyBUF_SIMPLE) < 0) return 0;
    if ((size_t)view->len != 8 * responses) {
        PyErr_SetString(PyExc_ValueError, "expected a number for each response");
        return 0;
    }
    *values = view->buf;
    return 1;
}

PyDoc_STRVAR(fill_doc,
             "fill(table, budgets, codes, reward, length, log_ratio, k3)\n--\n\n"
             "Put the moments of every prompt into its row of `table`; arrays are contiguous, int64 or float64, and the\n"
             "last three may be None. `k3` has the terms of the log-ratios.");

static PyObject *fill(PyObject *module, PyObject *args) {
    PyObject *given[4], *result = NULL;
    Py_buffer table, budgets, codes, views[4] = {{0}};
    Block block = {0};
    (void)module;
    if (!PyArg_ParseTuple(args, "w*y*y*OOOO", &table, &budgets, &codes, &given[0], &given[1], &given[2], &given[3]))
        return NULL;
    block.budgets = budgets.buf;
    block.budget_count = (size_t)budgets.len / 8;
    size_t width = PROMPT + BUDGET * block.budget_count, responses = (size_t)codes.len / 8;
    size_t prompts = (size_t)table.len / 8 / width;
    const double **columns[] = {&block.reward, &block.length, &block.log_ratio, &block.k3};
    int fine = 1;
    for (int i = 0; i < 4 && fine; i++) fine = column(given[i], &views[i], responses, columns[i]);
    enum Done done = NO_ROWS;
    if (fine && block.reward && !block.log_ratio == !block.k3 && (size_t)table.len == 8 * width * prompts) {
        Py_BEGIN_ALLOW_THREADS
        done = put_all(&block, codes.buf, responses, prompts, table.buf);
        Py_END_ALLOW_THREADS
    }
    if (done == FINE) result = Py_NewRef(Py_None);
    else if (done == NO_MEMORY) PyErr_NoMemory();
    else if (fine) PyErr_SetString(PyExc_ValueError, "expected rows, and one or more responses for each");
    for (int i = 0; i < 4; i++)
        if (views[i].obj) PyBuffer_Release(&views[i]);
    PyBuffer_Release(&table);
    PyBuffer_Release(&budgets);
    PyBuffer_Release(&codes);
    return result;
}

static PyMethodDef methods[] = {{"fill", fill, METH_VARARGS, fill_doc}, {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot module_slots[] = {{0, NULL}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "moments", "The moments of a block.", 0,
                                 methods, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_moments(void) { return PyModuleDef_Init(&definition); }
