/* libFuzzer target of decimal.h: it reads what the scanner calls a number, as the double that strtod reads. */

#include <math.h>
#include <stdlib.h>

#include "decimal.h"
#include "json_scan.h"

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    return decimal_init() ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned char *text = malloc(size + 1);
    if (!text) abort();
    if (size) memcpy(text, data, size);
    text[size] = '\n';

    double value;
    Text limit = text + size + 1, end = number_end(text), read = decimal(text, limit, &value);
    if (read && read != end) abort();
    if (end && !read && end - text < 64 && !is_digit(*end)) abort(); /* 06: the scanner ends it at the 6 */
    if (read) {
        int is_integer = 1;
        for (Text p = text; p < end; p++) is_integer &= *p == '-' || is_digit(*p);
        text[end - text] = 0; /* else strtod reads the 14 of 0xe, whose number ends at the x */
        double expected = strtod((const char *)text, NULL);
        if (is_integer && expected == 0) expected = 0; /* the integer -0 is 0 */
        if (memcmp(&value, &expected, sizeof value)) abort();
    }

    free(text);
    return 0;
}
