"""`a.b[].c` or a JMESPath expression ↔ a place in a record.

A path is keys joined by dots. A key that ends in `[]` holds a list, and the path continues in each of its elements
(`response.output[].generation_log_probs`). Characters with a meaning here (`.`, `[`, `(` and the like) are escaped by a
backslash inside a key. Anything else is a JMESPath expression: `minus(seqlen, prompt_len)`.
"""

import re

from budget_cli.errors import UsageProblem
from budget_cli.schema.paths import Expression, Place, Step


def parse_place(text: str, is_condition: bool = False) -> Place:
    """Parse a path, or else a JMESPath expression.

    Args:
        text: as the user or a preset writes it.
        is_condition: True if it says whether a sample is left out, so that what only compares is an expression, too.

    Raises:
        UsageProblem: a key is empty, a bracket is not part of a `[]` after a key, the expression is invalid, or there
            are bytes of the command line that are not UTF-8, which no record can contain and no result could quote.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise UsageProblem(f"path {shown!r}: expected UTF-8, as in every JSON file") from None
    bare = re.sub(r"\\.", "", text)
    if re.search(r"[()|?*@&{}'`,]|\[[^\]]", bare) or (is_condition and re.search("[!=<>]", bare)):
        from budget_cli.schema import expressions  # and jmespath, which only expressions need

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
    if key:  # a final backslash escaped the dot that was appended
        raise problem
    return tuple(steps)


def place_text(path: Place) -> str:
    """Write the place as a user would; the inverse of `parse_place`."""
    if isinstance(path, Expression):
        return path.text
    return ".".join(re.sub(r"([][.\\()|?*@&{}'`,])", r"\\\1", step.key) + ("[]" if step.each else "") for step in path)
