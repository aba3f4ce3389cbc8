"""One run of a command over one dump: find the files, place the fields, scan, judge, report, exit.

A command makes a `Session` from its options, which are parsed before anything is read, and then calls these steps in
order, writing its result before the last. What differs between commands is in the commands.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from os.path import normpath
from typing import TYPE_CHECKING, Any

from budget_cli import native
from budget_cli.analysis import gates, verdict
from budget_cli.analysis.loss import Coefficients, Loss, compute_loss, length_source, number_names
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.verdict import Allowance, Reason
from budget_cli.cli import console, inputs
from budget_cli.cli.bundles import (
    AllowanceOptions,
    CheckScreenOptions,
    FieldOptions,
    LocalReadingOptions,
    OutputOptions,
    ReadingOptions,
    ScreenOptions,
    VerdictOptions,
)
from budget_cli.cli.options import Aggregate, Engine
from budget_cli.cli.placement import LABEL, Placement
from budget_cli.cli.progress import progress_over
from budget_cli.errors import Exit, UsageProblem
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.groups.penalty import hinges_of, penalised
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import FIRST_TEN, LISTED, Label, Rejection, RejectionLimit
from budget_cli.records.doubts import FirstIds
from budget_cli.records.first_lengths import FirstLengths
from budget_cli.records.jsonl import Limits, in_python
from budget_cli.scanning import scan
from budget_cli.scanning.parts import without_step
from budget_cli.scanning.plan import scan_plan
from budget_cli.scanning.state import LINES_PER_SOURCE, Scan
from budget_cli.schema.fields import Fields, as_expression
from budget_cli.schema.proposals import as_field, by_prompt_text
from budget_cli.sources.local import Kind, Source

if TYPE_CHECKING:
    from budget_cli.analysis.checks.findings import CheckInput
    from budget_cli.analysis.stored_advantages import StoredAdvantages
    from budget_cli.evidence.observations import Observations
    from budget_cli.evidence.responses import ObservationSpec

MOST_JOBS = 1024  # workers of this machine; a cluster may have more
WORTH_A_COMPILER = 1 << 28  # bytes; smaller input is read quickly enough without one
FEW_REWARDS = 4  # distinct ones, below which no penalty could be told
TABLES = {Kind.PARQUET, Kind.CSV, Kind.TSV}
COLUMNS_ONCE = "Parquet, CSV and TSV have each column once, so --duplicate-keys does not apply to them"
TOO_LARGE = Reason("result", "the numbers are too large: their squares are beyond the range of a double")


@dataclass(eq=False, repr=False)
class ScanSpec:
    """What a command needs from a scan, apart from the budgets."""

    by: str = ""  # name of the label of --by, from `Placement.label`
    hold: bool = False  # True to hold all responses, for `at_budgets`
    observe: "ObservationSpec | None" = None  # for the checks
    observe_labels: bool = False  # True to observe the responses of each label apart, too
    keep: RejectionLimit = FIRST_TEN
    verbose_keeps_all: bool = True
    duplicate_keys: bool = False
    part_rows: bool = False  # True to note what a second pass over a few prompts has to read
    keep_responses: bool = False  # those that several rows make up
    sources_apart: bool = False  # for a summary
    if_penalised: str = ""  # what a note says if the rewards hold a penalty already; "": do not look


class Session:
    """A dump, and the options that apply to it."""

    def __init__(
        self,
        fields: FieldOptions,
        verdict_options: VerdictOptions | AllowanceOptions,
        reading: ReadingOptions | LocalReadingOptions,
        output: OutputOptions | ScreenOptions | CheckScreenOptions,
        needs: Fields,
        trained: Objective = DEFAULT,
        result: type = Loss,
    ) -> None:
        """Parse the options.

        Args:
            fields: where to find the fields.
            verdict_options: the gates and the tolerated defects.
            reading: how to read the input.
            output: where to write the result.
            needs: the canonical fields, with those that the coefficients need.
            trained: the objective.
            result: the named tuple whose numbers the gates can name.

        Raises:
            UsageProblem: an option is invalid.
        """
        _require_few(reading)
        expressions = getattr(verdict_options, "fail_if", None) or []
        self.objective = trained
        needs = dataclasses.replace(needs, without_length=trained.without_length)
        self.placement = Placement(fields, needs)
        self.placement.read_budgets(trained.budget_field, trained.budget_by)
        self.placement.longest = reading.max_line_bytes
        names = number_names(result)
        if any("left_out." in expression for expression in expressions):
            sides = [""] if result is Loss else [".base", ".new", ".delta"]
            names += [f"left_out.{reason}{side}" for reason in self.placement.reasons for side in sides]
        self.gates = [gates.parse(expression, names) for expression in expressions]
        rejected, in_percent = verdict.parse_max_errors(verdict_options.max_errors)
        self.allowance = Allowance(
            rejected, in_percent, verdict_options.allow_truncated_tail, verdict_options.allow_empty
        )
        self.fields = needs  # after `place`: with their places in this dump
        self.found: list[Source] = []
        self._reading, self._output = reading, output
        self.scanned: Scan  # once `scan` has been called
        self._found_out: list[str] = []  # warnings from the whole dump

    @property
    def max_line_bytes(self) -> int:
        """The longest line that is read."""
        return self._reading.max_line_bytes

    # ---- find, place

    def find(self, names: Sequence[str] | None, rejects: str | None = None) -> None:
        """Find the sources. Raises as `inputs.find`."""
        outputs = {"-o": self._output.output, "--rejects": rejects}
        self.found = inputs.find(names, outputs, self._reading, self._output.quiet)

    def place(self, optional: Collection[str] = (), in_full: bool = False) -> None:
        """Place the fields. Raises as `Placement.in_dump`, which explains the arguments."""
        self.fields = self.placement.in_dump(self.found, self._output.quiet, optional, in_full)

    @cached_property  # a stream gives its beginning only until it is scanned
    def summary_headers(self) -> dict[str, dict[str, Any]]:
        """The header of each summary among the sources, by its name."""
        return inputs.summary_headers(self.found)

    @property
    def summary_budgets(self) -> tuple[int, ...] | None:
        """The budgets that all summaries among the sources answer for; None if there is no summary."""
        headers = self.summary_headers
        if not headers:
            return None
        return tuple(sorted(set.intersection(*(set(header["budgets"]) for header in headers.values()))))

    def summary_settings(self) -> dict[str, Any]:
        """Return the settings of a summary of the sources, some of which may be summaries themselves."""
        from budget_cli.scanning import summary

        headers = self.summary_headers
        settings = summary.settings_of(self.fields, self.placement.applied)
        if headers:
            settings = summary.merged_settings(headers, settings if len(headers) < len(self.found) else None)
        # those about prompts that recur are found again, by whoever reads the summary
        warnings = [*self._found_at_start, *self._found_out]
        return {**settings, "warnings": warnings} if warnings else settings

    def why_unchecked(self, spec: "ObservationSpec") -> str | None:
        """Return why the summaries among the sources cannot be checked; None if they can."""
        headers = self.summary_headers
        if not headers:
            return None
        from budget_cli.scanning import summary

        return summary.missing_evidence(headers, spec)

    # ---- scan

    def scan(self, budgets: Iterable[int], spec: ScanSpec | None = None) -> Scan:
        """Read all sources to their end.

        The groups have the penalty of the objective at these budgets, but for a summary.

        Raises:
            UsageProblem: summaries among them cannot be merged, or do not answer for these budgets.
        """
        spec, budgets = spec or ScanSpec(), tuple(budgets)
        layout = self.layout(budgets)
        observe = self._require_mergeable(layout, spec, budgets)
        limits = Limits(
            self._reading.max_line_bytes,
            LISTED if self._output.verbose and spec.verbose_keeps_all else spec.keep,
        )
        plan = scan_plan(
            self.fields,
            layout,
            limits,
            by=spec.by,
            hold=spec.hold,
            observe=observe,
            observe_labels=bool(spec.by) and spec.observe_labels,
            responses=spec.keep_responses,
            part_rows=spec.part_rows,
            sources_apart=spec.sources_apart,
            reward_sample=bool(spec.if_penalised),
        )
        on_cluster = isinstance(self._reading, ReadingOptions) and self._reading.engine is Engine.RAY
        named = tuple(name for name in self.fields.extras if name in self.placement.named_extras)
        plan = plan._replace(look_for_duplicate_keys=spec.duplicate_keys, named=named)
        with progress_over(self.found, self._output.quiet) as update:
            if on_cluster:
                from budget_cli.scanning import ray  # an extra

                self.scanned = ray.scan(self.found, plan, self._reading.jobs, update)
            else:
                self.scanned = scan.scan(self.found, plan, self._reading.jobs, update)
        above = plan.keep.layout.correct_above
        if above != Layout().correct_above or any(gate.path.startswith("learnability.") for gate in self.gates):
            self._say_what_is_not_known(above)
        if spec.duplicate_keys:
            kinds = {source.kind for source in self.found}
            self.scanned.notes += [COLUMNS_ONCE] if kinds & TABLES and kinds - TABLES else []
        if self.scanned.bytes >= WORTH_A_COMPILER and not native.AVAILABLE and not on_cluster:
            self.scanned.notes.append(
                "read without the compiled reader, which is many times faster: budget-cli was installed without a C"
                " compiler"
            )
        of_lines = sum(source.kind is Kind.RECORDS for source in self.found)
        if of_lines and self.scanned.bytes >= WORTH_A_COMPILER and (places := in_python(self.fields)):
            self.scanned.notes.append(
                "computed in Python, about 5 µs for each record and place, as the compiled reader does not know all of"
                f" it: {', '.join(places)}"
            )
        result = self._named(self.scanned, spec.if_penalised)
        if not spec.sources_apart:
            self._penalise(result, budgets)
        return result

    def layout(self, budgets: tuple[int, ...]) -> Layout:
        """Return the layout of a scan from which the objective follows at these budgets."""
        return hinges_of(self.objective, budgets)

    def at_budgets(self, groups: Groups, budgets: tuple[int, ...]) -> Groups:
        """Return groups of the scan at other budgets, if it held their responses."""
        return (
            groups if groups.held is None else penalised(groups.held_in(self.layout(budgets)), self.objective, budgets)
        )

    def _penalise(self, result: Scan, budgets: tuple[int, ...]) -> None:
        """Replace the excess over each budget by the penalty of the objective."""
        result.groups = penalised(result.groups, self.objective, budgets)
        for label, groups in result.by.items():
            result.by[label] = penalised(groups, self.objective, budgets)

    def _named(self, result: Scan, if_penalised: str) -> Scan:
        """Drop the step from the prompt ids if there is only one step; add notes on what the numbers do not show."""
        headers = self.summary_headers
        self._found_out += dict.fromkeys(chain.from_iterable(each.get("warnings", ()) for each in headers.values()))
        if if_penalised and result.reward_sample.has_more_rewards(FEW_REWARDS):
            from budget_cli.analysis.penalty_in_reward import fit_penalty

            penalty = fit_penalty(result.reward_sample)
            if penalty is not None:
                self._found_out.append(f"the rewards already hold a penalty of {penalty}: {if_penalised}")
        self.placement.require_named(result.has_named)
        self._count_budgets(result)
        responses = result.without_rollout
        if LABEL in self.fields.extras and not result.observed:
            _join_labels(result)
        if responses:
            result.notes.append(f"{counted(responses, 'record')} without a rollout_id: each is a response of its own")
        if result.copied_rows:
            self._found_out.append(
                f"{result.copied_rows:,} of {counted(result.tally.used, 'record')} repeat an earlier one, of the same"
                " rollout and turn and with the same numbers: each counts once"
            )
        if result.cut_rollouts:
            self._found_out.append(
                f"{counted(result.cut_rollouts, 'rollout')} of an earlier file came back in a later one, and counted as"
                " another response there: pipe the files as one (cat) if its rows are cut over files, or give the file"
                " that was written twice once"
            )
        if len(result.sources) > 1:
            self._find_cut_groups(result, headers)
        if len(result.steps) == 1 and not result.source_results:
            (step,) = result.steps
            result.groups.rename(lambda key: without_step(key, step))
            for columns in result.responses.values():
                columns.keys = [without_step(key, step) for key in columns.keys]
            self.fields = dataclasses.replace(self.fields, prompts_of_steps=False)
        return result

    def _count_budgets(self, result: Scan) -> None:
        """Say how many responses have no budget of their own, so that B holds for them.

        Raises:
            UsageProblem: none has one.
        """
        parts = [result.groups, *(one.groups for one in result.source_results)]
        without, responses = (sum(getattr(part, name) for part in parts) for name in ("without_budget", "responses"))
        if not without:
            return
        place = self.objective.budget_field or self.objective.budget_by
        what = "a number" if self.objective.budget_field else "a label with a budget"
        if without == responses:
            raise UsageProblem(
                f"--set {'budget_field' if self.objective.budget_field else 'budget_by'}={place}: no record has {what}"
                " there: correct it, or leave it out, as -B alone is the budget of all"
            )
        self._found_out.append(
            f"{without:,} of {counted(responses, 'response')} without {what} in {place}: their budget is"
            f" {self.objective.otherwise:,} tokens (-B)"
        )

    def _find_cut_groups(self, result: Scan, headers: Mapping[str, Mapping[str, Any]]) -> None:
        """Warn if a preset takes files for steps of their own, and they are shards of one."""
        prefix = self.fields.id_file_prefix
        if self.placement.ids_per_file or self.fields.prompts_of_steps or (prefix is None and not headers):
            return
        options = [header.get("options", {}) for header in headers.values()]
        if any("preset" not in each or "ids_per_file" in each for each in options):
            return
        from budget_cli.analysis.cut_groups import cut_groups

        whole = [(each.groups.keys(), each.groups.column("n")) for each in result.source_results]
        parts = whole or [(result.groups.keys(), result.groups.column("n"))]
        cut = cut_groups(parts, {name.removeprefix(prefix or "") for name in result.sources})
        if cut is None:
            return
        place = next((each["fields"]["prompt_id"] for each in headers.values()), None)
        of_ids = as_field("prompt_id", place or as_expression(self.fields.paths["prompt_id"]))
        warning = (
            f"{counted(cut.prompts, 'prompt')} {'has' if cut.prompts == 1 else 'have'} responses in several files,"
            f" together {cut.size:,} as other prompts have, and ids count within their file: give {of_ids} (to"
            " summarize, of summaries) if the files are shards of one step"
        )
        if warning not in self._found_out:
            self._found_out.append(warning)

    @property
    def recurring(self) -> int:
        """Prompts after the first file that recur at full size from an earlier one; 0 unless that is most of them."""
        scan = self.scanned
        few = scan.recurring * 2 <= scan.later_prompts or self.placement.joins_steps
        return 0 if few else scan.recurring

    @property
    def warnings(self) -> list[str]:
        """Why the numbers may not be the trainer's."""
        return [*self._found_at_start, *self._found_out, *self._recurrence()]

    @property
    def _found_at_start(self) -> list[str]:
        return [*map(str, self.placement.doubts), *self.placement.length_warnings]

    def _recurrence(self) -> Iterator[str]:
        if self.recurring:
            yield (
                f"{self.recurring:,} of the {self.scanned.later_prompts:,} prompts after the first file recur from an"
                " earlier one, with the same number of responses: give --ids-per-file (to summarize, of summaries) if"
                " each file is a step of its own, or --group prompt if they belong together"
            )

    def _say_what_is_not_known(self, above: float) -> None:
        """Say why summaries do not know which responses are right, above this reward."""
        if self.summary_headers:
            from budget_cli.scanning import summary

            reason = summary.missing_right(self.summary_headers, above)
            self.scanned.notes += [] if reason is None else [reason]

    def _require_mergeable(self, layout: Layout, spec: ScanSpec, budgets: tuple[int, ...]) -> "ObservationSpec | None":
        """Refuse summaries that cannot be merged; return what can be observed along with them."""
        headers = self.summary_headers
        if not headers:
            return spec.observe
        from budget_cli.scanning import summary

        if spec.by:
            by, name = self.placement.labelled_by, next(iter(headers))
            raise UsageProblem(f"--by {by}: {name} is a summary, which has no individual records")
        _require_once(self.found, headers)
        summary.require_one_tokenizer(headers, self.fields)
        given = self.placement
        summary.require_as_given(
            headers, given.places, given.fields.group, given.joins_steps, given.where, given.options
        )
        summary.require_alike(headers, self.fields, layout, len(headers) < len(self.found), given.applied, budgets)
        if self.objective.needs_solve_rate and not spec.sources_apart:
            reason = summary.missing_right(headers, layout.correct_above)
            if reason is not None:
                raise UsageProblem(reason)
        if spec.observe is None or spec.sources_apart:
            return spec.observe
        reason = summary.missing_evidence(headers, spec.observe)
        if reason is not None:
            raise UsageProblem(reason)
        return spec.observe._replace(per_prompt=False)

    def means_over_rows(
        self, at: Coefficients, by: str | None
    ) -> tuple[float | None, float | None, float | None] | None:
        """The loss, the mean A² and their difference over rows; None if each response is one row.

        Raises:
            UsageProblem: there are only sums of the responses.
        """
        scan = self.scanned
        if scan.groups.row_count == scan.groups.responses:
            return None
        if by is not None or self.summary_headers:
            holder, instead = "a summary holds", "give the records themselves"
            if by is not None:
                holder, instead = "the rows of --by keep", "select the records of one row by --where instead"
            raise UsageProblem(f"--aggregate row weighs single responses, and {holder} only their sums: {instead}")
        from budget_cli.scanning.terms import Trained, means_over_rows

        trained = Trained.of(scan.groups, at.budget_penalty_coef, at.kl_coef, self.objective)
        return means_over_rows(scan.responses.values(), trained)

    # ---- judge

    @property
    def problems(self) -> list[str]:
        """The sources that could not be read to their end, each with the reason."""
        return [str(problem) for problem in self.scanned.problems]

    def reasons(self) -> list[Reason]:
        """Return why the verdict fails, apart from gates and findings."""
        return verdict.reasons_to_fail(self.scanned.tally, self.scanned.rejections, self.problems, self.allowance)

    def no_label(self, by: str | None) -> list[Reason]:
        """Return why `--by` makes the verdict fail: no record has its field."""
        missing = by is not None and self.scanned.groups.responses and set(self.scanned.by) == {None}
        return [Reason("result", f"--by {by}: no record has this field")] if missing else []

    def loss_reasons(self, loss: Loss, by: str | None = None) -> list[Reason]:
        """Return why a loss makes the verdict fail: no record has the field of `--by`, or the numbers overflow."""
        too_large = loss.loss is None and loss.responses
        return [*self.no_label(by), *([TOO_LARGE] if too_large else [])]

    def rejections(self, most: int | None = None) -> list[Rejection]:
        """Return the first rejections to show; none if a single reason covers all of them."""
        scan = self.scanned
        return scan.rejections[:most] if verdict.missing_everywhere(scan.tally, scan.rejections) is None else []

    def check_input(
        self,
        loss: Loss,
        groups: Groups,
        thresholds: Mapping[str, float],
        texts: bool | None = None,
        keys: bool = False,
    ) -> "CheckInput":
        """Return the input of the checks.

        Args:
            loss: the loss of the groups.
            groups: the groups of the scan, with only the budget of the loss.
            thresholds: the thresholds of all checks.
            texts: True if the records have texts, False if not; None without --text.
            keys: True if duplicate keys are to be looked for.
        """
        from budget_cli.analysis.checks.findings import CheckInput  # 4 ms, and only for check and report
        from budget_cli.analysis.penalty_in_reward import fit_penalty

        scan = self.scanned
        assert scan.observations is not None
        return CheckInput(
            loss,
            groups,
            scan.observations.counters,
            scan.observations.advantages,
            _whose_advantages(scan.observations, groups),
            self._without_advantages(),
            scan.observations.per_prompt,
            scan.tally,
            scan.rejections,
            scan.left_out,
            scan.sources,
            scan.first_rows,
            thresholds,
            texts,
            LINES_PER_SOURCE,
            fit_penalty(scan.observations.counters.reward_sample, thresholds["penalty-in-reward.values"]),
            self._why_keys_are_not_compared(keys),
            "" if self.fields.group else by_prompt_text(self.fields),
            self.placement.doubts,
            self.recurring,
            scan.later_prompts,
            FirstLengths() if scan.observations.per_prompt is None else self.placement.first_lengths,
            FirstIds() if scan.observations.per_prompt is None else self.placement.first_ids,
            scan.steps,
            scan.paths,
            self.placement.sampler_key,
            trained=self.objective,
        )

    def check_inputs_by_label(self, whole: "CheckInput", in_order: bool) -> "Iterator[tuple[Label, CheckInput]]":
        """Yield the input of the checks for the responses with each label.

        Args:
            whole: that of all responses.
            in_order: True to leave the labels in the order of the input, as files are.
        """
        from budget_cli.analysis.breakdown import ordered
        from budget_cli.analysis.penalty_in_reward import fit_penalty

        scan = self.scanned
        is_cut = sum(map(len, scan.by.values())) > len(whole.groups)
        for label in ordered(scan.observed, in_order):
            observed = scan.observed[label]
            counters, per_prompt = observed.counters, observed.per_prompt
            loss = compute_loss(scan.by[label], whole.loss.coefficients, scan.tallies[label], trained=self.objective)
            yield (
                label,
                whole._replace(
                    loss=loss,
                    groups=scan.by[label],
                    counters=counters,
                    advantages=observed.advantages,
                    stored=None if is_cut else _whose_advantages(observed, scan.by[label], whole.stored),
                    per_prompt=per_prompt,
                    tally=scan.tallies[label],
                    rejections=(),
                    left_out=(),
                    first_rows=scan.first_rows_by[label],
                    penalty=fit_penalty(counters.reward_sample, whole.threshold("penalty-in-reward.values")),
                    doubts=(),
                    recurring=0,
                    later_prompts=0,
                    first_lengths=FirstLengths(),
                    first_ids=FirstIds(),
                    steps=(),
                    is_row=True,
                    is_cut=is_cut,
                ),
            )

    def _without_advantages(self) -> str:
        """Return which summary does not say what advantages were stored; "" if all do."""
        observations = self.scanned.observations
        if observations is None or observations.advantages.is_known:
            return ""
        from budget_cli.scanning import summary

        return summary.without_advantages(self.summary_headers)

    def _why_keys_are_not_compared(self, wanted: bool) -> str:
        """Return why duplicate keys are not looked for; nothing if they are."""
        if not wanted:
            return "keys are compared only with --duplicate-keys"
        return COLUMNS_ONCE if self.found and all(source.kind in TABLES for source in self.found) else ""

    # ---- report, exit

    def finish(self, reasons: Sequence[Reason], on_screen: bool, most: int | None = None) -> Exit:
        """Report on standard error what went wrong, except for what the result shows, and return the exit code.

        Args:
            reasons: why the verdict fails.
            on_screen: True if the result itself shows what went wrong.
            most: maximum number of rejections to list; None for all that were kept.
        """
        scan, quiet = self.scanned, self._output.quiet
        if not quiet:
            warnings = *self._found_out, *self._recurrence()
            for note in (*scan.notes, *(f"warning: {warning}" for warning in warnings)):
                console.say(note)
            source = length_source(scan.tally)
            if source.origins.tokenizer and not on_screen:
                where = self.found[0].name + (f" and {len(self.found) - 1} more" if len(self.found) > 1 else "")
                console.say(f"{where}: lengths are from {source.sentence}")
        if not on_screen or not console.shows_result():
            for problem in self.problems:
                console.say(problem)
        code = Exit.IO if scan.problems else Exit.FAIL if reasons else Exit.PASS
        if on_screen:
            return code
        rejections = self.rejections(most)
        if not quiet:
            for rejection in rejections:
                console.say(str(rejection))
            more = scan.tally.rejected - len(rejections)
            if rejections and more > 0:
                from budget_cli.rendering.text import how_to_list

                console.say(f"and {more:,} more rejected records{how_to_list(len(rejections), scan.tally.rejected)}")
        say_failures(reasons)
        return code


