/* Arrays of numpy -> buffers of which the type has been checked. */

#ifndef BUDGET_CLI_BUFFERS_H
#define BUDGET_CLI_BUFFERS_H

#include <Python.h>

#include "portable.h"

/* Gets a contiguous array of int64 (type 'i') or float64 (type 'f'); false, with an exception, if it is not one.

In both cases the caller releases the view if it has an `obj`. */
static MAYBE_UNUSED int get_array(PyObject *array, const char *name, char type, int flags, Py_buffer *view) {
    if (PyObject_GetBuffer(array, view, flags | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
        view->obj = NULL;
        return 0;
    }
    const char *format = view->format ? view->format : "B";
    if (*format == '@' || *format == '=' || *format == '<') format++;
    int fits = view->itemsize == 8 && strlen(format) == 1 && strchr(type == 'f' ? "d" : "lq", *format);
    if (!fits) PyErr_Format(PyExc_TypeError, "%s: expected an array of %s64", name, type == 'f' ? "float" : "int");
    return fits;
}

#endif
