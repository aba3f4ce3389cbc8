/* Columns of a block -> the moments of its prompts: those of the numpy formulas in groups/moments.py, to the last bit.

Every sum runs over the responses of a prompt in their order, and every product is rounded before it is added (compiled
without fused operations), so that the numbers do not depend on which of the two computed them. Knows no ids. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "buffers.h"
#include "exact_sum.h"

/* The columns of a row, and of each budget in a row: order and names. groups/moments.py compares them with its own. */
#define PROMPT_COLUMNS(X)                                                                                              \
    X(N, "n") X(R0, "r0") X(R1, "r1") X(RR, "rr") X(R_MIN, "r_min") X(R_MAX, "r_max") X(K0, "k0") X(K1, "k1")          \
    X(KK, "kk") X(RK, "rk") X(K3, "k3") X(L_SUM, "L_sum") X(L_MIN, "L_min") X(L_MAX, "L_max") X(L_BEST, "L_best")      \
    X(L_WORST, "L_worst")
#define BUDGET_COLUMNS(X) X(E0, "e0") X(E1, "e1") X(EE, "ee") X(RE, "re") X(EK, "ek") X(OVER, "over")

#define PLACE(place, name) place,
#define NAME(place, name) name,
enum { PROMPT_COLUMNS(PLACE) PROMPT };
enum { BUDGET_COLUMNS(PLACE) BUDGET };
static const char *const PROMPT_NAMES[] = {PROMPT_COLUMNS(NAME)};
static const char *const BUDGET_NAMES[] = {BUDGET_COLUMNS(NAME)};

static const double EXACT = 9007199254740992.0; /* 2^53 */
static const double SPLITTER = 134217729.0;     /* 2^27 + 1: cuts 53 bits into halves, whose products are exact */

typedef struct {
    const double *reward, *length, *log_ratio, *k3; /* borrowed or NULL; those of a prompt together */
    double *r, *k, *e;                              /* borrowed; of a prompt: centred, and above the smallest excess */
    const int64_t *budgets;                         /* borrowed */
    size_t budget_count;
} Block;

static inline double known(double value) { return isnan(value) ? 0 : value; }

/* Returns a power of two so large that what remains of n numbers up to `most`, rounded to its last place, adds up
without rounding (S. M. Rump, T. Ogita & S. Oishi, "Accurate floating-point summation", 2008, ExtractVector); 0 where
there is none. */
static double grid_of(double most, size_t n) {
    int exponent, bits;
    if (!(most > 0 && most <= DBL_MAX)) return 0;
    frexp(most, &exponent);
    frexp((double)(n + 1), &bits);
    return exponent + bits < DBL_MAX_EXP ? ldexp(1, exponent + bits) : 0;
}

/* Puts the mean of a plain sum and the sum about it, a mean in two doubles, and leaves x - mean in `centred`. */
static void centre(const double *x, size_t n, double *centred, double *x0, double *x1) {
    double pivot = known(x[0]), sum = 0, most = 0, coarse = 0, fine = 0;
    for (size_t i = 0; i < n; i++) sum += known(x[i]) - pivot;
    double middle = pivot + sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        centred[i] = known(x[i]) - middle;
        if (fabs(centred[i]) > most) most = fabs(centred[i]);
    }
    double grid = grid_of(most, n);
    for (size_t i = 0; i < n; i++) {
        double lost, part;
        two_sum(known(x[i]), -middle, &lost);
        part = (grid + centred[i]) - grid;
        coarse += part;
        fine += (centred[i] - part) + lost;
    }
    sum = coarse + fine;
    double rest = sum / (double)n;
    for (size_t i = 0; i < n; i++) centred[i] -= rest;
    *x0 = middle;
    *x1 = sum;
}

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Returns a * b rounded, and puts what the rounding lost, exactly (Dekker, 1971). */
static double two_product(double a, double b, double *lost) {
    double product = a * b, a_scaled = SPLITTER * a, b_scaled = SPLITTER * b;
    double a_hi = a_scaled - (a_scaled - a), b_hi = b_scaled - (b_scaled - b), a_lo = a - a_hi, b_lo = b - b_hi;
    *lost = ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo;
    return product;
}

/* Returns squares - sum * sum / n, of whole numbers, rounded as if the quotient had twice the digits. */
static double less_square(double squares, double sum, double n) {
    double lost, lost_of_quotient, square = two_product(sum, sum, &lost), quotient = square / n;
    double rest = square - two_product(quotient, n, &lost_of_quotient);
    return (squares - quotient) - ((rest - lost_of_quotient) + lost) / n;
}

/* Puts the columns of one budget. */
static void put_excess(const Block *block, const double *length, size_t n, double shortest, double budget,
                       double *row) {
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
    if ((double)n * squares < EXACT) { /* whole numbers, so the difference is exact */
        row[EE] = ((double)n * squares - sum * sum) / (double)n;
    } else if (squares < EXACT) { /* exact sums; many equal squares of differences would all round the same way */
        row[EE] = less_square(squares, sum, (double)n);
    } else {
        for (size_t i = 0; i < n; i++) e[i] -= mean;
        row[EE] = dot(e, e, n);
    }
}

/* Puts the row of the prompt whose n responses begin at `first`. */
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

