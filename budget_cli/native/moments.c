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
#include "double_double.h"

/* The columns of a row, and of each budget in a row: order and names. groups/moments.py compares them with its own. */
#define PROMPT_COLUMNS(X)                                                                                              \
    X(N, "n") X(R0, "r0") X(R1, "r1") X(RR, "rr") X(RR_LOW, "rr_low") X(R_MIN, "r_min") X(R_MAX, "r_max") X(K0, "k0")  \
    X(K1, "k1") X(KK, "kk") X(KK_LOW, "kk_low") X(RK, "rk") X(RK_LOW, "rk_low") X(K3, "k3") X(L_SUM, "L_sum")          \
    X(L_MIN, "L_min") X(L_MAX, "L_max") X(L_BEST, "L_best") X(L_WORST, "L_worst") X(RIGHT, "right")                    \
    X(L_RIGHT, "L_right")
#define BUDGET_COLUMNS(X)                                                                                              \
    X(E0, "e0") X(E1, "e1") X(EE, "ee") X(EE_LOW, "ee_low") X(RE, "re") X(RE_LOW, "re_low") X(EK, "ek")                \
    X(EK_LOW, "ek_low") X(OVER, "over")

#define PLACE(place, name) place,
#define NAME(place, name) name,
enum { PROMPT_COLUMNS(PLACE) PROMPT };
enum { BUDGET_COLUMNS(PLACE) BUDGET };
static const char *const PROMPT_NAMES[] = {PROMPT_COLUMNS(NAME)};
static const char *const BUDGET_NAMES[] = {BUDGET_COLUMNS(NAME)};

static const double EXACT = 9007199254740992.0; /* 2^53 */
static const double SMALL = 0x1p-52;            /* of a sum: what is less needs no second double itself */
static const double FINE = 0x1p-50;             /* of a grid: above four of what it leaves of a number */

/* A number of the reward and one of the log-ratio, which are computed at once. */
typedef double Pair __attribute__((vector_size(16)));
typedef int64_t Bits __attribute__((vector_size(16)));

typedef struct {
    Pair about, lost, high; /* x - middle as it rounds; what that lost; the upper half of its digits */
} Centred;

typedef struct {
    const double *reward, *length, *log_ratio, *k3; /* borrowed or NULL; those of a prompt together */
    Centred *centred;                               /* borrowed, as the next */
    double *e;                                      /* above the smallest excess of the prompt */
    const int64_t *budgets;
    size_t budget_count;
    double correct_above; /* a reward: what is more is right */
} Block;

/* The sums of a prompt about the middle of its values, which is their mean up to rounding. */
typedef struct {
    Pair middle, rest; /* the sum of x - middle */
    Pair power;        /* the powers of two above all |x - middle| */
    double n, power_n;
} Middle;

static inline double known(double value) { return isnan(value) ? 0 : value; }

