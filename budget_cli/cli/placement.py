"""Options on fields, and the beginning of a dump → the places of its fields, and what its first records contradict."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from budget_cli.cli import console
from budget_cli.cli.bundles import FieldOptions
from budget_cli.cli.options import GroupBy
from budget_cli.errors import UsageProblem, nearest
from budget_cli.records import detection
from budget_cli.records.doubts import OTHER_TEXTS, STEPS, Doubt, FirstIds, doubts, first_ids, ids_recur, unread_step
from budget_cli.records.first_lengths import FirstLengths, first_lengths, other_text, wrong_unit
from budget_cli.schema import presets
from budget_cli.schema.fields import (
    EXTRAS,
    KINDS,
    SAMPLER,
    UNUSABLE,
    WHERE,
    Fields,
    as_expression,
    parse_mappings,
    reward_names,
    singular,
    weights_expression,
)
from budget_cli.schema.lookup import TABLE, root_keys
from budget_cli.schema.parsing import parse_place, place_text
from budget_cli.schema.paths import Place
from budget_cli.schema.proposals import quoted
from budget_cli.sources.local import Kind, Source

if TYPE_CHECKING:
    from budget_cli.records.detection import Sniffed
    from budget_cli.schema.presets import Preset

ROLLOUT = ("rollout_id", "turn")
EXPECTED = {  # by the kind of an extra
    "number": "a number",
    "label": "a string or an integer",
    "text": "a text",
    "log_prob": "a number or a list of numbers",
}
DOUBTED = ("prompt_text", "advantage")  # what may contradict the prompt ids
LOOKED_AT = (*DOUBTED, "response_text")  # of the first samples, also where the scan does not read it
TELLING = OTHER_TEXTS | STEPS  # keys of records with canonical names that may contradict ids, too
LABEL = "by"  # the extra field that --by places
OF_PROMPT = re.compile("id$|uid|prompt|question|problem|task|query|input|group", re.IGNORECASE)  # in the key of an id


class Placement:
    """The user's options on fields, parsed once, and then the places of the fields in a given dump."""

    def __init__(self, options: FieldOptions, fields: Fields) -> None:
        """Parse the options.

        Args:
            options: the options of the command line.
            fields: the canonical fields, with those that the coefficients need and the extras to read.

        Raises:
            UsageProblem: an option is invalid, or two contradict each other.
        """
        mappings = list(options.field or [])
        names = {mapping.partition("=")[0] for mapping in mappings}
        if options.reward_weights:
            if "reward" in names:
                raise UsageProblem("--reward-weights and --field reward=… both define the reward: give one of them")
            mappings += weights_expression(options.reward_weights)
        self.joins_steps = options.group is GroupBy.PROMPT
        self.ids_per_file = options.ids_per_file
        by_lines = options.group in (GroupBy.LINE, GroupBy.FILE) or options.group_size
        if options.group in (GroupBy.LINE, GroupBy.FILE):
            fields = replace(fields, group=options.group.value)
        if options.tokenizer is not None:
            from budget_cli.records import tokenizer  # and tokenizers, which is an extra

            fields = replace(fields, tokenizer=tokenizer.load(options.tokenizer))
        if options.group_size:
            fields = replace(fields, group=f"{options.group_size} lines", group_size=options.group_size)
        given = {
            "--group": options.group is not None,
            "--group-size": options.group_size is not None,
            "--ids-per-file": options.ids_per_file,
            "--field prompt_id=…": "prompt_id" in names and by_lines,
        }
        both = [name for name, there in given.items() if there]
        if len(both) > 1:
            raise UsageProblem(f"{both[0]} and {both[1]} both define the prompt: give one of them")
        if options.where is not None:
            try:
                fields = replace(fields, leave_out=((WHERE, parse_place(options.where, is_condition=True)),))
            except UsageProblem as problem:
                raise UsageProblem(f"--where: {problem}") from None
        self.records = options.records or ""
        if self.records:
            from budget_cli.schema import containers  # which few dumps need

            if containers.parse(self.records) is None:
                raise UsageProblem(f"--records {self.records}: expected a place such as results[], eval.*[] or [][]")
        self.labelled_by = ""  # what --by gives
        self.longest = 0  # bytes of a document that are read, if more than usual
        self.places: dict[str, Place] = parse_mappings(mappings)
        # the canonical fields with the user's mappings, without a preset
        self.fields = replace(fields, ignore_unneeded=options.ignore_unneeded).with_places(self.places)
        self.where, self.keep = options.where, tuple(options.keep or ())
        self._weights = reward_names(options.reward_weights or [])
        self._null: set[str] = set()  # optional fields that are null in some of the first records
        # what the first records say, once the dump is known
        self.doubts: list[Doubt] = []  # against the prompt ids
        self.length_warnings: list[str] = []
        self.first_lengths = FirstLengths()  # the same, if optional fields are read
        self.first_ids = FirstIds()  # the same
        self.sampler_key = ""  # of the first records, named like the log-probs of a sampler and not read
        self._preset, self._preset_files = options.preset, options.presets or []
        self._applied = presets.CANONICAL  # name of the preset, once the dump is known
        if self._preset_files:
            self.presets()  # whatever else is read, a file that is no presets is refused

    @property
    def options(self) -> dict[str, Any]:
        """The options that are given, as in the header of a summary; without those that have a key of their own."""
        given = {
            "preset": self._preset,
            "records": self.records,
            "presets": sorted({os.path.basename(path) for path in self._preset_files}),
            "keep": sorted({*self.keep}),
            "ids_per_file": self.ids_per_file,
            "ignore_unneeded": self.fields.ignore_unneeded,
            "tokenizer": None if self.fields.tokenizer is None else self.fields.tokenizer.label,
        }
        return {name: value for name, value in given.items() if value}

    @property
    def applied(self) -> dict[str, Any]:
        """The same with the preset that fits this dump."""
        options = {name: value for name, value in self.options.items() if name != "preset"}
        return options | ({} if self._applied == presets.CANONICAL else {"preset": self._applied})

    @property
    def named(self) -> set[str]:
        """The fields that the user has mapped."""
        return ({singular(name) for name in self.places} & set(KINDS)) | ({"prompt_id"} if self.fields.group else set())

    @property
    def named_extras(self) -> set[str]:
        """The optional fields that the user has mapped."""
        return {singular(name) for name in self.places} & set(EXTRAS)

    def require_named(self, has_any: Mapping[str, bool]) -> None:
        """Refuse an optional field that the user has mapped and that no record has: its checks would silently not run.

        Args:
            has_any: for each of these fields that was read, whether any response has it.

        Raises:
            UsageProblem: none has.
        """
        for name, place in self.places.items():
            if has_any.get(singular(name)) is False and singular(name) not in self._null:
                raise UsageProblem(
                    f"--field {name}={place_text(place)}: no record has {EXPECTED[EXTRAS[singular(name)]]} there;"
                    " budget-cli fields shows what each path holds"
                )

    def label(self, by: str) -> str:
        """Also read the label that `--by` names.

        Returns:
            The name of the label in the plan of a scan.

        Raises:
            UsageProblem: it is neither `file` nor a place in a record.
        """
        self.labelled_by = by
        if by == "file":
            return by
        if EXTRAS.get(by) == "label" and by != LABEL:  # a field that a preset may map
            self.also_read([by])
            self.fields = replace(self.fields, by=by)
            return by
        try:
            place = _place_of_label(by)
        except UsageProblem as problem:
            raise UsageProblem(
                f"--by {by}: expected file, the place of a field, or several places: {problem}"
            ) from None
        self.also_read([LABEL])
        self.fields = replace(self.fields, places=tuple({**self.fields.paths, LABEL: place}.items()), by=LABEL)
        return LABEL

    def read_budgets(self, field: str | None, label: str | None) -> None:
        """Also read the budget of each record, or the label that it follows from, if they have such.

        Raises:
            UsageProblem: what is given is no place in a record.
        """
        for name, key, text in (("budget", "budget_field", field), ("budget_label", "budget_by", label)):
            if text is None:
                continue
            try:
                place = parse_place(text)
            except UsageProblem as problem:
                raise UsageProblem(f"--set {key}={text}: expected the place of a field: {problem}") from None
            self.also_read([name])
            self.fields = replace(self.fields, places=tuple({**self.fields.paths, name: place}.items()))

    def also_read(self, names: Collection[str]) -> None:
        """Also read these extras."""
        self.fields = replace(self.fields, extras=tuple(dict.fromkeys((*self.fields.extras, *names))))

    def in_dump(
        self, found: Sequence[Source], quiet: bool, optional: Collection[str] = (), in_full: bool = False
    ) -> Fields:
        """Return the places of the fields in these sources: from a preset, given or detected, and the user's mappings.

        If ids are unique only within their file, and there are several files, the file becomes part of the id.

        Args:
            found: the sources.
            quiet: True to report nothing on standard error.
            optional: extras that are skipped, to save time, if the user has not mapped them and none of the first
                records has them.
            in_full: True to make the full name of the file part of the id always, as other files will be added.

        Raises:
            UsageProblem: no preset fits, or several do, or the dump has no such field as is needed.
        """
        records = [source for source in found if source.kind is not Kind.SUMMARY]
        if not records:
            self._require_reasons(self.reasons if self.keep else ())
            return self.fields if not optional else self._without(self.fields, optional)
        fields = self._placed(records, quiet, in_full)
        if self.keep:
            fields = self.with_kept(fields)
        if self.ids_per_file and not fields.group:
            fields = replace(fields, id_file_prefix="" if in_full else _common_folder(records))
        if not optional and not fields.compares_tokens and not self.named_extras:
            return fields
        samples = detection.glance(records, fields)
        self.first_lengths = first_lengths(samples, fields) if optional else FirstLengths()
        self.first_ids = first_ids(samples, fields) if optional else FirstIds()
        self.sampler_key = detection.sampler_key(samples, fields) if SAMPLER in fields.extras else ""
        self._null = {name for name in self.named_extras if detection.has_null(samples, fields, name)}
        fields = replace(fields, compares_tokens=fields.compares_tokens and detection.has_token_pairs(samples, fields))
        return self._without(fields, set(optional) - detection.extras_present(samples, fields) - self.named_extras)

    def with_kept(self, fields: Fields) -> Fields:
        """Return the fields without the reasons to leave samples out that `--keep` takes away.

        Raises:
            UsageProblem: nothing is left out for such a reason.
        """
        reasons = {reason for reason, _ in fields.leave_out if reason != WHERE} | {fields.empty_reason} - {""}
        self._require_reasons(reasons)
        kept = set(self.keep) | (reasons - UNUSABLE if presets.ALL in self.keep else set())
        return replace(
            fields,
            leave_out=tuple((reason, place) for reason, place in fields.leave_out if reason not in kept),
            empty_reason="" if fields.empty_reason in kept else fields.empty_reason,
        )

    def _require_reasons(self, reasons: Collection[str]) -> None:
        """Refuse a value of `--keep` that is none of these reasons."""
        for reason in self.keep:
            if reason not in (presets.ALL, *reasons):
                known = ", ".join(sorted({*reasons} - {WHERE}))
                has = f"expected all, or one of {known}" if known else "the preset in use leaves nothing out"
                raise UsageProblem(f"--keep {reason}: no sample is left out for this reason; {has}")

    @property
    def reasons(self) -> list[str]:
        """Every reason for which samples may be left out, with any preset."""
        found = (reason for preset in self.presets().values() for reason in preset.reasons)
        return list(dict.fromkeys((WHERE, *found)))

    def _require_rewards(self, start: "Sniffed") -> None:
        """Refuse a name of `--reward-weights` that no record has: a missing reward would silently count as null.

        Raises:
            UsageProblem: the first records have no such key.
        """
        if not self._weights:
            return
        keys: dict[str, None] = {}
        for value in start.values:
            for record in value if isinstance(value, list) else [value]:
                keys |= dict.fromkeys(record if isinstance(record, dict) else ())
        for name in self._weights:
            if keys and name not in keys:
                near = nearest(name, keys)
                hint = f" (did you mean {near}?)" if near else f"; they have {', '.join(list(keys)[:12])}"
                raise UsageProblem(f"--reward-weights: none of the first records has {name}{hint}")

    @staticmethod
    def _without(fields: Fields, names: Collection[str]) -> Fields:
        return replace(fields, extras=tuple(name for name in fields.extras if name not in names))

    def _placed(self, records: list[Source], quiet: bool, in_full: bool) -> Fields:
        mapped = self.fields
        where = records[0].name + (f" and {len(records) - 1} more" if len(records) > 1 else "")
        if self._preset is None and not self.records and not self._weights:
            record = detection.canonical_first_record(records, mapped)
            if record is not None and wrong_unit([record], mapped) is None:
                fields = self._with_steps([record], mapped)
                if not quiet and detection.lacking([record], fields):
                    self._say_lacking(detection.glance(records, fields), fields, where)
                if any(detection.has_field([record], fields, name) for name in DOUBTED) or TELLING & record.keys():
                    self._doubt(detection.glance(records, fields), fields, where, quiet)
                return fields
        start, inner = self.opened(detection.sniff(records, self.longest), where)
        self._require_rewards(inner)
        mapped = self.within(start, inner, mapped, "" if in_full else _common_folder(records))
        try:
            preset = self.preset(inner, mapped)
        except UsageProblem as refused:
            raise _of_file(refused, records) from None
        self._applied = presets.CANONICAL if preset is None else preset.name
        if preset is None:
            self._warn_of_lengths(inner, mapped, where, quiet)
            samples = detection.samples(inner.values, mapped)
            fields = self._with_steps(samples, mapped)
            if not quiet and samples:
                self._say_lacking(samples, fields, where)
            self._doubt(samples, fields, where, quiet)
            return fields
        all_read = replace(
            self.fields, extras=tuple(dict.fromkeys((*self.fields.extras, "step", *ROLLOUT, *LOOKED_AT)))
        )
        fields = preset.apply_to(all_read).with_places(self.places)
        fields = self.within(start, inner, fields)
        rollouts = "rollout_id" in dict(preset.extras)  # other writers mean a step by this name
        fields = self._without(fields, set(LOOKED_AT) - set(self.fields.extras))
        fields = self._with_steps(detection.samples(inner.values, fields), fields, rollouts)
        if fields.id_file_prefix is not None and not in_full:
            fields = replace(fields, id_file_prefix=_common_folder(records) if len(records) > 1 else None)
        if not quiet:
            console.say(f"{where}: reading as {preset.name}: {preset.summary(fields)}")
        fields = replace(fields, known=fields.known | detection.canonical_present(inner, fields))
        if fields.unmapped:
            from budget_cli.cli import missing  # only where a field is

            has_text = "response_text" in fields.known | {name for name, _ in preset.extras}
            functions = detection.reward_functions(inner, preset)
            samples = detection.samples(inner.values, fields)
            raise UsageProblem(missing.from_preset(preset.name, fields, samples, functions, has_text))
        self._warn_of_lengths(inner, fields, where, quiet)
        self._doubt(detection.samples(inner.values, fields), fields, where, quiet)
        return fields

    @staticmethod
    def _say_lacking(samples: Sequence[dict[str, Any]], fields: Fields, where: str) -> None:
        """Name at once what the first samples do not have, as each record is rejected for one field."""
        if absent := detection.lacking(samples, fields):
            from budget_cli.cli import missing  # only where a field is

            if (given := missing.from_samples(absent, samples, fields)) is not None:
                console.say(f"{where}: the first records have no {' and no '.join(absent)}: {given}")

    def _all_doubts(self, samples: Sequence[dict[str, Any]], fields: Fields) -> list[Doubt]:
        """Return what the first samples say against their prompt ids, and the steps that nobody joined."""
        step = None if self.joins_steps else unread_step(samples, fields)
        return [*doubts(samples, fields), *([] if step is None else [step])]

    def _doubt(self, samples: Sequence[dict[str, Any]], fields: Fields, where: str, quiet: bool) -> None:
        """Keep what the first samples say against their prompt ids, and warn of it."""
        self.doubts = self._all_doubts(samples, fields)
        for doubt in self.doubts if not quiet else ():
            console.say(f"{where}: warning: {doubt}")

    def _warn_of_lengths(self, start: "Sniffed", fields: Fields, where: str, quiet: bool) -> None:
        """Warn if lengths are needed and appear to count characters, turns, or text that the policy did not write."""
        if not fields.needs_length:
            return
        samples = detection.samples(start.values, fields)
        other = other_text(samples, fields) if fields.tokenizer is not None else None
        self.length_warnings = [str(doubt) for doubt in (wrong_unit(samples, fields), other) if doubt is not None]
        for doubt in self.length_warnings if not quiet else ():
            console.say(f"{where}: warning: {doubt}")

    def warnings(self, found: Sequence[Source], start: "Sniffed", preset: "Preset | None") -> list[str]:
        """Return what the first records of the first file, and of the second, say against their prompt ids."""
        fields = self.fields
        if preset is not None:
            extras = ("step", *ROLLOUT, *DOUBTED)
            fields = preset.apply_to(replace(self.fields, extras=extras)).with_places(self.places)
        samples = detection.samples(start.values, fields)
        fields = self._with_steps(samples, fields)
        warnings = list(map(str, self._all_doubts(samples, fields)))
        apart = fields.group or fields.id_file_prefix is not None or self.ids_per_file or fields.prompts_of_steps
        if len(found) > 1 and not apart and not self.joins_steps:
            second = detection.samples(detection.sniff(found[1:2]).values, fields)
            if ids_recur(samples, second, fields):
                ways = (
                    "give --ids-per-file if each file is a step of its own, or --group prompt if they belong together"
                )
                warnings.append(f"the prompt ids of the first file recur in the second: {ways}")
        return warnings

    def opened(self, start: "Sniffed", where: str, any_place: bool = False) -> "tuple[Sniffed, Sniffed]":
        """Return the first values, as a document if they are one, and the same with the records in them in their place.

        The only place with objects is taken with `any_place` even where their fields are not known yet.

        Raises:
            UsageProblem: the user must say where the records, or their fields, are.
            InputProblem: a document holds none.
        """
        are_records = not start.may_be_document and not any(map(_may_hold_records, start.values))
        if not self.records and (are_records or start.is_table):
            return start, start
        from budget_cli.records import places  # which few dumps need

        if self.records:
            return self._told(places.within(start, self.records, where), where)
        known = self.presets()
        is_named = self._preset not in (None, presets.CANONICAL)
        named = presets.find(self._preset or "", known) if is_named else None
        mapped = self.named >= {"prompt_id", "reward"} or self._preset is not None
        return self._told(places.find(start, self.fields, {} if mapped else known, named, where, any_place), where)

    @staticmethod
    def _told(opened: "tuple[Sniffed, Sniffed]", where: str) -> "tuple[Sniffed, Sniffed]":
        """Return the same, and name what is beside the lists of records."""
        from budget_cli.records import places

        if left_out := places.left_out(*opened):
            more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
            console.say(f"{where}: left out, as no list of records: {', '.join(left_out[:3])}{more}")
        return opened

    def within(self, start: "Sniffed", inner: "Sniffed", fields: Fields, folder: str | None = None) -> Fields:
        """Return the fields with the place of the records.

        Args:
            start: the first values.
            inner: the records that were found in them.
            fields: the places in a record.
            folder: what the names of all files begin with, if the lists may be the prompts; None: they are not.
        """
        if start.is_table:
            return replace(fields, records=TABLE, document=start.is_document)
        if not inner.records:
            if not start.may_be_document or fields.records or fields.document or not isinstance(start.values[0], dict):
                return fields
            form = "columns" if detection.are_columns(start.values[0], fields) else ""
            return replace(fields, records=form, document=start.is_document)
        fields = replace(fields, records=inner.records, document=start.is_document)
        if folder is None:
            return fields
        from budget_cli.records import places

        return places.fields_within(inner, fields, folder)

    def _with_steps(self, samples: Sequence[Any], fields: Fields, rollouts: bool = True) -> Fields:
        """Add the step to the prompt ids and fold the rows of a rollout, as far as the first samples have such fields.

        A step that the ids contain already is not added again.
        """
        named = "rollout_id" in self.places
        if named and fields.group_size:
            raise UsageProblem("--group-size counts lines, and --field rollout_id=… joins them: give one of them")
        rollouts = rollouts and not fields.group_size
        has_rollouts = named or (rollouts and detection.has_field(samples, fields, "rollout_id"))
        if "turn" in self.places and not has_rollouts:
            raise UsageProblem("--field turn=… orders the rows of a rollout: give --field rollout_id=…, too")
        wanted = not self.joins_steps and not fields.group
        in_id = set(root_keys(fields.paths["step"])) & set(root_keys(fields.paths["prompt_id"]))
        has_steps = wanted and not in_id and ("step" in self.places or detection.has_field(samples, fields, "step"))
        read = [*self.fields.extras, *(ROLLOUT if has_rollouts else ()), *(("step",) if has_steps else ())]
        extras = dict.fromkeys((*fields.extras, *read))
        return replace(
            fields,
            extras=tuple(name for name in extras if name in read or name not in (*ROLLOUT, "step")),
            has_rollouts=has_rollouts,
            prompts_of_steps=has_steps,
        )

    def presets(self) -> "dict[str, Preset]":
        """The presets by name, the user's own first."""
        return presets.load(self._preset_files)

    def preset(self, start: "Sniffed", mapped: Fields) -> "Preset | None":
        """Return the preset that the user names, or the one that fits; None if the user's mappings suffice.

        Args:
            start: the first records.
            mapped: the places of fields without a preset.

        Raises:
            UsageProblem: there is no preset of that name, or none fits, or several do.
        """
        if self._preset == presets.CANONICAL:
            return None
        known = self.presets()
        if self._preset is not None:
            return presets.find(self._preset, detection.presets_for(start, known) if start.values else known)
        if self.named >= {"prompt_id", "reward"}:
            return None
        some = bool(self.named) or mapped.paths["prompt_id"] != self.fields.paths["prompt_id"]
        return detection.detect_preset(start, known, mapped, some_mapped=some)


