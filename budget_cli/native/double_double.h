/* Numbers of two doubles each, hi + lo: the operations of groups/double_double.py, step by step, so to the same bits. */

#ifndef BUDGET_CLI_DOUBLE_DOUBLE_H
#define BUDGET_CLI_DOUBLE_DOUBLE_H

#include <math.h>

#include "exact_sum.h"

typedef struct {
    double hi, lo;
} Two;

static const double SPLITTER = 134217729.0; /* 2^27 + 1: cuts 53 bits into halves, whose products are exact */

static inline double half_of(double a) {
    double scaled = SPLITTER * a;
    return scaled - (scaled - a);
}

/* Returns a * b rounded, and puts what the rounding lost: exactly (Dekker, 1971), or 0 where a half is beyond range. */
static inline double two_product(double a, double b, double *lost) {
    double product = a * b, a_hi = half_of(a), b_hi = half_of(b), a_lo = a - a_hi, b_lo = b - b_hi;
    double found = ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo;
    *lost = isfinite(found) ? found : 0;
    return product;
}

static inline Two normal(double hi, double lo) {
    double total = hi + lo;
    return (Two){total, lo - (total - hi)};
}

static inline Two minus(Two a) { return (Two){-a.hi, -a.lo}; }

static inline Two plus(Two a, Two b) {
    double lost, lost_of_lost, hi = two_sum(a.hi, b.hi, &lost), lost_total = two_sum(a.lo, b.lo, &lost_of_lost);
    Two both = normal(hi, lost + lost_total);
    return normal(both.hi, both.lo + lost_of_lost);
}

static inline Two times(Two a, Two b) {
    double lost, product = two_product(a.hi, b.hi, &lost);
    return normal(product, lost + (a.hi * b.lo + a.lo * b.hi));
}

static inline Two over(Two a, double n) {
    double lost, quotient = a.hi / n, product = two_product(quotient, n, &lost);
    return normal(quotient, plus(a, (Two){-product, -lost}).hi / n);
}

#endif