/* Returns the smallest power of two above a number, 0 of 0 and where there is none. */
static inline double power_above(double x) {
    uint64_t bits;
    double power;
    if (!(x > 0 && x < 0x1p1023)) return 0;
    memcpy(&bits, &x, sizeof bits);
    bits = ((bits >> 52) + 1) << 52;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* Returns a power of two that cuts n numbers below the power so that the cut parts add up without rounding (S. M. Rump,
T. Ogita & S. Oishi, "Accurate floating-point summation", 2008, ExtractVector); 0 where there is none. */
static inline double grid_of(double power, double power_n) {
    double grid = power * power_n;
    return grid <= DBL_MAX ? grid : 0;
}

static inline Pair both(double value) { return (Pair){value, value}; }
static inline Bits both_bits(int64_t value) { return (Bits){value, value}; }

/* Where numbers are cut: what the first grid leaves is cut again at the second. */
typedef struct {
    Pair coarse, fine;
} PairGrid;
typedef struct {
    double coarse, fine;
} Grid;

/* Sums of numbers that are cut at two grids: the first two add up without rounding. */
typedef struct {
    Pair coarse, fine, rest;
} PairSum;
typedef struct {
    double coarse, fine, rest;
} Sum;

/* Returns the grids of n numbers below the power, each with what it lost. */
static inline Grid grids_of(double power, double power_n) {
    double grid = grid_of(power, power_n);
    return (Grid){grid, grid_of(FINE * grid, power_n)};
}

static inline PairGrid pair_grids_of(Pair power, double power_n) {
    Grid one = grids_of(power[0], power_n), other = grids_of(power[1], power_n);
    return (PairGrid){{one.coarse, other.coarse}, {one.fine, other.fine}};
}

/* Adds a product, of which `lost` was lost. In the order of its operations, as all here: the bits depend on it. */
static inline void add_pair(PairSum *sum, Pair product, Pair lost, const PairGrid *grid) {
    Pair part = (grid->coarse + product) - grid->coarse, left = product - part;
    Pair fine = (grid->fine + left) - grid->fine, finer = (grid->fine + lost) - grid->fine;
    sum->coarse += part;
    sum->fine += fine;
    sum->fine += finer;
    sum->rest += (left - fine) + (lost - finer);
}

static inline void add_one(Sum *sum, double product, double lost, const Grid *grid) {
    double part = (grid->coarse + product) - grid->coarse, left = product - part;
    double fine = (grid->fine + left) - grid->fine, finer = (grid->fine + lost) - grid->fine;
    sum->coarse += part;
    sum->fine += fine;
    sum->fine += finer;
    sum->rest += (left - fine) + (lost - finer);
}

static inline Sum of_pair(const PairSum *sum, int i) {
    return (Sum){sum->coarse[i], sum->fine[i], sum->rest[i]};
}

/* Puts a sum of products about the mean, from that about the middle: less x * y / n, x and y the sums of the factors. */
static void put_sum(double *to, Sum sum, double x, double y, double n, double grid) {
    double lost, high = two_sum(sum.coarse, sum.fine, &lost), product = x * (y / n);
    Two found;
    lost += sum.rest;
    if (fabs(product) <= SMALL * grid) {
        high = two_sum(high, lost - product, &lost);
        found = (Two){high, lost};
    } else {
        high = two_sum(high, lost, &lost);
        found = plus((Two){high, lost}, minus(times(over((Two){y, 0}, n), (Two){x, 0})));
    }
    int is_known = isfinite(found.hi) && isfinite(found.lo); /* a half may be beyond the range of a double */
    to[0] = is_known ? found.hi : sum.coarse;
    to[1] = is_known ? found.lo : 0;
}

/* Finds the middle, and the sums that belong to no budget. */
static Middle centre(const Block *block, size_t first, size_t n, double *row) {
    const double *reward = block->reward + first, *log_ratio = block->log_ratio ? block->log_ratio + first : NULL;
    Centred *x = block->centred;
    Pair pivot = {reward[0], log_ratio ? known(log_ratio[0]) : 0}, sum = both(0), most = both(0);
    for (size_t i = 0; i < n; i++) {
        x[i].about = (Pair){reward[i], log_ratio ? known(log_ratio[i]) : 0};
        sum += x[i].about - pivot;
    }
    Middle at = {.n = (double)n, .power_n = power_above((double)(n + 1)), .middle = pivot + sum / both((double)n)};
    for (size_t i = 0; i < n; i++) {
        Pair value = x[i].about, about = value - at.middle, part = about - value;
        x[i].about = about;
        x[i].lost = (value - (about - part)) + (-at.middle - part);
        Pair size = (Pair)((Bits)about & both_bits(INT64_MAX));
        Bits larger = size > most;
        most = (Pair)(((Bits)size & larger) | ((Bits)most & ~larger));
    }
    at.power = (Pair){power_above(most[0]), power_above(most[1])};
    PairGrid grid = pair_grids_of(at.power, at.power_n), squares_grid = pair_grids_of(at.power * at.power, at.power_n);
    Grid product_grid = grids_of(at.power[0] * at.power[1], at.power_n);
    PairSum rest = {both(0), both(0), both(0)}, squares = rest;
    Sum products = {0};
    for (size_t i = 0; i < n; i++) {
        Pair about = x[i].about, lost = x[i].lost, scaled = SPLITTER * about, high = scaled - (scaled - about);
        Pair low = about - high, square = about * about, cross = about * lost;
        x[i].high = high;
        add_pair(&rest, about, lost, &grid);
        Pair rounding = ((high * high - square) + high * low + low * high) + low * low;
        add_pair(&squares, square, rounding + (cross + cross), &squares_grid);
        double product = about[0] * about[1];
        double lost_of_it = ((high[0] * high[1] - product) + high[0] * low[1] + low[0] * high[1]) + low[0] * low[1];
        add_one(&products, product, lost_of_it + (about[0] * lost[1] + lost[0] * about[1]), &product_grid);
    }
    at.rest = rest.coarse + (rest.fine + rest.rest);
    row[R0] = at.middle[0];
    row[R1] = at.rest[0];
    put_sum(&row[RR], of_pair(&squares, 0), at.rest[0], at.rest[0], at.n, squares_grid.coarse[0]);
    if (log_ratio) {
        row[K0] = at.middle[1];
        row[K1] = at.rest[1];
        put_sum(&row[KK], of_pair(&squares, 1), at.rest[1], at.rest[1], at.n, squares_grid.coarse[1]);
        put_sum(&row[RK], products, at.rest[0], at.rest[1], at.n, product_grid.coarse);
    }
    return at;
}

/* Adds the products with the excess, which are whole numbers: below 2^26 they need not be cut into halves. */
static inline PairSum with_excess(const Block *block, size_t n, const PairGrid *grid, int halves) {
    PairSum sum = {both(0), both(0), both(0)};
    for (size_t i = 0; i < n; i++) {
        Pair about = block->centred[i].about, high = block->centred[i].high, low = about - high;
        double e = block->e[i], e_high = halves ? half_of(e) : e, e_low = e - e_high;
        Pair product = about * e, rounding = high * e_high - product;
        if (halves) rounding += high * e_low;
        rounding += low * e_high;
        if (halves) rounding += low * e_low;
        add_pair(&sum, product, rounding + block->centred[i].lost * e, grid);
    }
    return sum;
}

/* Puts the columns of one budget. */
static void put_excess(const Block *block, const double *length, size_t n, const Middle *at, double shortest,
                       double longest, double budget, double *row) {
    double start = shortest > budget ? shortest : budget, sum = 0, squares = 0, count = 0, lost;
    double *e = block->e;
    row[E0] = start - budget;
    if (longest <= start) { /* all the same */
        row[OVER] = shortest > budget ? (double)n : 0;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double tokens = known(length[i]);
        e[i] = (tokens > start ? tokens : start) - start;
        sum += e[i];
        squares += e[i] * e[i];
        count += e[i] > 0;
    }
    double power = power_above(longest - start), power_n = at->power_n;
    PairGrid grid = pair_grids_of(at->power * both(power), power_n);
    PairSum products = power > 0x1p26 ? with_excess(block, n, &grid, 1) : with_excess(block, n, &grid, 0);
    row[E1] = sum;
    row[OVER] = shortest > budget ? (double)n : count;
    put_sum(&row[RE], of_pair(&products, 0), at->rest[0], sum, at->n, grid.coarse[0]);
    if (block->log_ratio) put_sum(&row[EK], of_pair(&products, 1), at->rest[1], sum, at->n, grid.coarse[1]);
    if (at->n * squares < EXACT) { /* whole numbers, so the difference is exact */
        double whole = at->n * squares - sum * sum, quotient = whole / at->n, back = two_product(quotient, at->n, &lost);
        row[EE] = quotient;
        row[EE_LOW] = ((whole - back) - lost) / at->n;
    } else {
        Grid squares_grid = grids_of(power * power, power_n);
        Sum of = {0};
        for (size_t i = 0; i < n; i++) {
            double square = two_product(e[i], e[i], &lost);
            add_one(&of, square, lost, &squares_grid);
        }
        put_sum(&row[EE], of, sum, sum, at->n, squares_grid.coarse);
    }
}

/* Puts the row of the prompt whose n responses begin at `first`. */
static void put(const Block *block, size_t first, size_t n, double *row) {
    const double *reward = block->reward + first;
    memset(row, 0, (PROMPT + BUDGET * block->budget_count) * sizeof *row);
    row[N] = (double)n;
    Middle at = centre(block, first, n, row);
    double least = reward[0], most = reward[0];
    for (size_t i = 1; i < n; i++) {
        if (reward[i] < least) least = reward[i];
        if (reward[i] > most) most = reward[i];
    }
    row[R_MIN] = least;
    row[R_MAX] = most;
    if (block->log_ratio)
        for (size_t i = 0; i < n; i++) row[K3] += known(block->k3[first + i]);
    row[L_MIN] = row[L_WORST] = INFINITY;
    row[L_MAX] = row[L_BEST] = -INFINITY;
    double above = block->correct_above, right = 0, right_tokens = 0;
    for (size_t i = 0; i < n; i++) right += reward[i] > above;
    row[RIGHT] = right;
    if (!block->length) return;
    const double *length = block->length + first;
    for (size_t i = 0; i < n; i++) {
        double tokens = known(length[i]);
        row[L_SUM] += tokens;
        if (tokens < row[L_MIN]) row[L_MIN] = tokens;
        if (tokens > row[L_MAX]) row[L_MAX] = tokens;
        if (reward[i] == most && tokens > row[L_BEST]) row[L_BEST] = tokens;
        if (reward[i] == least && tokens < row[L_WORST]) row[L_WORST] = tokens;
        right_tokens += reward[i] > above ? tokens : 0;
    }
    row[L_RIGHT] = right_tokens;
    for (size_t i = 0; i < block->budget_count; i++)
        put_excess(block, length, n, &at, row[L_MIN], row[L_MAX], (double)block->budgets[i],
                   row + PROMPT + BUDGET * i);
}

/* ---- two rows of a prompt -> the row of both */

/* Returns the mean of b less that of a; the pivots subtract without rounding when the shards lie close together. */
static Two gap_between(const double *a, const double *b, double n_a, double n_b) {
    double lost, shift = two_sum(b[0], -a[0], &lost);
    Two means = plus(over((Two){b[1], 0}, n_b), minus(over((Two){a[1], 0}, n_a)));
    return plus((Two){shift, lost}, means);
}

/* Returns the sum of x - middle of two shards, from the n, x0 and x1 of each: the parts that cancel are not rounded. */
static double sum_about(double middle, double n_a, const double *a, double n_b, const double *b) {
    double lost_a, lost_b, lost_high, lost_low, lost, rest = a[1] + b[1];
    double about_a = two_sum(a[0], -middle, &lost_a), about_b = two_sum(b[0], -middle, &lost_b);
    double half_a = half_of(about_a), half_b = half_of(about_b);
    double high = two_sum(n_a * half_a, n_b * half_b, &lost_high);
    double low = two_sum(n_a * (about_a - half_a), n_b * (about_b - half_b), &lost_low);
    double found = two_sum(high, low, &lost);
    found = found + (lost + lost_high + lost_low + (n_a * lost_a + n_b * lost_b) + rest);
    return isfinite(found) ? found : n_a * about_a + n_b * about_b + rest;
}

/* Puts the sum of products of both rows, where `a` is, with what one double lost. */
static void add_products(double *a, const double *b, Two weight, Two gap, Two other) {
    Two found = plus(plus((Two){a[0], a[1]}, (Two){b[0], b[1]}), times(weight, times(gap, other)));
    int is_known = isfinite(found.hi) && isfinite(found.lo);
    a[0] = is_known ? found.hi : a[0] + b[0] + weight.hi * (gap.hi * other.hi);
    a[1] = is_known ? found.lo : 0;
}

static Two merged_mean(double *a, const double *b, double n_a, double n_b) {
    Two gap = gap_between(a, b, n_a, n_b);
    double middle = a[0] + (a[1] / n_a + n_b / (n_a + n_b) * gap.hi), sum = sum_about(middle, n_a, a, n_b, b);
    a[0] = middle;
    a[1] = sum;
    return gap;
}

static double lesser(double a, double b) { return a < b ? a : b; }
static double larger(double a, double b) { return a > b ? a : b; }

/* Merges a later row into `a`; a row of n = 0 is the identity on either side. */
static void merge_row(double *a, const double *b, size_t budget_count) {
    double n_a = a[N], n_b = b[N];
    if (n_b == 0) return;
    if (n_a == 0) {
        memcpy(a, b, (PROMPT + BUDGET * budget_count) * sizeof *a);
        return;
    }
    Two weight = over((Two){n_a * n_b, 0}, n_a + n_b);
    Two r = merged_mean(a + R0, b + R0, n_a, n_b), k = merged_mean(a + K0, b + K0, n_a, n_b);
    a[N] = n_a + n_b;
    add_products(a + RR, b + RR, weight, r, r);
    add_products(a + RK, b + RK, weight, r, k);
    add_products(a + KK, b + KK, weight, k, k);
    a[K3] += b[K3];
    a[L_SUM] += b[L_SUM];
    a[RIGHT] += b[RIGHT];
    a[L_RIGHT] += b[L_RIGHT];
    for (size_t i = 0; i < budget_count; i++) {
        double *at = a + PROMPT + BUDGET * i;
        const double *of = b + PROMPT + BUDGET * i;
        Two e = gap_between(at + E0, of + E0, n_a, n_b);
        at[E1] += of[E1] + n_b * (of[E0] - at[E0]); /* whole tokens, which add exactly about any pivot */
        add_products(at + EE, of + EE, weight, e, e);
        add_products(at + RE, of + RE, weight, r, e);
        add_products(at + EK, of + EK, weight, e, k);
        at[OVER] += of[OVER];
    }
    a[L_BEST] = a[R_MAX] == b[R_MAX] ? larger(a[L_BEST], b[L_BEST]) : a[R_MAX] > b[R_MAX] ? a[L_BEST] : b[L_BEST];
    a[L_WORST] = a[R_MIN] == b[R_MIN] ? lesser(a[L_WORST], b[L_WORST]) : a[R_MIN] < b[R_MIN] ? a[L_WORST] : b[L_WORST];
    a[R_MIN] = lesser(a[R_MIN], b[R_MIN]);
    a[R_MAX] = larger(a[R_MAX], b[R_MAX]);
    a[L_MIN] = lesser(a[L_MIN], b[L_MIN]);
    a[L_MAX] = larger(a[L_MAX], b[L_MAX]);
}

/* ---- blocks */

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
    Centred *room = malloc(most * sizeof *room + (most + (in_order ? 0 : 4 * responses) + 1) * sizeof(double));
    if (room) {
        block->centred = room;
        block->e = (double *)(room + most);
        if (!in_order) {
            const double **columns[] = {&block->reward, &block->length, &block->log_ratio, &block->k3};
            for (size_t i = 0; i < 4; i++)
                *columns[i] = together(*columns[i], codes, starts, next, prompts, responses,
                                       block->e + most + i * responses);
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

static PyObject *fill_arrays(const Py_buffer views[ARRAYS], double correct_above) {
    Block block = {.reward = views[REWARD].buf,
                   .length = views[LENGTH].buf,
                   .log_ratio = views[LOG_RATIO].buf,
                   .k3 = views[K3_TERMS].buf,
                   .budgets = views[BUDGETS].buf,
                   .budget_count = (size_t)views[BUDGETS].shape[0],
                   .correct_above = correct_above};
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
             "fill(table, budgets, codes, reward, length, log_ratio, k3, correct_above)\n--\n\n"
             "Put the moments of every prompt into its row of `table`.\n\n"
             "All are contiguous: int64 the budgets and the codes (the row of each response), float64 the rest.\n"
             "`length`, `log_ratio` and `k3`, the terms of the log-ratios, may be None. A reward above `correct_above`\n"
             "is that of a right response. Do not write to the arrays meanwhile.");

static PyObject *fill(PyObject *module, PyObject *args) {
    PyObject *arrays[ARRAYS], *result = NULL;
    Py_buffer views[ARRAYS] = {{0}};
    double correct_above;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOOOOd", &arrays[TABLE], &arrays[BUDGETS], &arrays[CODES], &arrays[REWARD],
                          &arrays[LENGTH], &arrays[LOG_RATIO], &arrays[K3_TERMS], &correct_above))
        return NULL;
    if (get_arrays(arrays, views)) result = fill_arrays(views, correct_above);
    for (int i = 0; i < ARRAYS; i++)
        if (views[i].obj) PyBuffer_Release(&views[i]);
    return result;
}

PyDoc_STRVAR(merge_doc, "merge(table, later)\n--\n\n"
                        "Merge each row of a later table into the row of `table` at the same place.\n\n"
                        "Both are contiguous and float64. Do not write to them meanwhile.");

static PyObject *merge(PyObject *module, PyObject *args) {
    PyObject *table, *later, *result = NULL;
    Py_buffer to = {0}, from = {0};
    (void)module;
    if (!PyArg_ParseTuple(args, "OO", &table, &later)) return NULL;
    if (!get_array(table, "table", 'f', PyBUF_WRITABLE, &to) || !get_array(later, "later", 'f', 0, &from)) goto done;
    if (to.ndim != 2 || from.ndim != 2 || to.shape[0] != from.shape[0] || to.shape[1] != from.shape[1] ||
        to.shape[1] < PROMPT || (to.shape[1] - PROMPT) % BUDGET) {
        PyErr_SetString(PyExc_ValueError, "expected two tables of one shape, a column for each moment");
        goto done;
    }
    size_t width = (size_t)to.shape[1];
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < (size_t)to.shape[0]; i++)
        merge_row((double *)to.buf + i * width, (const double *)from.buf + i * width, (width - PROMPT) / BUDGET);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    if (to.obj) PyBuffer_Release(&to);
    if (from.obj) PyBuffer_Release(&from);
    return result;
}

