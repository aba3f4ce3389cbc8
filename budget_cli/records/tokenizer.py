"""A `tokenizer.json` of Hugging Face → a counter of tokens. Imported, with `tokenizers`, only for `--tokenizer`."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from budget_cli.errors import UsageProblem
from budget_cli.schema import small_files

if TYPE_CHECKING:
    import tokenizers

MOST_BYTES = 1 << 28  # the largest vocabularies take 40 MB
LFS_POINTER = b"version https://git-lfs"
REMEDY = "AutoTokenizer.from_pretrained('MODEL').save_pretrained('.') of transformers writes one"


@dataclass(frozen=True)
class TextTokenizer:
    """Counts the tokens of texts, without special tokens, truncation or padding."""

    path: str = field(compare=False)
    digest: str  # of the file; equal for equal tokenizers
    content: bytes = field(compare=False, repr=False)  # travels to workers, which need not see the file

    @property
    def label(self) -> str:
        """The file, with its folder, which names the model, and the digest."""
        name = "/".join(os.path.normpath(self.path).split(os.sep)[-2:])
        return f"{name}@{self.digest}"

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the number of tokens of each text.

        Raises:
            UsageProblem: the tokenizer cannot encode one of the texts.
        """
        if not texts:
            return []
        try:
            encoded = _of_process(self).encode_batch_fast(list(texts), add_special_tokens=False)
        except Exception as error:  # the library raises nothing more specific
            raise UsageProblem(f"--tokenizer {self.path}: cannot encode a text of this dump: {error}") from None
        return list(map(len, encoded))


def load(path: str) -> TextTokenizer:
    """Read a tokenizer, and build it once to be sure that it is one.

    Raises:
        UsageProblem: the library is not installed, the file cannot be read, or it is no tokenizer.
    """
    try:
        import tokenizers  # noqa: F401  # to say that it is missing before anything is read
    except ImportError:
        from budget_cli.sources.extras import install  # only for this message

        raise UsageProblem(f"--tokenizer needs another package: {install('tokenizer')}") from None
    try:
        content = small_files.read(path, MOST_BYTES)
    except IsADirectoryError:
        raise UsageProblem(f"--tokenizer {path}: is a directory: give {os.path.join(path, 'tokenizer.json')}") from None
    except OSError as error:
        raise UsageProblem(f"--tokenizer {path}: cannot be read: {error.strerror}") from None
    if content.startswith(LFS_POINTER):
        raise UsageProblem(f"--tokenizer {path}: is a pointer of git-lfs, not the file: run `git lfs pull` beside it")
    tokenizer = TextTokenizer(path, hashlib.sha256(content).hexdigest()[:12], content)
    try:
        _of_process(tokenizer)
    except Exception as error:  # the library raises nothing more specific
        reason = str(error).partition("\n")[0][:120]
        raise UsageProblem(f"--tokenizer {path}: expected a tokenizer.json ({reason}); {REMEDY}") from None
    return tokenizer


@lru_cache(maxsize=2)
def _of_process(tokenizer: TextTokenizer) -> "tokenizers.Tokenizer":
    """Build the tokenizer, once per process; its threads share it."""
    # workers use the cores; as many threads again in each of them would only compete
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import tokenizers

    made = tokenizers.Tokenizer.from_buffer(tokenizer.content)
    made.no_truncation()
    made.no_padding()
    return made
