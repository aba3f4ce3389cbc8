"""The C extensions, for GCC and Clang.

BUDGET_CLI_SANITIZE=1 builds them with AddressSanitizer and UndefinedBehaviorSanitizer. BUDGET_CLI_PURE=1 leaves them
out, as Windows does (native/portable.h says what they take from the compiler): such a wheel serves every machine.
"""

import os
import sys
from glob import glob

from setuptools import Extension, setup

SANITIZE = os.environ.get("BUDGET_CLI_SANITIZE", "0") not in ("", "0")

PURE = sys.platform == "win32" or os.environ.get("BUDGET_CLI_PURE", "0") not in ("", "0")

COMPILE = ["-O2", "-ffp-contract=off"]  # a fused multiply-add would give other bits than numpy
LINK: list[str] = []
OPTIONS = {}
if SANITIZE:
    LINK = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    COMPILE = [*COMPILE, *LINK, "-g", "-O1", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Werror"]
    OPTIONS = {"build": {"build_base": "build/sanitize"}}  # objects that were built without are not taken for these

PARTS = {"reader": ("evaluate",)}  # other files of an extension

setup(
    ext_modules=[]
    if PURE
    else [
        Extension(
            f"budget_cli.native.{name}",
            sources=[f"budget_cli/native/{each}.c" for each in (name, *PARTS.get(name, ()))],
            depends=glob("budget_cli/native/*.h"),
            extra_compile_args=COMPILE,
            extra_link_args=LINK,
            py_limited_api=True,
            optional=not SANITIZE,  # without a C compiler the installation goes on, and reading is many times slower
        )
        for name in ("ids", "moments", "reader", "unfold")
    ],
    options=OPTIONS,
)