/* Returns the column with the responses of each prompt together, in their order, in `room`. */
static const double *together(const double *column, const int64_t *codes, const size_t *starts, size_t *next,
                              size_t prompts, size_t responses, double *room) {
    if (!column) return NULL;
    memcpy(next, starts, prompts * sizeof *next);
    for (size_t i = 0; i < responses; i++) room[next[codes[i]]++] = column[i];
    return room;
}

enum Outcome { DONE, NO_MEMORY, NO_ROWS };

/* Puts all rows; NO_ROWS if some code is not that of a row, or some row has no response. */
static enum Outcome put_all(Block *block, const int64_t *codes, size_t responses, size_t prompts, double *table) {
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
    return room ? DONE : NO_MEMORY;
}

/* ---- to and from Python */

enum { TABLE, BUDGETS, CODES, REWARD, LENGTH, LOG_RATIO, K3_TERMS, ARRAYS };

/* What fill expects of its arrays, in their order. */
static const struct {
    const char *name;
    char type;
    int flags, dimensions, may_be_none;
} expected[ARRAYS] = {{"table", 'f', PyBUF_WRITABLE, 2, 0}, {"budgets", 'i', 0, 1, 0}, {"codes", 'i', 0, 1, 0},
                      {"reward", 'f', 0, 1, 0},             {"length", 'f', 0, 1, 1},  {"log_ratio", 'f', 0, 1, 1},
                      {"k3", 'f', 0, 1, 1}};

static int get_arrays(PyObject *arrays[ARRAYS], Py_buffer views[ARRAYS]) {
    for (int i = 0; i < ARRAYS; i++) {
        if (arrays[i] == Py_None && expected[i].may_be_none) continue;
        if (!get_array(arrays[i], expected[i].name, expected[i].type, expected[i].flags, &views[i])) return 0;
        if (views[i].ndim != expected[i].dimensions) {
            PyErr_Format(PyExc_ValueError, "%s: expected an array of %d dimensions", expected[i].name,
                         expected[i].dimensions);
            return 0;
        }
        if (i >= REWARD && views[i].shape[0] != views[CODES].shape[0]) {
            PyErr_Format(PyExc_ValueError, "%s: expected a number for each response", expected[i].name);
            return 0;
        }
    }
    return 1;
}

static PyObject *fill_arrays(const Py_buffer views[ARRAYS]) {
    Block block = {.reward = views[REWARD].buf,
                   .length = views[LENGTH].buf,
                   .log_ratio = views[LOG_RATIO].buf,
                   .k3 = views[K3_TERMS].buf,
                   .budgets = views[BUDGETS].buf,
                   .budget_count = (size_t)views[BUDGETS].shape[0]};
    if ((size_t)views[TABLE].shape[1] != PROMPT + BUDGET * block.budget_count) {
        PyErr_SetString(PyExc_ValueError, "table: expected a column for each moment and each of the budgets");
        return NULL;
    }
    if (!views[LOG_RATIO].obj != !views[K3_TERMS].obj) {
        PyErr_SetString(PyExc_ValueError, "expected both log_ratio and k3, or neither");
        return NULL;
    }
    enum Outcome outcome;
    Py_BEGIN_ALLOW_THREADS
    outcome = put_all(&block, views[CODES].buf, (size_t)views[CODES].shape[0], (size_t)views[TABLE].shape[0],
                      views[TABLE].buf);
    Py_END_ALLOW_THREADS
    if (outcome == NO_MEMORY) return PyErr_NoMemory();
    if (outcome == NO_ROWS) {
        PyErr_SetString(PyExc_ValueError, "expected rows, and one or more responses for each");
        return NULL;
    }
    return Py_NewRef(Py_None);
}

PyDoc_STRVAR(fill_doc,
             "fill(table, budgets, codes, reward, length, log_ratio, k3)\n--\n\n"
             "Put the moments of every prompt into its row of `table`.\n\n"
             "All are contiguous: int64 the budgets and the codes (the row of each response), float64 the rest.\n"
             "The last three may be None; `k3` has the terms of the log-ratios. Do not write to them meanwhile.");

static PyObject *fill(PyObject *module, PyObject *args) {
    PyObject *arrays[ARRAYS], *result = NULL;
    Py_buffer views[ARRAYS] = {{0}};
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &arrays[TABLE], &arrays[BUDGETS], &arrays[CODES], &arrays[REWARD],
                          &arrays[LENGTH], &arrays[LOG_RATIO], &arrays[K3_TERMS]))
        return NULL;
    if (get_arrays(arrays, views)) result = fill_arrays(views);
    for (int i = 0; i < ARRAYS; i++)
        if (views[i].obj) PyBuffer_Release(&views[i]);
    return result;
}

/* ---- the module */

static int add_names(PyObject *module, const char *name, const char *const *names, Py_ssize_t count) {
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple && i < count; i++) {
        PyObject *column = PyUnicode_FromString(names[i]);
        if (!column || PyTuple_SetItem(tuple, i, column) < 0) Py_CLEAR(tuple);
    }
    int added = tuple ? PyModule_AddObjectRef(module, name, tuple) : -1;
    Py_XDECREF(tuple);
    return added;
}

static int execute(PyObject *module) {
    if (add_names(module, "PROMPT", PROMPT_NAMES, PROMPT) < 0) return -1;
    return add_names(module, "BUDGET", BUDGET_NAMES, BUDGET);
}

static PyMethodDef methods[] = {{"fill", fill, METH_VARARGS, fill_doc}, {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "moments", "The moments of a block.", 0,
                                 methods, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_moments(void) { return PyModuleDef_Init(&definition); }