def _whose_advantages(
    observed: "Observations", groups: Groups, whole: "StoredAdvantages | None" = None
) -> "StoredAdvantages | None":
    """Return whose the stored advantages are; in a part of a dump, whether they hold the penalty of the whole."""
    if not observed.advantages:
        return None
    from budget_cli.analysis.stored_advantages import identify  # which only dumps with advantages need

    penalties = None if whole is None else [whole.penalty] if whole.penalty is not None else []
    return identify(observed.advantages, groups, penalties)


def _join_labels(result: Scan) -> None:
    """Put the records that write a number as 1 in the row of those that write it as 1.0."""
    for label in [one for one in result.by if isinstance(one, int) and f"{one}.0" in result.by]:
        result.by[f"{label}.0"].merge(result.by.pop(label))
        result.tallies[f"{label}.0"].merge(result.tallies.pop(label))


def _require_few(reading: ReadingOptions | LocalReadingOptions) -> None:
    """Refuse more workers than one machine can have use for.

    Raises:
        UsageProblem: there are.
    """
    remote = isinstance(reading, ReadingOptions) and reading.engine is Engine.RAY
    if not remote and (reading.jobs or 1) > MOST_JOBS:
        raise UsageProblem(f"--jobs {reading.jobs}: expected at most {MOST_JOBS} on one machine")


