/* An array of bytes that grows. */

#ifndef BUDGET_CLI_COLUMN_H
#define BUDGET_CLI_COLUMN_H

#include <stdlib.h>

#include "portable.h"

typedef struct {
    char *data; /* owned */
    size_t size, capacity; /* bytes */
    int failed;            /* out of memory; raised when the block has been read */
} Column;

/* Makes room for so many bytes more, which the caller writes; NULL if there is no memory. */
static inline char *push_room(Column *column, size_t size) {
    if (column->size + size > column->capacity) {
        size_t capacity = column->capacity ? 2 * column->capacity : 4096;
        while (capacity < column->size + size) capacity *= 2;
        char *data = realloc(column->data, capacity);
        if (!data) {
            column->failed = 1;
            return NULL;
        }
        column->data = data;
        column->capacity = capacity;
    }
    column->size += size;
    return column->data + column->size - size;
}

static inline void push(Column *column, const void *bytes, size_t size) {
    char *to = push_room(column, size);
    if (to) memcpy(to, bytes, size);
}

static inline void push_integer(Column *column, int64_t value) { push(column, &value, sizeof value); }

#endif
