/* libFuzzer target of exact_sum.h: a sum that is given is the exact sum of the partial sums, rounded once.

The oracle keeps partial sums that do not overlap (Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997), as
math.fsum does. */

#include <stdlib.h>

#include "exact_sum.h"

enum { MOST_TERMS = 64 };

static double oracle(const double *terms, size_t count) {
    double partials[MOST_TERMS + 1], lost;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        double x = terms[i];
        size_t next = 0;
        for (size_t j = 0; j < kept; j++) {
            x = two_sum(x, partials[j], &lost);
            if (lost != 0) partials[next++] = lost;
        }
        partials[next++] = x;
        kept = next;
    }
    double total = 0, rest = 0;
    while (kept) {
        total = two_sum(total, partials[--kept], &rest);
        if (rest != 0) break;
    }
    /* half a unit, and more of the same sign below: to even was wrong */
    if (kept && ((rest < 0 && partials[kept - 1] < 0) || (rest > 0 && partials[kept - 1] > 0))) {
        double twice = 2 * rest, up = total + twice;
        if (up - total == twice) total = up;
    }
    return total + 0.0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    double terms[MOST_TERMS], total, most = 0;
    size_t count = size / sizeof *terms < MOST_TERMS ? size / sizeof *terms : MOST_TERMS;
    if (count) memcpy(terms, data, count * sizeof *terms);
    ExactSum sum = {0};
    for (size_t i = 0; i < count; i++) {
        most += fabs(terms[i]);
        sum_add(&sum, terms[i]);
    }
    if (!(most < 1e300)) return 0; /* the oracle might overflow, where two_sum is not exact */
    if (sum_rounded(&sum, &total)) {
        double expected = oracle(terms, count);
        if (memcmp(&total, &expected, sizeof total)) abort();
    }
    return 0;
}
