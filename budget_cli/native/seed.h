/* The seed of a process for its hashes. No result depends on it: ids keep their order of first occurrence. */

#ifndef BUDGET_CLI_SEED_H
#define BUDGET_CLI_SEED_H

#include <Python.h>

#include "hash.h"

/* Puts random bytes; false, with an exception, if the system has none. */
static int draw_seed(Seed *seed) {
    PyObject *os = PyImport_ImportModule("os");
    PyObject *bytes = os ? PyObject_CallMethod(os, "urandom", "n", (Py_ssize_t)sizeof *seed) : NULL;
    char *data;
    Py_ssize_t size;
    int drawn = bytes && !PyBytes_AsStringAndSize(bytes, &data, &size) && size == sizeof *seed;
    if (drawn) memcpy(seed, data, sizeof *seed);
    Py_XDECREF(bytes);
    Py_XDECREF(os);
    return drawn;
}

#endif
