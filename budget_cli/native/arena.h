/* Memory that is taken in pieces, stays where it is, and is given back at once. */

#ifndef BUDGET_CLI_ARENA_H
#define BUDGET_CLI_ARENA_H

#include <stdlib.h>

#include "portable.h"

enum { ARENA_CHUNK = 1 << 16 };

typedef struct Chunk Chunk;
struct Chunk {
    Chunk *next; /* owned */
    size_t room;
    uint64_t data[];
};

typedef struct {
    Chunk *first; /* owned; NULL at the start */
    Chunk *last;  /* in use; those after it are free */
    size_t used;  /* bytes of `last` */
} Arena;

/* So many bytes, aligned for doubles and pointers; NULL if there is no memory. */
static MAYBE_UNUSED void *arena_take(Arena *arena, size_t size) {
    size = (size + 7) & ~(size_t)7;
    while (arena->last && arena->last->room - arena->used < size && arena->last->next) {
        arena->last = arena->last->next;
        arena->used = 0;
    }
    if (!arena->last || arena->last->room - arena->used < size) {
        size_t room = size > ARENA_CHUNK ? size : ARENA_CHUNK;
        Chunk *chunk = malloc(sizeof *chunk + room);
        if (!chunk) return NULL;
        *chunk = (Chunk){NULL, room};
        if (arena->last) arena->last->next = chunk;
        else arena->first = chunk;
        arena->last = chunk;
        arena->used = 0;
    }
    void *taken = (char *)arena->last->data + arena->used;
    arena->used += size;
    return taken;
}

/* Gives everything back, and keeps the memory. */
static MAYBE_UNUSED void arena_reset(Arena *arena) {
    arena->last = arena->first;
    arena->used = 0;
}

static MAYBE_UNUSED void arena_free(Arena *arena) {
    for (Chunk *chunk = arena->first; chunk;) {
        Chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    *arena = (Arena){0};
}

#endif