/* Puts the sum of each list; false if the offsets do not lie in order within the values. */
static int put_sums(const double *values, size_t size, const int64_t *offsets, size_t lists, double *sums) {
    for (size_t i = 0; i < lists; i++) {
        if (offsets[i] < 0 || offsets[i] > offsets[i + 1] || (uint64_t)offsets[i + 1] > size) return 0;
        ExactSum sum = {0};
        for (int64_t at = offsets[i]; at < offsets[i + 1]; at++) sum_add(&sum, values[at]);
        if (!sum_rounded(&sum, &sums[i])) sums[i] = NAN;
    }
    return 1;
}

PyDoc_STRVAR(sum_lists_doc, "sum_lists(values, offsets, sums)\n--\n\n"
                            "Put the sum of values[offsets[i]:offsets[i + 1]] into sums[i], rounded once.\n\n"
                            "NaN where it is not settled, or not finite. All are contiguous: int64 the offsets, one\n"
                            "more than there are sums, float64 the rest. Do not write to them meanwhile.");

static PyObject *sum_lists(PyObject *module, PyObject *args) {
    PyObject *arrays[3], *result = NULL;
    Py_buffer values = {0}, offsets = {0}, sums = {0};
    int in_order = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO", &arrays[0], &arrays[1], &arrays[2])) return NULL;
    if (!get_array(arrays[0], "values", 'f', 0, &values) || !get_array(arrays[1], "offsets", 'i', 0, &offsets) ||
        !get_array(arrays[2], "sums", 'f', PyBUF_WRITABLE, &sums))
        goto done;
    if (values.ndim == 1 && offsets.ndim == 1 && sums.ndim == 1 && offsets.shape[0] == sums.shape[0] + 1) {
        Py_BEGIN_ALLOW_THREADS
        in_order = put_sums(values.buf, (size_t)values.shape[0], offsets.buf, (size_t)sums.shape[0], sums.buf);
        Py_END_ALLOW_THREADS
    }
    if (in_order)
        result = Py_NewRef(Py_None);
    else
        PyErr_SetString(PyExc_ValueError, "offsets: expected places in the values, in order, one more than sums");
done:
    if (values.obj) PyBuffer_Release(&values);
    if (offsets.obj) PyBuffer_Release(&offsets);
    if (sums.obj) PyBuffer_Release(&sums);
    return result;
}

