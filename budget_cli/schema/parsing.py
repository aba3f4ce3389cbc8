"""`a.b[].c` or a JMESPath expression ↔ a place in a record.

A path is keys joined by dots; a key that ends in `[]` is a list, and the path goes on in each of its elements
(`response.output[].generation_log_probs`). A character of a key that would mean something here (`.`, `[`, `(` and the
like) has a backslash before it. What a path cannot say is a JMESPath expression: `minus(seqlen, prompt_len)`.
"""

import re

from budget_cli.errors import UsageProblem
from budget_cli.schema.paths import Expression, Place, Step


def parse_place(text: str) -> Place:
    """The place that `text` writes: a path, or else a JMESPath expression.

    Raises:
        UsageProblem: an empty key, a bracket that is not `[]` at the end of a key, or an expression that is none.
    """
    if re.search(r"[()|?*@&{}'`,]|\[[^\]]", re.sub(r"\\.", "", text)):
        from budget_cli.schema import expressions

        expressions.require_valid(text)
        return Expression(text)
    problem = UsageProblem(f"path {text!r}: expected keys joined by dots, with [] after a list, as in a.b[].c")
    steps = []
    key, each = "", False
    for token in re.findall(r"\\.|\[\]|.", text + ".", re.DOTALL):
        if token == "." and key:
            steps.append(Step(key, each))
            key, each = "", False
        elif token == "[]" and key and not each:
            each = True
        elif token in (".", "[]", "[", "]") or each:
            raise problem
        else:
            key += token[-1]
    if key:  # a backslash at the end has nothing to escape
        raise problem
    return tuple(steps)


def place_text(path: Place) -> str:
    """The place as the user would write it."""
    if isinstance(path, Expression):
        return path.text
    return ".".join(re.sub(r"([][.\\()|?*@&{}'`,])", r"\\\1", step.key) + ("[]" if step.each else "") for step in path)
