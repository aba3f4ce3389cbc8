"""Counters of tokens whose counts a reader can check by hand: one that needs no library, and a real tokenizer.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from budget_cli.errors import UsageProblem


@dataclass(frozen=True)
class Words:
    """Counts words; refuses one text, as a tokenizer may."""

    label: str = "words@1"

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the number of words of each text."""
        if "refused" in texts:
            raise UsageProblem("cannot encode a text")
        return [len(text.split()) for text in texts]


def write_tokenizer(path: Path, words: Sequence[str] = ("one", "two", "three"), max_length: int = 0) -> Path:
    """Write a tokenizer.json: each word, and each punctuation mark, is a token, and <s> goes before every text.

    With `max_length` it truncates to so many tokens and pads to them, as files saved after training do.
    """
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate(["<unk>", "<s>", *words])}
    made = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    if max_length:
        made.enable_truncation(max_length)
        made.enable_padding(length=max_length)
    made.save(str(path))
    return path
