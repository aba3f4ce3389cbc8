"""Paths and options → a `Dump`, which is read once and answers as the commands do. Prints nothing.

It holds the moments of every prompt, so the loss at another B, β or α takes no second look at the files. What needs the
responses themselves (`check`, `responses`, `to_summary`) reads the files again.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from budget_cli.analysis.grid import Grid
from budget_cli.analysis.loss import Coefficients, compute_loss, per_prompt_losses
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.sweep import compute_sweep
from budget_cli.api import arguments
from budget_cli.api.results import CheckedDump, DumpLoss, DumpSweep
from budget_cli.cli import console, objectives, output
from budget_cli.cli.bundles import AllowanceOptions, FieldOptions, OutputOptions, ReadingOptions
from budget_cli.cli.options import Aggregate, GroupBy
from budget_cli.cli.own_options import CheckOptions, FailOn
from budget_cli.cli.session import MOST_JOBS, TOO_LARGE, ScanSpec, Session, counted_twice, needed_fields
from budget_cli.errors import DumpRejected, UsageProblem
from budget_cli.objective.settings import MOST_TOKENS, Objective
from budget_cli.rendering.loss import LossAnswer
from budget_cli.scanning import formats

if TYPE_CHECKING:
    import pyarrow

Paths: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"
Texts: TypeAlias = "str | Iterable[str]"
Unit: TypeAlias = Literal["response", "prompt", "row", "token", "prompt-token", "constant"]
BETA, ALPHA = 0.01, 0.1  # as the commands have them
LONGEST_LINE = 1 << 40  # bytes, as for the commands


@dataclass(frozen=True)
class Asked:
    """The options of a scan, as the commands take them."""

    files: list[str]
    budgets: tuple[int, ...]
    trained: Objective
    aggregate: Aggregate
    log_probs: bool
    fields: FieldOptions
    allowance: AllowanceOptions
    reading: ReadingOptions

    @property
    def needs(self) -> tuple[bool, bool]:
        """Whether a record needs a length, and log-probs."""
        penalised = bool(self.budgets) or self.trained.has_own_budgets
        return objectives.needs_length(self.trained, float(penalised)), self.log_probs


class Dump:
    """A rollout dump that has been read: `scan` makes one.

    Attributes:
        budgets: the budgets that it answers for, in tokens, in ascending order.
        prompts_count: number of prompts.
        responses_count: number of responses.
    """

    def __init__(self, asked: Asked) -> None:
        """Read the files. Use `budget_cli.scan`, which says what each option means."""
        self._asked = asked
        self.budgets = asked.budgets
        self._session = Session(
            asked.fields, asked.allowance, asked.reading, _silent(), needed_fields(*asked.needs), asked.trained
        )
        with _quietly() as said:
            self._session.find(asked.files)
            self._session.place()
            # a row is a response in most dumps; where it is not, responses are few enough to be kept
            keep = self._session.fields.has_rollouts
            spec = ScanSpec(keep_responses=keep, if_penalised=counted_twice(BETA) if asked.budgets else "")
            self._scan = self._session.scan(asked.budgets, spec)
        self._said = [*said, *self._scan.notes]

    # ---- what was read

    @property
    def prompts_count(self) -> int:
        """Number of prompts."""
        return len(self._scan.groups)

    @property
    def responses_count(self) -> int:
        """Number of responses."""
        return self._scan.groups.responses

    @property
    def files(self) -> list[str]:
        """The names of the files that were found."""
        return [source.name for source in self._session.found]

    @property
    def notes(self) -> list[str]:
        """What the commands say on standard error: which preset was found, what was left out, and warnings."""
        return [*self._said, *(f"warning: {warning}" for warning in self.warnings)]

    @property
    def warnings(self) -> list[str]:
        """Why the numbers may not be the trainer's; none if nothing says so."""
        return self._session.warnings

    @property
    def reasons(self) -> list[str]:
        """Why the verdict is fail, as the commands say it; none if it is pass."""
        return [reason.text for reason in self._session.reasons()]

    @property
    def verdict(self) -> Literal["pass", "fail"]:
        """`pass` if everything was read and no more records than allowed were rejected."""
        return "fail" if self.reasons else "pass"

    def __repr__(self) -> str:
        """Return what was read, and the verdict."""
        read = f"{counted(self.responses_count, 'response')}, {counted(self.prompts_count, 'prompt')}"
        budgets = f", budgets {', '.join(f'{budget:,}' for budget in self.budgets)}" if self.budgets else ""
        return f"<budget_cli.Dump: {read}{budgets}, {self.verdict}>"

    def _repr_html_(self) -> str:
        """Return the screen of the loss at the first budget, for a notebook."""
        return self.loss(*self.budgets[:1])._repr_html_()

    # ---- answers

    def loss(self, B: int | None = None, beta: float | None = None, alpha: float | None = None) -> DumpLoss:
        """Compute the budget-aware loss and its components, to the last bit those of `budget-cli loss`.

        Args:
            B: the token budget, one of `budgets`; may be left out if there is only one.
            beta: β, reward per token over the budget; 0.01 if left out, or 0 without a budget.
            alpha: α, reward per nat of the log-ratio; 0.1 if left out, or 0 without log-probs.

        Raises:
            UsageProblem: the scan does not answer for these coefficients.
        """
        return DumpLoss.of(self._answer(B, beta, alpha))

    def prompts(self, B: int | None = None, beta: float | None = None, alpha: float | None = None) -> "pyarrow.Table":
        """Return a row per prompt, in the order of their first responses, with the columns of `loss --per-prompt`.

        The arguments are those of `loss`. A table of pyarrow goes to pandas, Polars and DuckDB without a copy.

        Raises:
            UsageProblem: the scan does not answer for these coefficients, or pyarrow is missing.
        """
        at, place = self._at(B, beta, alpha)
        from budget_cli.cli.arrow import table_of_prompts  # and pyarrow, an extra

        return table_of_prompts(per_prompt_losses(self._scan.groups.at(place), at, trained=self._asked.trained))

    def sweep(self, beta: Iterable[float] | float = BETA, alpha: Iterable[float] | float | None = None) -> DumpSweep:
        """Compute the loss in every cell of a grid: all budgets of the scan, each of these β and each of these α.

        Args:
            beta: values of β, reward per token.
            alpha: values of α, reward per nat; 0.1 if left out, or 0 without log-probs.

        Raises:
            UsageProblem: a value is not finite, the grid is too large, or there is neither a budget nor β = 0.
        """
        betas = arguments.numbers("beta", beta)
        alphas = arguments.numbers("alpha", self._alpha() if alpha is None else alpha)
        budgets = self.budgets or (None,)
        factors = self._asked.trained.factors if self._asked.trained.has_own_budgets else ()
        if not self.budgets and not factors and any(betas):
            raise UsageProblem("beta: the scan has no budget: give scan(…, budgets=[4096]), or beta=0")
        if any(alphas) and not self._asked.log_probs:
            raise UsageProblem("alpha: the scan read no log-probs: give scan(…, log_probs=True), or alpha=0")
        if self._asked.aggregate not in (Aggregate.RESPONSE, Aggregate.PROMPT):
            named = self._asked.aggregate.value
            raise UsageProblem(f"aggregate={named}: a sweep keeps only sums of responses: use loss, one cell at a time")
        grid = Grid(budgets, betas, alphas, factors)
        grid.require_sane()
        scan, asked = self._scan, self._asked
        swept = compute_sweep(scan.groups, grid, scan.tally, asked.aggregate.value, asked.trained)
        reasons = self._session.reasons()
        reasons += [TOO_LARGE] if scan.tally.used and None in swept.numbers("loss") else []
        warnings = self._warnings_at(max(betas))
        return DumpSweep.of(swept, reasons, scan.rejections, self._session.rejections(), warnings)

    def check(
        self,
        B: int | None = None,
        beta: float | None = None,
        alpha: float = 0.0,
        *,
        text: bool = False,
        duplicate_keys: bool = False,
        select: Texts = (),
        ignore: Texts = (),
        threshold: Mapping[str, float] | None = None,
        fail_on: Literal["error", "warning", "info"] = "error",
        by: str | None = None,
    ) -> CheckedDump:
        """Find what is wrong or suspicious in the dump, as `budget-cli check` does. Reads the files again.

        Args:
            B: the token budget; one of `budgets` if left out and there is only one.
            beta: β, reward per token; 0.01 if left out, or 0 without a budget.
            alpha: α; unless 0, records without log-probs are rejected.
            text: True to read the texts of prompts and responses, too.
            duplicate_keys: True to look for keys that occur twice in an object.
            select: codes or topics of the checks to make; all if empty.
            ignore: codes or topics of checks to skip.
            threshold: thresholds of checks by name, such as `{"truncated.share": 0.1}`.
            fail_on: the lowest severity that makes the verdict fail.
            by: the place of a field, or `file`: what is found in each part is said, too.

        Raises:
            UsageProblem: a code, a threshold or a place is none.
            InputProblem: a file cannot be read any more.
        """
        at, _ = self._at(B, beta, 0.0)
        named = arguments.pairs("threshold", threshold, "{'truncated.share': 0.1}")
        checks = CheckOptions(
            kl_coef=arguments.number("alpha", 0.0 if alpha is None else alpha) or None,
            text=text,
            duplicate_keys=duplicate_keys,
            select=arguments.texts("select", select),
            ignore=arguments.texts("ignore", ignore),
            threshold=[f"{name}={value}" for name, value in named.items()],
            fail_on=FailOn(arguments.choice("fail_on", fail_on, [each.value for each in FailOn]) or "error"),
            by=arguments.text("by", by),
        )
        self._require_second_reading("check()")
        from budget_cli.cli.checking import checked  # which only this needs

        asked = self._asked
        with _quietly():
            session, result = checked(
                asked.files,
                (at.token_budget, at.budget_penalty_coef),
                asked.trained,
                checks,
                asked.fields,
                asked.allowance,
                asked.reading,
                _silent(),
            )
        return CheckedDump.of(result, session.warnings)

    def responses(self, B: int | None = None, beta: float | None = None, alpha: float | None = None) -> "pyarrow.Table":
        """Return a row per response, in the order of the files, with its terms of the loss. Reads the files again.

        Columns: source, line (from 1), sample (from 0, among the responses of a line), prompt_id, reward, length
        (tokens), log_prob and old_log_prob (nats), and the terms that `annotate` writes: penalty, adjusted_reward,
        baseline, advantage, log_ratio (nats) and loss. The arguments are those of `loss`.

        Raises:
            UsageProblem: the scan does not answer for these coefficients, holds summaries, or pyarrow is missing.
            InputProblem: a file has changed since it was scanned.
        """
        at, place = self._at(B, beta, alpha)
        from budget_cli.cli.arrow import table_of_responses  # and pyarrow, an extra
        from budget_cli.cli.inputs import require_records
        from budget_cli.records.columns import ALL_REJECTIONS
        from budget_cli.records.jsonl import Limits
        from budget_cli.scanning.plan import scan_plan
        from budget_cli.scanning.responses import TermsPlan, responses
        from budget_cli.scanning.terms import Trained

        session, scan, asked = self._session, self._scan, self._asked
        require_records(session.found, "responses()")
        self._require_second_reading("responses()")
        if scan.problems:
            raise scan.problems[0]
        budgets = self.budgets[place : place + 1]
        plan = scan_plan(session.fields, session.layout(budgets), Limits(session.max_line_bytes, ALL_REJECTIONS))
        trained = Trained.of(scan.groups.at(place), at.budget_penalty_coef, at.kl_coef, asked.trained)
        with _quietly():
            found = responses(session.found, TermsPlan(plan, trained, scan.responses), scan, asked.reading.jobs)
            return table_of_responses(found)

    def to_summary(self, path: str | os.PathLike[str]) -> None:
        """Write a mergeable summary, the bytes of `budget-cli summarize -o`. Reads the files again.

        Args:
            path: of the file; its end (.gz, .bz2, .xz or .zst) says how it is compressed.

        Raises:
            UsageProblem: it is one of the files of the dump.
            InputProblem, DumpRejected: the files were read before, and cannot be read any more.
            OutputProblem: it cannot be written; then there is no file.
        """
        from budget_cli.cli.summarizing import summarized
        from budget_cli.sources.compression import compressor

        asked, name = self._asked, arguments.path("path", path)
        output.require_writable(name, "path", compresses=True)
        self._require_second_reading("to_summary()")
        compressed = compressor(name)
        budgets = () if asked.trained.has_own_budgets else asked.budgets
        with _quietly():
            session, lines = summarized(
                asked.files,
                budgets,
                asked.trained,
                asked.needs,
                asked.fields,
                asked.allowance,
                asked.reading,
                OutputOptions(output=name),
            )
        if session.reasons() and not self.reasons:
            _refuse(session)
        with output.sink(name) as put:
            for piece in compressed(lines):
                put(piece)

    # ---- coefficients

    def _answer(self, B: int | None, beta: float | None, alpha: float | None) -> LossAnswer:
        at, place = self._at(B, beta, alpha)
        scan, session, asked = self._scan, self._session, self._asked
        by_row = session.means_over_rows(at, None) if asked.aggregate is Aggregate.ROW else None
        groups = scan.groups.at(place)
        loss = compute_loss(groups, at, scan.tally, asked.aggregate.value, by_row=by_row, trained=asked.trained)
        reasons = [*session.reasons(), *session.loss_reasons(loss)]
        kept, shown = scan.rejections, session.rejections()
        return LossAnswer(
            loss, groups, [], reasons, kept, shown, None, None, 17, self._warnings_at(at[1]), trained=asked.trained
        )

    def _warnings_at(self, beta: float) -> list[str]:
        """Return the warnings at this β: a penalty that rewards hold is counted twice only if there is one."""
        return [each for each in self.warnings if beta > 0 or not each.endswith(counted_twice(BETA))]

    def _require_second_reading(self, purpose: str) -> None:
        """Refuse standard input and pipes.

        Raises:
            UsageProblem: one of the sources can be read only once.
        """
        for source in self._session.found:
            if source.size is None:
                raise UsageProblem(f"{source.name}: {purpose} reads it again, and a pipe has nothing left: give a file")

    def _alpha(self) -> float:
        return ALPHA if self._asked.log_probs else 0.0

    def _at(self, B: int | None, beta: float | None, alpha: float | None) -> tuple[Coefficients, int]:
        """Return the coefficients, and the position of the budget in the groups' layout."""
        trained = self._asked.trained
        if B is not None and not arguments.is_whole(B, 0, MOST_TOKENS):
            raise UsageProblem(f"B={B!r}: expected a whole number of tokens, from 0 to {MOST_TOKENS}")
        B = None if B is None else int(B)
        if trained.has_own_budgets:
            if B is not None:
                raise UsageProblem(f"B={B}: records have budgets of their own: give B to scan, for those without")
            beta = BETA if beta is None else beta
        elif B is None and len(self.budgets) > 1:
            raise UsageProblem(f"B: give one of the budgets of the scan: {', '.join(map(str, self.budgets))}")
        elif B is None:
            B = self.budgets[0] if self.budgets else None
        elif B not in self.budgets:
            known = f"it answers for {', '.join(map(str, self.budgets))}" if self.budgets else "it has none"
            raise UsageProblem(f"B={B}: not a budget of the scan: {known}; give scan(…, budgets=[{B}])")
        if beta is None:
            beta = 0.0 if B is None else BETA
        beta = arguments.number("beta", beta)
        alpha = arguments.number("alpha", self._alpha() if alpha is None else alpha)
        if beta and B is None and not trained.has_own_budgets:
            raise UsageProblem(f"beta={beta}: the scan has no budget: give scan(…, budgets=[4096]), or beta=0")
        if alpha and not self._asked.log_probs:
            raise UsageProblem(f"alpha={alpha}: the scan read no log-probs: give scan(…, log_probs=True), or alpha=0")
        return Coefficients(B, beta, alpha), 0 if B is None else self.budgets.index(B)


