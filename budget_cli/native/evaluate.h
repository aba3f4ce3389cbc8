/* An expression and the values that it reads in a record -> its value: JMESPath, in the part that dumps need.

What the expression means is said by schema/expressions.py. Here a value is a place in the text, looked at when it is
asked for. An operation either gives exactly what Python gives or gives up (DOUBT), and the reference reader decides. */

#ifndef BUDGET_CLI_EVALUATE_H
#define BUDGET_CLI_EVALUATE_H

#include "arena.h"
#include "column.h"
#include "exact_sum.h"

/* What a slot takes. ID: a string or an integer. LOG_PROB: a number, or a list of numbers, to be summed. Each element
of an ARRAY is a row. SPAN: any value, of which only the place is kept. TRUTH: of an expression, whether it is true: 1
or 0. The constants are exported to Python. */
enum Kind { ID, NUMBER, TOKENS, LOG_PROB, NUMBER_ARRAY, TOKENS_ARRAY, SPAN, TRUTH, KINDS };

/* What a line has for a slot. The constants are exported to Python. */
enum State { VALUE, MISSING, IS_NULL, LIST, UNUSABLE };

enum { MAX_ARGUMENTS = 32, MAX_LEVELS = 64 };

enum Operation {
    ROOT, FIELD, INDEX, LITERAL, CURRENT, CHAIN, LIST_OF, OR, AND, NOT, EQUAL, UNEQUAL, LESS, LESS_EQUAL, GREATER,
    GREATER_EQUAL, PROJECT, FILTER, FLATTEN, KEPT, MASKED, UNTIL_KEPT, TOTAL, DOT, NANDOT, NUMBER_OF, MINUS, STEM, PART,
    DIGEST, JOIN, FROM_JSON, GRADED, WEIGHTED, LENGTH, SUM, VALUES, TO_STRING, TO_NUMBER, NOT_NULL, OPERATIONS
};

enum Type { NOTHING, NO, YES, COUNTED, WORDS, ARRAY, OBJECT, GATHERED };

typedef struct Value Value;
struct Value {
    int type;          /* COUNTED is a number, WORDS a string, GATHERED a list of values that stand in no text */
    int whole;         /* of a number in `number`: an integer that a double holds; -1: `number` is not set yet */
    Text begin, end;   /* of an ARRAY, an OBJECT, a number as it is written; of WORDS what is between the quotes */
    Text limit;        /* of the text; a newline stands before it */
    double number;
    const Value *items; /* of GATHERED */
    size_t count;
};

typedef struct {
    int operation, slot; /* of ROOT: the slot of the span */
    int64_t number;      /* of INDEX */
    char *text;          /* owned; of FIELD: the key with its closing quote; of LITERAL: JSON and a newline */
    size_t size;
    int count, children[MAX_ARGUMENTS];
} Expression;

typedef struct {
    const Expression *nodes;
    Arena *scratch;
    const Value *roots; /* by slot */
    int failed;         /* no memory */
} Evaluation;

/* The value of an expression, as a slot takes it. */
typedef struct {
    int kind, lenient, keeps; /* of the slot; lenient: no log-probs are none, and a list of one number is that number */
    Text text, text_end;      /* an id */
    double value;
    ExactSum sum;             /* of log-probs */
    Column *rows;             /* takes them, if the slot keeps them */
} Found;

/* Once, before any evaluation; false if there is no memory. */
int evaluation_begins(void);

/* What an operation is called, and how many parts it has; -1: one or more. */
const char *operation_name(int operation);
int operation_parts(int operation);

/* The value that stands between two places of a text, and is valid. */
Value value_in_text(Text begin, Text end, Text limit);

/* True if `text` is JSON and a newline. */
int is_literal(Text text, size_t size);

/* Puts what the expression at `root` gives, and returns the state of the slot. Ids that stand nowhere in the block, which
begins at `base`, are written to `ids`. */
int expression_state(Evaluation *of, int root, Text base, Text limit, Arena *ids, Found *found);

#endif