def _of_file(refused: UsageProblem, records: Sequence[Source]) -> UsageProblem:
    """Return a refusal of the records of the first file with its name, where there are several."""
    if len(records) == 1 or str(refused).startswith("--"):
        return refused
    name = os.path.basename(records[0].name)
    ways = f" (if it is no dump, leave it out of its folder with --exclude {quoted(name)})"
    return UsageProblem(f"{records[0].name}: {refused}{ways if 'no preset fits' in str(refused) else ''}")


def _may_hold_records(value: Any) -> bool:
    """True for a list, and for an object without the id of a prompt that has a list of objects with what may be one."""
    if not isinstance(value, dict):
        return isinstance(value, list)
    return "prompt_id" not in value and any(map(_may_be_records, value.values()))


def _may_be_records(value: Any) -> bool:
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    return any(OF_PROMPT.search(key) or _may_be_records(inner) for key, inner in value[0].items())


def _place_of_label(by: str) -> Place:
    """Parse the place of a label, or several with commas between them, whose values are one label, as in `math/3`.

    Raises:
        UsageProblem: one of them is no place.
    """
    names = re.split(r"(?<!\\),", by)
    if len(names) == 1 or re.search(r"[(\[{`'\"|&]", by):
        return parse_place(by)
    if "file" in names:
        raise UsageProblem("file cannot be joined with a field: give one of them")
    return parse_place(f"[{', '.join(as_expression(parse_place(name.strip())) for name in names)}]")


def _common_folder(found: Sequence[Source]) -> str:
    """Return the folder that all these names begin with; without it, a moved dump keeps its ids."""
    try:
        folder = os.path.commonpath([os.path.dirname(source.name) for source in found])
    except ValueError:  # only some names are absolute
        return ""
    return os.path.join(folder, "") if folder else ""