def scan(
    paths: Paths,
    budgets: Iterable[int] | int = (),
    *,
    objective: str | None = None,
    set: Mapping[str, Any] | None = None,
    aggregate: Unit | None = None,
    log_probs: bool = True,
    field: Mapping[str, str] | None = None,
    reward_weights: Mapping[str, float] | None = None,
    group: Literal["line", "file", "prompt"] | None = None,
    group_size: int | None = None,
    ids_per_file: bool = False,
    records: str | None = None,
    preset: str | None = None,
    presets: Paths = (),
    where: str | None = None,
    keep: Texts = (),
    ignore_unneeded: bool = False,
    tokenizer: str | os.PathLike[str] | None = None,
    include: Texts = (),
    exclude: Texts = (),
    max_line_bytes: int = ReadingOptions.max_line_bytes,
    jobs: int = 1,
    max_errors: int | str = 0,
    allow_truncated_tail: bool = False,
    allow_empty: bool = False,
    strict: bool = True,
) -> Dump:
    """Read a rollout dump once, for every β and α at these budgets.

    The options have the names of those of the command line, and mean the same. No settings file and no environment
    variable is read, and nothing is printed: what the commands would say is in `Dump.notes`.

    Args:
        paths: files, folders or URLs; JSON lines, JSON, Parquet, CSV or summaries, compressed or not.
        budgets: token budgets B that the result is to answer for; none: only β = 0.
        objective: name of the objective that was trained, or FILE.toml[:NAME].
        set: keys of the objective, such as `{"penalty": "capped", "cap": 512}`.
        aggregate: what is averaged over; that of the objective, or responses, if left out.
        log_probs: False if records need no log-probs; then α is 0.
        field: places of fields by name, such as `{"reward": "score", "prompt_id": "meta.uid"}`.
        reward_weights: weights of the fields whose sum is the reward, by name.
        group: what makes a prompt in place of its id; `prompt` joins the steps.
        group_size: number of lines that make a prompt, in the order of a file.
        ids_per_file: True if prompt ids count within their file.
        records: where the records are in a document or a line, such as `results[]`.
        preset: name of the preset; found if left out.
        presets: files of presets of your own.
        where: a path or an expression; samples for which it is not true are left out and counted.
        keep: reasons for which the preset leaves samples out, which are kept.
        ignore_unneeded: True to accept what is wrong with fields that the coefficients do not need.
        tokenizer: a tokenizer.json that counts the lengths.
        include: patterns of the files of a folder to read.
        exclude: patterns of the files of a folder not to read.
        max_line_bytes: the longest line that is read.
        jobs: number of processes; on Linux they are forked, which other threads of yours may not survive.
        max_errors: number of rejected records that is tolerated, or a percentage such as "0.1%".
        allow_truncated_tail: True to tolerate a last line that was cut off.
        allow_empty: True to tolerate a dump without a record.
        strict: False to get a dump whose verdict is fail, too, with what could be read of it.

    Raises:
        UsageProblem: an option is invalid, or the fields cannot be found.
        InputProblem: a file cannot be read to its end.
        DumpRejected: more records were rejected than allowed, or there is none.
        OutputProblem, WorkerDied: as the commands.
    """
    arguments.choice("aggregate", aggregate, [each.value for each in Aggregate])
    arguments.choice("group", group, [each.value for each in GroupBy])
    if isinstance(objective, os.PathLike):
        objective = arguments.path("objective", objective)
    trained = objectives.named(
        arguments.text("objective", objective), arguments.pairs("set", set, "{'penalty': 'capped', 'cap': 512}")
    )
    unit = Aggregate(trained.aggregate if aggregate is None else aggregate)
    if unit is Aggregate.CONSTANT and trained.constant is None:
        raise UsageProblem("aggregate=constant: give the tokens that sums are divided by: set={'constant': 8192}")
    trained = trained._replace(aggregate=unit.value)
    wanted = arguments.wholes("budgets", budgets, MOST_TOKENS)
    if trained.has_own_budgets:
        if len(wanted) > 1:
            raise UsageProblem("budgets: records have budgets of their own: give one B, for those without")
        trained, wanted = trained._replace(otherwise=next(iter(wanted), None)), ()
    places = arguments.pairs("field", field, "{'reward': 'score'}")
    for name, place in places.items():
        if not isinstance(place, str):
            raise UsageProblem(f"field: expected the place of {name} as a text, found {place!r}")
    weights = arguments.pairs("reward_weights", reward_weights, "{'accuracy': 1, 'format': 0.5}")
    asked = Asked(
        arguments.paths("paths", paths, least=1),
        wanted,
        trained,
        unit,
        log_probs,
        FieldOptions(
            field=[f"{name}={place}" for name, place in places.items()],
            reward_weights=[f"{name}={weight!r}" for name, weight in weights.items()],
            group=None if group is None else GroupBy(group),
            group_size=None if group_size is None else arguments.whole("group_size", group_size, 1, MOST_TOKENS),
            ids_per_file=ids_per_file,
            records=arguments.text("records", records),
            preset=arguments.text("preset", preset),
            presets=arguments.paths("presets", presets),
            where=arguments.text("where", where),
            keep=arguments.texts("keep", keep),
            ignore_unneeded=ignore_unneeded,
            tokenizer=None if tokenizer is None else arguments.path("tokenizer", tokenizer),
        ),
        AllowanceOptions(
            max_errors=str(max_errors), allow_truncated_tail=allow_truncated_tail, allow_empty=allow_empty
        ),
        ReadingOptions(
            include=arguments.texts("include", include),
            exclude=arguments.texts("exclude", exclude),
            max_line_bytes=arguments.whole("max_line_bytes", max_line_bytes, 1, LONGEST_LINE),
            jobs=arguments.whole("jobs", jobs, 1, MOST_JOBS),
        ),
    )
    dump = Dump(asked)
    if strict and dump.reasons:
        _refuse(dump._session)
    return dump


@contextlib.contextmanager
def _quietly() -> Iterator[list[str]]:
    """Keep what is said in a list, and leave no file open."""
    try:
        with console.heard() as said:
            yield said
    finally:
        formats.forget_files()


def _refuse(session: Session) -> None:
    """Raise what is wrong with a dump whose verdict is fail."""
    if session.scanned.problems:
        raise session.scanned.problems[0]
    first = f"; first: {session.scanned.rejections[0]}" if session.scanned.rejections else ""
    raise DumpRejected(
        f"{'; '.join(each.text for each in session.reasons())}{first} (strict=False gives what could be read)"
    )


def _silent() -> OutputOptions:
    return OutputOptions()