/* ---- numbers of two doubles, array by array */

typedef struct {
    Py_buffer view; /* of an array; without `obj` for a number */
    const double *data;
    double number;
    Py_ssize_t step; /* 0 for a number */
} Operand;

/* Gets a number, or an array of `size` float64 in a row; false if it is neither. */
static int get_operand(PyObject *object, Py_ssize_t size, Operand *operand) {
    operand->view.obj = NULL;
    if (PyFloat_Check(object)) {
        operand->number = PyFloat_AsDouble(object);
        operand->data = &operand->number;
        operand->step = 0;
        return 1;
    }
    if (!PyObject_CheckBuffer(object) || !get_array(object, "operand", 'f', 0, &operand->view)) {
        PyErr_Clear();
        return 0;
    }
    operand->data = operand->view.buf;
    operand->step = 1;
    return operand->view.ndim == 1 && operand->view.shape[0] == size;
}

static Two two_at(const Operand *hi, const Operand *lo, Py_ssize_t i) {
    return (Two){hi->data[i * hi->step], lo->data[i * lo->step]};
}

PyDoc_STRVAR(combine_doc, "combine(operation, a_hi, a_lo, b_hi, b_lo, result)\n--\n\n"
                          "Put a + b, a * b or a / b_hi (operation '+', '*', '/') into result, of shape (2, n).\n\n"
                          "Each operand is a float or a contiguous float64 array of n. Returns False, and puts\n"
                          "nothing, where one is anything else.");