def counted_twice(budget_penalty_coef: float) -> str:
    """Return what to say at this β if the rewards hold a penalty already."""
    return "it is counted twice here; --beta 0 gives the loss of these rewards" if budget_penalty_coef > 0 else ""


def say_failures(reasons: Iterable[Reason]) -> None:
    """Report why the verdict fails; incomplete sources have been reported before."""
    for reason in reasons:
        if reason.kind != "incomplete":
            console.say(f"fail: {reason.text}")


def observation_spec(
    budgets: tuple[int, ...], thresholds: Mapping[str, float], beta: float = 0.0, per_prompt: bool = True
) -> "ObservationSpec":
    """Return what to observe while records are read, for the checks with these thresholds."""
    from budget_cli.evidence.responses import THRESHOLDS, ObservationSpec

    used = {key: thresholds[name] for name, key in THRESHOLDS.items()}
    return ObservationSpec(budgets, used["positive"], used["outlier"], per_prompt, beta)


def require_no_rows(aggregate: Aggregate, command: str, instead: str) -> None:
    """Refuse to average over rows where only sums of the responses are kept.

    Args:
        aggregate: what is asked for.
        command: the command that keeps only sums.
        instead: what `budget-cli loss --aggregate row` can do in its place.

    Raises:
        UsageProblem: that is asked for.
    """
    if aggregate not in (Aggregate.RESPONSE, Aggregate.PROMPT):
        raise UsageProblem(
            f"--aggregate {aggregate.value} weighs single responses, and {command} keeps only their sums:"
            f" budget-cli loss --aggregate {aggregate.value} {instead}"
        )


def needed_fields(
    budget_penalty_coef: bool | float,
    kl_coef: bool | float,
    extras: tuple[str, ...] = (),
    compares_tokens: bool = False,
) -> Fields:
    """Return the canonical fields, with those that nonzero coefficients need, and what else to read of each response.

    Args:
        budget_penalty_coef: β, reward per token.
        kl_coef: α.
        extras: the optional fields.
        compares_tokens: True to compare the two log-probs of every token, for the checks.
    """
    return Fields(
        needs_length=bool(budget_penalty_coef),
        needs_log_probs=bool(kl_coef),
        extras=extras,
        compares_tokens=compares_tokens,
    )


def _require_once(found: Sequence[Source], headers: Mapping[str, Any]) -> None:
    """Refuse a source that is also part of a summary, as its records would count twice."""
    read = {normpath(source.name): source.name for source in found if source.name not in headers}
    for name_of_summary, header in headers.items():
        for name in header["sources"]:
            if normpath(name) in read:
                raise UsageProblem(
                    f"{read[normpath(name)]}: is also part of the summary {name_of_summary}: give only one of them"
                )
