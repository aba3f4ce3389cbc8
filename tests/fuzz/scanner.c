/* libFuzzer target of json_scan.h: a value ends at the same place wherever the limit is, and never beyond it.

With the limit right behind the text, the scanner goes byte by byte; with space behind it, in steps of 16 and 64 bytes.
Each text ends with its allocation, so that the sanitizer sees any byte read beyond it. The steps of a long string are
the same whether 16 or 32 bytes are compared at once. */

#include <stdlib.h>

#include "json_scan.h"

static void compare_steps(Text p, Text limit) {
#if defined(__SSE2__) && defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2")) return;
    int closed, escaped = 0, also_closed, also_escaped = 0;
    Text end = steps_by_16(p, limit, &closed, &escaped), same = steps_by_32(p, limit, &also_closed, &also_escaped);
    if (end != same || closed != also_closed || escaped != also_escaped) abort();
#else
    (void)p, (void)limit;
#endif
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { SPACE = 80 };
    unsigned char *tight = malloc(size + 1), *wide = malloc(size + 1 + SPACE);
    if (!tight || !wide) abort();
    if (size) memcpy(tight, data, size);
    tight[size] = '\n';
    memcpy(wide, tight, size + 1);
    memset(wide + size + 1, '\n', SPACE);

    Text end = value_end(tight, tight + size + 1), same = value_end(wide, wide + size + 1 + SPACE);
    if (!end != !same || (end && (end - tight != same - wide || end > tight + size))) abort();

    compare_steps(tight, tight + size + 1);
    compare_steps(wide, wide + size + 1 + SPACE);

    free(tight);
    free(wide);
    return 0;
}
