"""Random texts of JSON, values that few programs write among them, and damage to them."""

import json
import random

import numpy as np

PIECES = [
    *rb'{ } [ ] , : " \ true false null NaN -Infinity 0 -1.5e-7 12 01 1. 1e400 "a" "x":1 [[]] {} {"k":[1]}'.split(),
    *rb"\n \" \u00e9 \ud83d\ude00 \ud800 \x".split(),  # escapes
    *"é 😀".encode().split(),
    *(b" ", b"\t", b"\r", b"\0", b"\x7f", b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *(b"9" * 30, b"x" * 15, b"y" * 64),
]


def json_value(chance: random.Random, depth: int = 0) -> str:
    """Write a random value in JSON."""
    if depth < 4 and chance.random() < 0.5:
        inner = [json_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        space = chance.choice(["", " ", "\t"])
        if chance.random() < 0.5:
            return f"[{space}{f',{space}'.join(inner)}{space}]"
        return "{" + space + f",{space}".join(f"{json_text(chance)}{space}:{space}{value}" for value in inner) + "}"
    return chance.choice([json_text(chance), number_text(chance), "true", "false", "null"])


def json_text(chance: random.Random) -> str:
    """Write a random string in JSON."""
    characters = ["a", "b" * 20, "é", "答", "😀", "\n", '"', "\\", "\x7f", "\u2028", "x" * chance.randrange(70)]
    characters += ["x" * chance.randrange(70, 90) + '"']  # an escape around the end of a step of 64 bytes
    text = "".join(chance.choices(characters, k=chance.randrange(6)))
    return json.dumps(text, ensure_ascii=chance.random() < 0.5)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Change, insert or delete a few bytes."""
    for _ in range(chance.choice([0, 0, 1, 1, 2, 4])):
        at = chance.randrange(len(data) + 1)
        piece = chance.choice(PIECES) if chance.random() < 0.8 else bytes([chance.randrange(256)])
        data = data[:at] + piece + data[at + chance.choice([0, 0, 1, len(piece)]) :]
    return data


DIGITS = "0123456789"


def number_text(chance: random.Random) -> str:
    """Write a number as JSON may: short, with many digits, near a tie between two doubles, or of extreme size."""
    form = chance.randrange(6)
    if form == 0:
        return repr(chance.uniform(-50, 0))
    if form == 1:
        return repr(np.frombuffer(chance.randbytes(8)).item()).replace("inf", "1").replace("nan", "0")
    if form == 2:  # halfway between two doubles, and a little beside
        tie = (2 * chance.randrange(2**52, 2**53) + 1) * 2 ** chance.randrange(1, 60) // 2
        return str(tie) + chance.choice(["", ".0", ".5", "e0", ".0000000001"])
    sign, exponent = chance.choice(["", "-"]), chance.choice([30, 30, 350])
    whole = str(int("".join(chance.choices(DIGITS, k=chance.randrange(1, 24)))))
    part = "." + "".join(chance.choices(DIGITS, k=chance.randrange(1, 24))) if chance.random() < 0.6 else ""
    power = f"{chance.choice('eE')}{chance.choice(['', '+', '-'])}{chance.randrange(exponent)}" if form > 3 else ""
    return sign + whole + part + power
