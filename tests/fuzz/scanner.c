/* libFuzzer target of json_scan.h: a value ends at the same place wherever the limit is, and never beyond it.

With the limit right behind the text, the scanner goes byte by byte; with space behind it, in steps of 16 and 64 bytes.
Each text ends with its allocation, so that the sanitizer sees any byte read beyond it. */

#include <stdlib.h>

#include "json_scan.h"

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

    free(tight);
    free(wide);
    return 0;
}