static PyObject *combine(PyObject *module, PyObject *args) {
    int operation, fits = 1;
    PyObject *objects[4], *array, *result = NULL;
    Operand operands[4] = {0};
    Py_buffer out = {0};
    (void)module;
    if (!PyArg_ParseTuple(args, "COOOOO", &operation, &objects[0], &objects[1], &objects[2], &objects[3], &array))
        return NULL;
    if (!get_array(array, "result", 'f', PyBUF_WRITABLE, &out)) goto done;
    if (out.ndim != 2 || out.shape[0] != 2 || !strchr("+*/", operation)) {
        PyErr_SetString(PyExc_ValueError, "combine: expected +, * or /, and a result of shape (2, n)");
        goto done;
    }
    Py_ssize_t n = out.shape[1];
    for (int i = 0; fits && i < 4; i++) fits = get_operand(objects[i], n, &operands[i]);
    double *hi = out.buf, *lo = hi + n;
    for (Py_ssize_t i = 0; fits && i < n; i++) {
        Two a = two_at(&operands[0], &operands[1], i), b = two_at(&operands[2], &operands[3], i);
        Two found = operation == '+' ? plus(a, b) : operation == '*' ? times(a, b) : over(a, b.hi);
        hi[i] = found.hi;
        lo[i] = found.lo;
    }
    result = PyBool_FromLong(fits);
done:
    for (int i = 0; i < 4; i++)
        if (operands[i].view.obj) PyBuffer_Release(&operands[i].view);
    if (out.obj) PyBuffer_Release(&out);
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

static PyMethodDef methods[] = {{"combine", combine, METH_VARARGS, combine_doc},
                                {"fill", fill, METH_VARARGS, fill_doc},
                                {"merge", merge, METH_VARARGS, merge_doc},
                                {"sum_lists", sum_lists, METH_VARARGS, sum_lists_doc},
                                {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "moments", "The moments of a block.", 0,
                                 methods, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_moments(void) { return PyModuleDef_Init(&definition); }
