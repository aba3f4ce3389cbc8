/* Doubles -> their sum, rounded once as Python's math.fsum rounds it, or the admission that it is not known.

The sum is kept in twice the precision of a double, with a bound on what that lost. */

#ifndef BUDGET_CLI_EXACT_SUM_H
#define BUDGET_CLI_EXACT_SUM_H

#include <math.h>

#include "portable.h"

typedef struct {
    double sum;   /* the running sum */
    double lost;  /* what the roundings of `sum` lost */
    double doubt; /* at most how much the roundings of `lost` lost in turn */
    int64_t count;
} ExactSum;

/* Returns a + b rounded, and puts what the rounding lost, exactly (Knuth, TAOCP 2, 4.2.2). */
static inline double two_sum(double a, double b, double *lost) {
    double sum = a + b, part = sum - a;
    *lost = (a - (sum - part)) + (b - part);
    return sum;
}

static inline void sum_add(ExactSum *sum, double x) {
    double lost, lost_of_lost;
    sum->sum = two_sum(sum->sum, x, &lost);
    sum->lost = two_sum(sum->lost, lost, &lost_of_lost);
    sum->doubt += fabs(lost_of_lost);
    sum->count++;
}

/* True if `total` is the sum, correctly rounded; false if the bound does not settle it, or the sum is not finite. */
static MAYBE_UNUSED int sum_rounded(const ExactSum *sum, double *total) {
    *total = sum->sum + sum->lost + 0.0; /* never -0 */
    if (!isfinite(*total)) return 0;
    if (sum->doubt == 0) return 1;
    double doubt = 1.001 * sum->doubt; /* the bound was added in floating point, too */
    return sum->sum + nextafter(sum->lost - doubt, -INFINITY) == *total &&
           sum->sum + nextafter(sum->lost + doubt, INFINITY) == *total;
}

#endif
