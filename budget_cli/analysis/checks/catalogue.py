"""Every check: its code, severity, reason, remedy and known false alarms. Computes nothing.

The single source of `docs/checks.md`, of `check --explain` and of the wording of findings. Each threshold names its
source.
"""

from typing import NamedTuple


class Threshold(NamedTuple):
    """A number that a check compares with."""

    name: str
    default: float
    meaning: str
    source: str


class Check(NamedTuple):
    """What a code stands for."""

    code: str
    topic: str
    severity: str
    title: str  # what is found
    why: str
    remedy: str
    example: str
    false_alarms: str
    needs: tuple[str, ...] = ()  # keys of NEEDS in rendering/check.py
    thresholds: tuple[Threshold, ...] = ()
    otherwise: str = ""  # when the severity differs

    @property
    def class_(self) -> str:
        """`choice` if the finding is about B and β, which another choice makes go away, otherwise `dump`."""
        return "choice" if "budget" in self.needs else "dump"


RECORDS = [
    Check(
        "non-finite",
        "records",
        "error",
        "`NaN`, `Infinity` or a number beyond the range of a double.",
        "One such value turns every mean it enters into NaN, and other readers silently replace it with null or 0.",
        "Find out why the reward function or the log-prob was not finite, and drop the sample where it is produced.",
        '{"prompt_id": "p", "reward": NaN}',
        "None: `NaN` is not JSON. If the writer uses it for `no reward`, leave the record out.",
    ),
    Check(
        "number-as-string",
        "records",
        "error",
        "A string that looks like a number in a numeric field.",
        "The writer turned numbers into text (as `default=str` does with numpy scalars), so other tools sort and"
        " compare them as text.",
        "Write numbers: call `float(x)` before `json.dumps`. Or map the field to an expression: "
        "`--field 'reward=to_number(reward)'`.",
        '{"prompt_id": "p", "reward": "0.5"}',
        "None for the loss, which accepts only numbers.",
    ),
    Check(
        "wrong-type",
        "records",
        "error",
        "A value whose JSON type does not match the field.",
        "`true` is not 1 and a list is not a number; each reader converts them differently.",
        "Map the field that holds the number with `--field NAME=PATH`, or fix the writer.",
        '{"prompt_id": "p", "reward": true}',
        "The path is one level too high or too low: `budget-cli fields` shows what each path holds.",
    ),
    Check(
        "null",
        "records",
        "error",
        "`null` where the loss needs a value.",
        "A missing value is not 0: counting it as 0 would shift the baseline of every other response to the prompt.",
        "Leave such samples out of the dump, or allow that many with `--max-errors`.",
        '{"prompt_id": "p", "reward": null}',
        "Failed episodes that the writer keeps on purpose.",
    ),
    Check(
        "missing",
        "records",
        "error",
        "A record without a field that the loss needs.",
        "The record is not used, so the prompt's baseline comes from its other responses alone.",
        "Map the field with `--field NAME=PATH`; `--kl-coef 0` and `--budget-penalty-coef 0` work without log-probs and"
        " lengths.",
        '{"prompt_id": "p", "score": 1.0}',
        "Lines that are not samples (a header, a summary): use the preset for that kind of dump.",
    ),
    Check(
        "wrong-value",
        "records",
        "error",
        "A value of the right type that is impossible, such as half a token or an empty list.",
        "The field does not hold what it is assumed to hold.",
        "Look at the field in that line, and map another one with `--field`.",
        '{"prompt_id": "p", "reward": 1, "response_length": 12.5}',
        "Lengths that are averaged over turns.",
    ),
    Check(
        "inexact-id",
        "records",
        "error",
        "An integer prompt id that is too large to be exact.",
        "From 2^63 upwards (2^53 for floats), readers merge different ids into one prompt.",
        "Write ids as strings.",
        '{"prompt_id": 18446744073709551616, "reward": 1}',
        "None.",
    ),
    Check(
        "unequal-lengths",
        "records",
        "error",
        "Parallel arrays of different sizes.",
        "There is no telling which number belongs to which response.",
        "Look for a response that was filtered from one array only, or for lists truncated at different points.",
        '{"prompt_id": "p", "rewards": [1, 0], "log_probs": [-3.5]}',
        "Lists of log-probs of which only one includes the end-of-sequence token.",
    ),
    Check(
        "not-an-object",
        "records",
        "error",
        "A line whose JSON is not an object.",
        "Each record must be an object; a list may hold a whole batch, which needs a preset.",
        "`budget-cli fields` names the preset that fits; `--records '[]'` reads the records in a list.",
        "[1.0, 0.5]",
        "Dumps with one list per line (PipelineRL): use `--preset pipeline-rl`.",
    ),
    Check(
        "not-json",
        "records",
        "error",
        "A line that is not JSON, or a row that is not CSV.",
        "Something else ended up in the file: a log message, the output of two writers at once, two records on one"
        " line.",
        "Give each process its own file, and write each record in a single call.",
        "INFO saving rollouts",
        "None.",
    ),
    Check(
        "truncated-tail",
        "records",
        "error",
        "The last line is incomplete.",
        "The writer was stopped or is still writing; an unknown number of records is missing after it.",
        "Wait for the writer to finish, or accept the incomplete line with `--allow-truncated-tail`.",
        '{"prompt_id": "p", "rewa',
        "A dump that is read while training is running.",
    ),
    Check(
        "invalid-utf8",
        "records",
        "error",
        "Bytes that are not UTF-8.",
        "The line is damaged or in another encoding; silently replacing the bytes can make two different texts equal.",
        "Write UTF-8; `iconv` converts a file from another encoding.",
        "a Latin-1 \\xe9 in a text",
        "None.",
    ),
    Check(
        "lone-surrogate",
        "records",
        "error",
        "Half of a `\\u` surrogate pair.",
        "It never occurs in valid Unicode; it comes from cutting a string in the middle of a character.",
        "Cut texts at character boundaries, before escaping.",
        '{"prompt_id": "p", "reward": 1, "text": "\\ud83d"}',
        "None.",
    ),
    Check(
        "nul-bytes",
        "records",
        "error",
        "A run of NUL bytes.",
        "A crash or a full disk left a hole in the file, and the records that belong there are missing.",
        "Write the file again, and check the disk.",
        "\\x00\\x00\\x00\\x00",
        "None.",
    ),
    Check(
        "too-deep",
        "records",
        "error",
        "Nesting of more than 1,024 levels.",
        "Readers give up at different depths, and some crash.",
        "Do not write objects that contain themselves.",
        "[[[[…",
        "None.",
    ),
    Check(
        "line-too-long",
        "records",
        "error",
        "A line longer than `--max-line-bytes` (64 MiB).",
        "Such a line is not held in memory, so its records are not used.",
        "Raise the limit, or write one record per line.",
        "the arrays of a whole step in one line",
        "Dumps with one step per line: raise the limit.",
    ),
    Check(
        "left-out",
        "records",
        "info",
        "Samples that the trainer does not train on, such as failed ones, or for which `--where` is not true.",
        "They are neither rejected nor used, so no baseline and no number contains them.",
        "Nothing, if the trainer drops them, too. Otherwise `--keep REASON` uses them, and `--keep all` uses all that"
        " have a reward.",
        '{"example_id": 3, "completion": [], "reward": 0.0, "error": {"error": "SandboxError"}}',
        "A trainer that was told to train on failed samples as wrong answers.",
    ),
]

GROUPS = [
    Check(
        "constant-reward",
        "groups",
        "warning",
        "Every reward in the dump is the same.",
        "Every advantage is 0 apart from the penalty, so the policy learns nothing from the rewards. A failing verifier"
        " often returns 0 for everything.",
        "Run the verifier on one response by hand, and look at its errors.",
        "64 responses, every reward 0",
        "An evaluation that is solved.",
        thresholds=(
            Threshold(
                "constant-reward.responses",
                16,
                "number of responses from which this is an error",
                "of fewer, all may be right or wrong by chance",
            ),
        ),
        otherwise="error from 16 responses",
    ),
    Check(
        "zero-variance",
        "groups",
        "info",
        "Prompts whose responses all have the same reward.",
        "Their advantages are 0, so their responses cost compute and teach nothing. With binary rewards, chance alone"
        " makes a share of p^G + (1 − p)^G.",
        "Filter them, sample more responses per prompt, or choose prompts that are neither too easy nor too hard.",
        "prompt p: rewards 1, 1, 1, 1",
        "Easy prompts late in training. The expected share assumes one pass rate for all prompts and is a lower bound,"
        " because prompts differ in difficulty.",
        thresholds=(
            Threshold(
                "zero-variance.share",
                0.5,
                "share of prompts at which this becomes a warning, if chance does not explain it",
                "the zero-variance advisory of the miles dashboard",
            ),
            Threshold(
                "zero-variance.responses",
                16,
                "number of responses, to 4 prompts or more, from which this is an error if rewards differ in no prompt",
                "of fewer, this happens by chance",
            ),
        ),
        otherwise="warning from a share of 0.5 that chance does not explain, error if no prompt is left that teaches"
        " anything",
    ),
    Check(
        "zero-variance-filtered",
        "groups",
        "info",
        "Far fewer zero-variance prompts than chance alone would produce.",
        "Such prompts were dropped before the dump was written (dynamic sampling), so the pass rate of the dump is not"
        " the pass rate of the policy.",
        "Compare only pass rates measured before the filter.",
        "200 prompts of 4 responses, pass rate 50%, none with equal rewards",
        "Rewards that are drawn without replacement, such as ranks.",
    ),
    Check(
        "phantom-advantage",
        "groups",
        "warning",
        "Prompts with equal rewards but unequal penalties.",
        "These prompts teach length and nothing else, even when every answer is wrong. Variance filters keep them, and"
        " they have caused training to collapse. Acoer reports it where wrong answers are penalised, too, and arXiv"
        " 2602.09591 finds no gain in all cases.",
        "Penalise only correct answers (`--set penalize=correct` shows what that gives), or drop zero-variance prompts"
        " before applying the penalty.",
        "prompt p: rewards 0, 0, 0, lengths 900, 1100, 1400, budget 1024",
        "A penalty that is meant to shorten wrong answers too.",
        needs=("budget",),
    ),
    Check(
        "penalty-cancels",
        "groups",
        "info",
        "Prompts whose rewards differ but whose adjusted rewards are equal.",
        "The penalty exactly cancels the difference in reward, so the prompt teaches nothing.",
        "Choose a penalty that is not a round fraction of the reward.",
        "rewards 1 and 0, penalties 1 and 0",
        "None known; it is rare.",
        needs=("budget",),
    ),
    Check(
        "best-response-changes",
        "groups",
        "info",
        "Prompts whose best response is a different one after the penalty.",
        "For these prompts the penalty outweighs the reward: a shorter, worse answer is preferred.",
        "Lower β, raise the budget, or penalise the length of correct answers only.",
        "rewards 1 and 0, lengths 1200 and 300, budget 1024, β 0.01: 1 − 1.76 < 0",
        "In moderation this is what a length penalty is for.",
        needs=("records", "budget"),
    ),
    Check(
        "one-prompt",
        "groups",
        "error",
        "All responses have one prompt id.",
        "Responses to different questions are measured against one baseline, so that easy questions are rewarded for"
        " being easy.",
        "Map what tells the prompts apart, as in `--field prompt_id=PATH` or `--field 'prompt_id=digest(prompt)'`.",
        '"prompt_id": "x" in every record',
        "A run on one prompt whose records hold no prompt text; where they do, and the first records have one text,"
        " nothing is said.",
        needs=("records",),
        thresholds=(
            Threshold(
                "one-prompt.responses",
                32,
                "number of responses from which they are too many for one group",
                "groups have 4 to 16 in most recipes",
            ),
        ),
    ),
    Check(
        "singleton",
        "groups",
        "warning",
        "Prompts with a single response.",
        "The mean of one response is the response itself, so its advantage is 0. If every prompt is like this, the id"
        " probably identifies the response instead of the prompt.",
        "Map the prompt's id with `--field prompt_id=PATH`; ``stem(uid, '_', `1`)`` turns the id `uid_3` into `uid`.",
        '{"prompt_id": "a_0", …} and {"prompt_id": "a_1", …}',
        "An evaluation with one response per prompt; a critic in place of a group mean. Neither teaches anything here.",
        thresholds=(
            Threshold(
                "singleton.prompts",
                8,
                "number of prompts from which this is an error if none has a second response",
                "fewer may be an excerpt",
            ),
        ),
        otherwise="error if every prompt has a single response, or one only while all others have equally many, 3 or"
        " more",
    ),
    Check(
        "uneven-groups",
        "groups",
        "warning",
        "Prompts with different numbers of responses.",
        "A trainer that splits a batch every G records mixes prompts, and the mean over responses is not the mean over"
        " prompts (`--aggregate prompt`).",
        "Find out which responses are missing: failed, filtered or late ones.",
        "8 responses to most prompts, 7 to one",
        "Samplers that give hard prompts more responses; several samples from one rollout. A writer that drops a"
        " fifth of all responses or more, as those that failed or were truncated. Responses that are left out or"
        " rejected here explain a difference, which is then no error. An error needs 4 prompts and 16 responses.",
        thresholds=(
            Threshold(
                "uneven-groups.missing",
                0.33,
                "share of a group that is missing, two responses or more, from which this is an error if all other"
                " prompts are complete, as where the end of a file is missing",
                "of 8 responses to each of 8 prompts, every one missing in 1 case of 100, three of one prompt alone are"
                " missing in 2 dumps of 10,000",
            ),
            Threshold(
                "uneven-groups.spread",
                0.25,
                "share of all groups that is missing, beside the largest, from which this is an error if no size is"
                " usual, as where half of a dump is missing",
                "a convention of this tool",
            ),
        ),
        otherwise="error if one prompt alone lacks a third of its responses, or sizes vary as in a part of a dump",
    ),
    Check(
        "doubled-group",
        "groups",
        "warning",
        "Prompts with a multiple of the usual number of responses.",
        "Two groups share one id (the prompt was sampled twice in a step, or in two steps), so each is measured against"
        " a baseline that includes the other.",
        "Make the step or the draw part of the id: `--field 'prompt_id=[step, prompt_id]'`.",
        "8 responses to most prompts, 16 to one",
        "Samplers that double the responses to hard prompts.",
    ),
    Check(
        "stored-advantage",
        "groups",
        "warning",
        "Stored advantages that do not sum to 0 over a prompt (in one of a single response: are not 0), or are all 0"
        " although its rewards differ.",
        "The trainer used a different baseline, or different groups, than the prompt ids of this dump suggest.",
        "Check `--field prompt_id=…`, and compare with the trainer's advantage estimator. If every prompt has a single"
        " response, give the number of lines of a group: `--group-size N`.",
        "advantages 0.5, 0.5, −0.25",
        "Estimators without a group mean: GAE, REINFORCE++ with a batch mean, length-weighted baselines (OPO). A dump"
        " from which the other responses of a prompt were dropped. Zero-sum games, in which the advantages of the two"
        " players sum to 0, though each has a prompt of its own.",
        needs=("advantage",),
        thresholds=(
            Threshold(
                "stored-advantage.share",
                0.01,
                "mean of a prompt's advantages relative to their root mean square",
                "rounding of advantages stored in 16 bits",
            ),
        ),
    ),
    Check(
        "advantage-penalty",
        "groups",
        "warning",
        "Stored advantages that hold a penalty on length that the stored rewards do not (or the other way about).",
        "The policy was trained on other rewards than the dump shows, so means and gates on the rewards miss the"
        " penalty, and a penalty added here may be counted twice.",
        "Give its budget and β (`-B`, `--beta`), as the line `objective` does: with `-B` all prompts are compared,"
        " without it a sample.",
        "advantages of rewards less 0.0005 for each token over 8,192",
        "A reward shaped by something that grows with length, such as the number of turns.",
        needs=("advantage", "length"),
    ),
    Check(
        "advantage-differs",
        "groups",
        "warning",
        "Prompts whose stored advantages are not those of the estimator that gives all others.",
        "If their sums are wrong by amounts that cancel, the advantages of these prompts were computed over other"
        " groups than the prompt ids say; otherwise rewards or advantages were changed before they were stored.",
        "Look at the prompts named, and check `--field prompt_id=…`; then whether the trainer groups by position, or"
        " drops, clips or overwrites some responses.",
        "advantages 0.75, 0.75, −0.25, −0.25 of rewards 1, 0, 0, 0",
        "Responses of a group that are missing in the dump. Trainers that scale or mask the advantages of some prompts"
        " on purpose.",
        needs=("advantage",),
    ),
    Check(
        "advantage-unknown",
        "groups",
        "warning",
        "Stored advantages that no estimator known here gives.",
        "This tool's advantages are not those that were trained, whatever the options: centred, RLOO, GRPO, MaxRL, OPO,"
        " the deviation of a batch, REINFORCE++ and the reward itself were tried, each also less a penalty on length"
        " that is linear or capped, on all or on right responses.",
        "Check `--field prompt_id=…` and `--field reward=…`: the reward that was trained may be another field, or a"
        " weighted sum (`--reward-weights`). If they are those of groups by position, the trainer took other responses"
        " for a group than those to one prompt, or the prompt ids are wrong.",
        "advantages drawn at random",
        "Estimators with a critic (GAE), clipped advantages, shaping by statistics of a group other than the mean and"
        " the deviation.",
        needs=("advantage",),
    ),
]

BUDGET = [
    Check(
        "budget-never-reached",
        "budget",
        "warning",
        "No response is over the budget.",
        "The penalty is 0 everywhere, so the budget has no effect.",
        "Check that the budget is in the same unit as the lengths. DAPO's budget is the maximum length minus the"
        " buffer.",
        "the longest response has 800 tokens, `-B 1024`",
        "A policy that has learned to stay within its budget.",
        needs=("budget",),
    ),
    Check(
        "budget-always-exceeded",
        "budget",
        "warning",
        "Every response is over the budget.",
        "The penalty is then linear in length, and rewards short answers whatever their quality.",
        "Check that the budget is for the response alone, without the prompt. Otherwise raise it, or lower β.",
        "the shortest response has 1,200 tokens, `-B 1024`",
        "A dump from before the budget was introduced.",
        needs=("budget",),
    ),
    Check(
        "penalty-outweighs-reward",
        "budget",
        "warning",
        "Penalties larger than the whole range of the rewards.",
        "A short wrong answer is then worth more than a long correct one, as in open-r1 #360.",
        "Choose β close to the range of the rewards divided by the largest excess, or cap the penalty as DAPO does:"
        " `--set penalty=capped --set cap=TOKENS` shows what that gives.",
        "rewards 0 and 1, β 0.01, 400 tokens over: a penalty of 4",
        "Lengths far beyond the budget that the policy no longer produces.",
        needs=("budget",),
        thresholds=(
            Threshold(
                "penalty-outweighs-reward.times",
                1.0,
                "a prompt's largest penalty as a multiple of the range of the rewards",
                "at 1, the worst correct answer drops to the level of the best wrong one",
            ),
        ),
    ),
    Check(
        "penalty-in-reward",
        "budget",
        "warning",
        "Rewards that hold a penalty on length, with the β and the budget that fit them.",
        "The trainer subtracted it before it stored the reward, so subtracting a penalty again counts it twice. If it"
        " is not the one that you configured, the trainer measured from another maximum, or another length: that of"
        " prompt and response together, as SkyRL once did.",
        "Give `--budget-penalty-coef 0`, or map the reward before shaping. If β or the budget is not yours, look at"
        " what the trainer takes as the length and as the maximum.",
        "rewards 0 and 1 up to 3,584 tokens; 0.83 at 3,671 and −0.2 at 3,686",
        "A reward of its own that falls with length as a penalty does. Not found where rewards without a penalty are"
        " neither a few values nor in equal steps (of 1, 1/2, 1/3, … or 1/20), as those of a reward model, or"
        " where fewer than 4 lengths over the budget show it (of rewards in steps, about 10). Where no"
        " β and budget fit, the finding says only that rewards over the given budget are others. A penalty on prompt"
        " and response together takes `prompt_length` to be found (`--field prompt_length=PATH`).",
        needs=("length",),
        otherwise="error if a penalty is given and is counted twice, info if none is given",
        thresholds=(
            Threshold(
                "penalty-in-reward.values",
                4,
                "largest number of distinct rewards of responses that have no penalty",
                "two values for correctness, times a format bonus",
            ),
        ),
    ),
    Check(
        "length-in-reward",
        "budget",
        "warning",
        "Rewards that are a function of length within each prompt.",
        "A length reward is in the reward, such as that of Kimi k1.5 or a cosine of the length. Where wrong responses"
        " get one, too, a short wrong answer can score above a long right one, and a penalty comes on top of it.",
        "Map the reward without it (`--field reward=PATH`), or leave it out of `--reward-weights`. To keep it, scale it"
        " so that the longest right answer scores above the shortest wrong one.",
        "0.5, 0.36, −0.07 and −0.5 at 300, 500, 1,100 and 1,700 tokens, but 0 for a wrong answer of 300",
        "A task whose reward is the length. Right and wrong responses may have a function each, which never rises or"
        " never falls with the length, in tokens or relative to the prompt's shortest and longest response; other"
        " length rewards, or one among rewards that vary otherwise, are not found. Looks at the first 256 prompts.",
        needs=("records", "length"),
        thresholds=(
            Threshold(
                "length-in-reward.responses",
                40,
                "smallest number of responses, of 4 prompts or more, that tells a function from chance",
                "simulated rewards whose correlation with length is −0.97 are no function of it",
            ),
        ),
    ),
]

LENGTHS = [
    Check(
        "some-without-length",
        "lengths",
        "warning",
        "Some responses have a length and others have none.",
        "With a budget, records without a length are rejected; without one, length statistics would cover only part of"
        " the dump.",
        "Find out which writer omits it.",
        '"response_length": null in some records',
        "Failed episodes.",
        needs=("length",),
    ),
    Check(
        "all-lengths-zero",
        "lengths",
        "warning",
        "Every length is 0.",
        "The field exists but was never filled; with a budget this looks as if no response were over it.",
        "Map another field if the records have one (`budget-cli fields` lists them), as in `--field"
        " 'response_length=length(token_ids)'`; otherwise give `--budget-penalty-coef 0`.",
        '"num_output_tokens": 0 in every record',
        "None.",
        needs=("length",),
        otherwise="error if a budget is given",
    ),
    Check(
        "all-lengths-equal",
        "lengths",
        "warning",
        "Every length is the same, though the responses are not equally long.",
        "The field holds something else, such as the length of the padded prompt or the maximum, so the penalty is the"
        " same for every response and teaches nothing.",
        "Map the number of tokens of the response, as in `--field 'response_length=length(token_ids)'`, or count them"
        " with `--tokenizer`.",
        '"response_length": 203 in every record, for texts of 300 to 2,400 characters',
        "Responses that were all cut off at the same length without a finish reason that says so, some of them in a"
        " script that takes fewer characters for as many tokens. Without `--text`, the texts of the first records are"
        " compared, and finish reasons where only some say that a response was cut off. Not checked below 8 responses"
        " or 16 tokens.",
        needs=("length",),
        thresholds=(
            Threshold(
                "all-lengths-equal.spread",
                0.35,
                "standard deviation of the number of characters or tokens, as a share of its mean, from which texts are"
                " not equally long",
                "a convention of this tool",
            ),
            Threshold(
                "all-lengths-equal.log-probs",
                0.4,
                "standard deviation of the sums of log-probs, as a share of their mean, from which 16 responses or more"
                " without a finish reason are not equally long",
                "a convention of this tool: about 0.2 in texts of one length",
            ),
        ),
        otherwise="error if finish reasons, lists of log-probs or sums of log-probs show it, or texts do and the length"
        " is no multiple of 8 or 10, as a maximum would be; info if it is none and there is nothing to compare with",
    ),
    Check(
        "lengths-equal-by-prompt",
        "lengths",
        "warning",
        "The responses to a prompt are equally long, for every prompt.",
        "The field holds something of the prompt, such as its length or that of the padded group, so the penalty is the"
        " same for all responses that are compared and teaches nothing.",
        "Map the number of tokens of the response, as in `--field 'response_length=length(token_ids)'`, or count them"
        " with `--tokenizer`.",
        "prompt p: lengths 87, 87, 87, 87; prompt q: 140, 140, 140, 140",
        "Responses that are copies (`identical-responses`), or that all have one form. Texts are those of the first"
        " records. Not checked below 4 prompts or 16 tokens, or where as many log-probs are in the record.",
        needs=("length",),
        otherwise="info if there are neither texts nor lists of log-probs to compare with",
    ),
    Check(
        "zero-length",
        "lengths",
        "warning",
        "Responses of 0 tokens.",
        "A response that was aborted or fully masked still has a reward, and shifts its prompt's baseline.",
        "Leave such samples out before computing the baseline.",
        '{"prompt_id": "p", "reward": 0, "response_length": 0}',
        "Policies that are allowed to say nothing.",
        needs=("length",),
    ),
    Check(
        "one-token",
        "lengths",
        "warning",
        "A few responses of one token, far below all others.",
        "Rows that pad a batch, so that its workers can divide it, have one token and a reward of 0. The trainer masks"
        " them, but here each is a response that shifts its prompt's baseline.",
        "Look at such a record. Leave padding out with `--where`, as in ``--where 'response_length > `1`'``.",
        '"output": "", "response_length": 1 among responses of 200 to 900 tokens',
        "A policy that ends some answers at once: then the end-of-sequence token is all that it wrote. Checked only if"
        " no other response has fewer than 16 tokens.",
        needs=("length",),
        thresholds=(
            Threshold(
                "one-token.share",
                0.5,
                "largest share of responses of one token",
                "beyond it these are the answers; a trainer pads less than a batch",
            ),
        ),
    ),
    Check(
        "token-count-differs",
        "lengths",
        "error",
        "The length differs from the number of log-probs in the same record.",
        "Length and log-probs come from different tokenisations or masks, so the penalty and the log-ratio describe"
        " different texts.",
        "Take both from the sampler; never tokenise the text again.",
        '"response_length": 12 beside a list of 15 log-probs',
        "Lengths that include tool output while the log-probs do not.",
        needs=("length", "log_prob"),
        otherwise="warning if all differ by one, as when only one of them counts the end-of-sequence token, or if most"
        " differ by more than a factor of 2, as with one log-prob per stretch of text",
    ),
    Check(
        "length-is-characters",
        "lengths",
        "warning",
        "Lengths as large as the number of characters.",
        "The budget is in tokens; a length in characters reaches it three to four times too early.",
        "Map the number of tokens.",
        '"response_length": 16 for a text of 16 characters',
        "Scripts and tokenisers with about one token per character (Chinese, bytes). Without `--text`, found if every"
        " length of the first records is the number of characters of the same field.",
        needs=("records", "length"),
        thresholds=(
            Threshold(
                "length-is-characters.share",
                0.9,
                "tokens per character above which the lengths cannot be tokens",
                "English has 3 to 4 characters per token",
            ),
        ),
    ),
    Check(
        "length-is-turns",
        "lengths",
        "warning",
        "Lengths that are numbers of turns, or far too small for the texts.",
        "They count turns, messages or words of a header instead of tokens, so no response ever exceeds a budget.",
        "Map the number of tokens: of a list of lists, `--field 'response_length=length(response_token_ids[])'`.",
        '"response_length": 3 for a text of 2,000 characters, or beside three lists of token ids',
        "Texts that contain more than the response, such as tool output that is not counted. Without `--text`, found if"
        " every length of the first records is the number of lists of tokens in the same field.",
        needs=("records", "length"),
        thresholds=(
            Threshold(
                "length-is-turns.characters",
                50,
                "mean number of characters per token",
                "the longest tokens of common vocabularies are shorter",
            ),
        ),
    ),
    Check(
        "lengths-hold-other-text",
        "lengths",
        "warning",
        "Texts of responses that hold tool output or a turn of the user, which the lengths may count.",
        "The policy did not write these tokens, so the penalty is for the length of a tool's answer.",
        "Map a length that counts only what was generated, as in `--field 'response_length=kept(response_mask)'`, or"
        " make the trainer dump one.",
        '"output": "<think>…</think> <search>…</search> <information>…</information>…"',
        "Lengths that the trainer counted by its mask. A policy that has learned to write such markers itself. Only the"
        " first records are examined, and nothing where the length is placed at a mask or at the server's count of"
        " generated tokens.",
        needs=("records", "length"),
        otherwise="info unless `--tokenizer` counts these texts",
    ),
    Check(
        "lengths-hold-masked-tokens",
        "lengths",
        "warning",
        "Lists of log-probs with long runs of zeros, which the lengths count.",
        "A log-prob of exactly 0 for many tokens in a row is a mask or padding: the policy did not write these tokens,"
        " and the penalty is for them, too.",
        "Leave them out, as in `--field 'log_prob=masked(logprobs, response_mask)'`, for both log-probs, and map a"
        " length that counts only what was generated, as in `--field 'response_length=kept(response_mask)'`.",
        '"log_prob": [-0.4, -1.2, 0.0, 0.0, … (over the answer of a tool), -0.3]',
        "A response that copies a long text, of which the policy is certain to the last digit. Not found where more"
        " than 1 % of the other tokens have a log-prob of 0, as in low precision, nor in records of a whole prompt."
        " Only the first records are examined, and nothing where the length is not the number of log-probs.",
        needs=("records", "length"),
    ),
    Check(
        "truncated",
        "lengths",
        "info",
        "Responses that were cut off at the length limit, according to their finish reason.",
        "A truncated answer is scored as wrong because of its length; many of them teach brevity, or that nothing"
        " helps.",
        "Raise the maximum length, or leave truncated responses out of the loss.",
        '"finish_reason": "length"',
        "Dumps that record the finish reason of the last turn only.",
        needs=("finish_reason",),
        thresholds=(
            Threshold(
                "truncated.share",
                0.25,
                "share of responses at which this becomes a warning",
                "the truncation advisory of the miles dashboard",
            ),
        ),
        otherwise="warning from a share of 0.25",
    ),
    Check(
        "at-maximum",
        "lengths",
        "warning",
        "Many responses share the same, maximum length.",
        "They were probably truncated, and a truncated answer is scored as wrong because of its length.",
        "Raise the maximum length. To be sure, map the finish reason (`--field finish_reason=PATH`). If it is there,"
        " see whether something replaces it, as where a truncated turn that calls a tool ends in `tool_calls`.",
        "9 of 48 responses have 2,048 tokens, no other length occurs three times",
        "Answers of a fixed form. Not checked if the finish reason of any response says that it was truncated.",
        needs=("length",),
        thresholds=(
            Threshold(
                "at-maximum.share",
                0.05,
                "share of responses at the maximum, which must also have three times as many responses as any length"
                " near it",
                "a smooth distribution has no such spike",
            ),
        ),
    ),
]

LOG_PROBS = [
    Check(
        "some-without-log-prob",
        "log-probs",
        "warning",
        "Some responses have a log-prob and others have none.",
        "With `--kl-coef`, records without one are rejected, and the log-ratio covers only part of the dump.",
        "Find out which responses were not scored.",
        '"old_log_prob": null in some records',
        "Responses that the trainer filtered out before scoring.",
        needs=("log_prob",),
    ),
    Check(
        "positive-log-prob",
        "log-probs",
        "error",
        "A log-prob above 0.",
        "No probability exceeds 1: the value is a density, a score, or a renormalised probability.",
        "Take the log-softmax of the logits at the sampled token.",
        '"log_prob": 3.2',
        "Rounding in 16 bits if a response is almost certain; the threshold allows for it.",
        needs=("log_prob",),
        thresholds=(
            Threshold(
                "positive-log-prob.nats", 0.001, "value above which a log-prob is positive", "rounding of 32-bit sums"
            ),
        ),
    ),
    Check(
        "zero-log-prob",
        "log-probs",
        "error",
        "Log-probs that are exactly 0.",
        "The field was never filled: not every token of every response can have probability 1.",
        "Ask the sampler for log-probs, and check the mask.",
        '"log_prob": 0.0 in every record',
        "One-token answers of which the policy is certain. Fully masked responses.",
        needs=("log_prob",),
        otherwise="warning if it is only some of the responses of more than one token",
    ),
    Check(
        "unfilled-log-prob",
        "log-probs",
        "warning",
        "A token with a log-prob of exactly 0 whose other log-prob is below −1.",
        "The sampler gave no log-prob for this token and the 0 of an empty list stayed, which says that it was certain."
        " That token alone can dominate the log-ratio, and so the loss.",
        "Find out why the log-prob is missing, and drop the response or score it again. Fill the list with NaN, not"
        " with 0, so that a gap is refused.",
        '"log_prob": [-0.4, -10.8, -0.6] beside "old_log_prob": [-0.4, 0.0, -0.6]',
        "Log-probs of a sampler that takes the likeliest token (temperature 0, top-k 1), if they are those after these"
        " settings: there a 0 is right, and the other log-prob is of another distribution. Rounding makes a 0 only of"
        " what is near to it. Found only where both log-probs are lists; the first such token of a response counts.",
        needs=("two_policies",),
    ),
    Check(
        "shifted-log-prob",
        "log-probs",
        "warning",
        "Two lists of log-probs that fit far better if one of them is moved by one token.",
        "A mask or a slice that is off by one pairs each log-prob with that of the neighbouring token, so the ratio of"
        " every token is noise, though both lists are right and equally long.",
        "Find where one of the lists is cut: logits predict the next token, so those of a response begin one token"
        " before it. Then write the dump again.",
        '"log_prob": [-0.1, -2.3, -0.4, …] beside "old_log_prob": [-2.3, -0.4, -0.7, …]',
        "Texts in which one token is repeated. Looked for in the first 64 tokens of responses of 8 or more whose"
        " lists differ by more than 0.05 nats per token as they are; moved, they have to be 4 times as close.",
        needs=("two_policies",),
        thresholds=(
            Threshold(
                "shifted-log-prob.share",
                0.01,
                "share of the responses with both lists from which it is reported",
                "a mask is wrong for many responses, or for those of one kind",
            ),
        ),
    ),
    Check(
        "low-effective-sample-size",
        "log-probs",
        "warning",
        "Few responses carry most of the importance weight.",
        "The weight of a response is e^k, k its log-ratio. With (Σw)² / Σw² far below the number of responses, a step"
        " that is corrected by these weights rests on a few of them, and one that is not corrected is off-policy.",
        "Look at the responses with the largest weights (`policies` in the JSON). Truncate the weights or weight tokens"
        " instead of sequences, make sampler and trainer compute alike (precision, kernels, the same weights), or"
        " generate less ahead of the update.",
        "an effective sample size of 41.2 of 512 responses",
        "Long responses: the weight of a sequence is the product over its tokens, so small differences add up. Nothing"
        " is said of a policy and its reference, whose weights correct nothing: log-probs of a sampler that were mapped"
        " to `old_log_prob` belong to `sampler_log_prob`.",
        needs=("sampler",),
        thresholds=(
            Threshold(
                "low-effective-sample-size.share",
                0.3,
                "share of the responses below which the effective sample size is low, from 16 responses",
                "verl's documentation of rollout correction warns below 0.3",
            ),
        ),
    ),
    Check(
        "mean-weight-off",
        "log-probs",
        "warning",
        "A mean importance weight far from 1 between trainer and sampler.",
        "The mean of π(y)/μ(y) over responses sampled from μ is 1 in expectation. Far from it, the responses were not"
        " sampled from the policy in `sampler_log_prob`, or the weight is on responses that were not among them.",
        "Compare temperature, top-p and the chat template of both, check that both log-probs are of the same tokens,"
        " and look at the worst tokens (`policies` in the JSON).",
        "a mean weight of 0.034 over 512 responses",
        "Few, long responses: the mean depends on weights that are rare and huge, and is below 1 in most samples.",
        needs=("sampler",),
        thresholds=(
            Threshold(
                "mean-weight-off.factor",
                2,
                "factor from 1, above or below, beyond which it is far, from 16 responses",
                "verl's documentation of rollout correction warns below 0.5 and above 2",
            ),
        ),
    ),
    Check(
        "equals-reference",
        "log-probs",
        "info",
        "Both log-probs are equal everywhere.",
        "Every log-ratio is 0, so the KL term has no effect; its gradient is that of the first update only.",
        "This is expected right after the reference was set. Otherwise two names may point to the same field.",
        '"log_prob": -12.5, "old_log_prob": -12.5',
        "A fresh policy, or `--field old_log_prob=` mapped to the same place on purpose. A trainer that makes one"
        " update with each batch and writes its own log-probs as those of the sampler.",
        needs=("log_ratio",),
        thresholds=(
            Threshold(
                "equals-reference.step",
                1,
                "last step after which the policy may be the reference; beyond it this is an error, from 16 responses",
                "before the first update both are one model",
            ),
        ),
        otherwise="error if steps say that the policy has been updated",
    ),
    Check(
        "averaged-log-prob",
        "log-probs",
        "warning",
        "Log-probs that do not grow with the length.",
        "They look like averages over tokens; the loss needs sums, and with averages α has a different meaning.",
        "Sum them, or multiply by the length.",
        '"log_prob": -0.31 for 900 tokens',
        "Responses that are almost certain, as at temperature 0.",
        needs=("log_prob", "length"),
        thresholds=(
            Threshold(
                "averaged-log-prob.nats",
                0.01,
                "nats per token below which a sum is implausible",
                "sampled text has 0.05 to 1",
            ),
            Threshold(
                "averaged-log-prob.tokens",
                32,
                "mean length from which this is checked",
                "shorter responses may be certain",
            ),
            Threshold(
                "averaged-log-prob.spread",
                0.75,
                "standard deviation of the log-probs, as a share of their mean, below which 16 responses or more make"
                " this an error",
                "averages are alike (0.2 to 0.5); sums of tokens that are almost certain are not (1 or more)",
            ),
        ),
        otherwise="error if all are about as large, as sums over responses of different lengths are not",
    ),
    Check(
        "implausible-log-prob",
        "log-probs",
        "warning",
        "More nats per token than a uniformly random token would have.",
        "The length counts something other than tokens (turns?), or the log-prob belongs to another text.",
        "Check both fields on one response.",
        '"log_prob": -165.9 for 3 tokens',
        "Responses that the policy did not sample itself.",
        needs=("log_prob", "length"),
        thresholds=(
            Threshold(
                "implausible-log-prob.nats",
                11,
                "mean number of nats per token",
                "a uniform choice among 60,000 tokens has 11",
            ),
        ),
    ),
    Check(
        "log-ratio-large",
        "log-probs",
        "warning",
        "A large log-ratio per token.",
        "Policy and reference were computed differently (temperature, precision, mask), or have drifted far apart.",
        "Score one batch with both before the first update: the log-ratio should be near 0.",
        "−165.9 and −89.2 nats over 800 tokens: 0.096 per token",
        "A reference that was fixed long ago, such as the model before training.",
        needs=("log_ratio", "length"),
        thresholds=(
            Threshold(
                "log-ratio-large.nats",
                0.05,
                "mean size of the log-ratio per token, outliers apart",
                "NeMo-RL's guide: a multiplicative error above 1.05 per token is a problem",
            ),
        ),
    ),
    Check(
        "unrelated-reference",
        "log-probs",
        "error",
        "The reference's log-probs do not follow the policy's.",
        "They belong to other responses, as where one of two lists is shifted by a record or sorted, so every log-ratio"
        " compares two texts.",
        "Look at how the two are joined; score one batch again with both policies.",
        "0.2 and 0.7 nats per token, then 0.7 and 0.3, then 0.3 and 0.5",
        "A reference so far away that it finds other responses likely. Checked only where the log-ratio is large"
        " (`log-ratio-large`), in 16 responses or more that are not all alike in nats per token.",
        needs=("log_ratio",),
        thresholds=(
            Threshold(
                "unrelated-reference.correlation",
                0.3,
                "correlation of the logarithms of both, per token, below which they are unrelated",
                "0.999 in the sample, 0.1 after a shift by one record",
            ),
        ),
    ),
    Check(
        "log-ratio-outlier",
        "log-probs",
        "warning",
        "A few responses with a huge log-ratio.",
        "Squared, they dominate the loss; frameworks hide them by clamping.",
        "Look at the tokens of these responses for a special token, a different mask or a truncated text.",
        "log-ratio −12 where others have 0.05",
        "Responses that are very much longer than the others.",
        needs=("log_ratio",),
        thresholds=(
            Threshold(
                "log-ratio-outlier.nats",
                20,
                "size above which a log-ratio is an outlier, unless the log-ratio is large as a whole",
                "verl's clamp",
            ),
            Threshold(
                "log-ratio-outlier.times",
                64,
                "multiple of the median size from which a log-ratio is an outlier, if it is 8 nats or more; the median"
                " and the result are rounded up to powers of two",
                "a response eight times as long as the median has one of eight times the size, and of normally"
                " distributed ones none is 8 times the median in 10 million",
            ),
            Threshold(
                "log-ratio-outlier.share",
                0.1,
                "largest share of responses that still counts as outliers",
                "beyond it the log-ratio is large as a whole",
            ),
        ),
    ),
    Check(
        "negative-k1",
        "log-probs",
        "info",
        "A mean log-ratio clearly below 0.",
        "On samples from the policy it estimates a KL divergence, which is never negative: the responses were not"
        " sampled from the policy in `log_prob`, or the two log-probs are swapped.",
        "This is expected if `old_log_prob` is the sampler's and the policy has been updated since. Otherwise check the"
        " field names.",
        "k1 −0.8 ± 0.1",
        "Off-policy responses: the reference is the sampler.",
        needs=("log_ratio",),
        thresholds=(
            Threshold(
                "negative-k1.standard-errors",
                3,
                "standard errors below 0, clustered by prompt",
                "1 in 700 by chance",
            ),
        ),
    ),
]

IDENTITY = [
    Check(
        "duplicate-keys",
        "identity",
        "warning",
        "A key that occurs twice in one object.",
        "The last value counts here; other readers take the first or reject the line, so one dump has two losses.",
        "Find out which part of the writer adds the key again.",
        '{"prompt_id": "p", "reward": 0, "reward": 1}',
        "Keys of objects that nothing reads.",
        needs=("records", "keys"),
    ),
    Check(
        "mixed-id-types",
        "identity",
        "warning",
        "Some prompt ids are integers and others are strings.",
        '`1` and `"1"` are two prompts here, but one prompt to other readers.',
        "Write all ids as strings.",
        '"prompt_id": 7 and "prompt_id": "7"',
        "Two data sets in one dump.",
    ),
    Check(
        "recurring-ids",
        "identity",
        "warning",
        "Prompt ids that come back in another file, with as many responses as before, while no record has a step.",
        "If each file is a step of its own, groups of several steps are measured against one baseline.",
        "Give `--ids-per-file` if each file is a step of its own, or `--group prompt` if they belong together. Of"
        " summaries: summarize again with `--ids-per-file`.",
        "ids 0 to 63 in 1.jsonl, and again in 2.jsonl",
        "Shards of one step, over which the responses to each prompt were spread evenly. Not checked where a cluster"
        " merges prompts in shards.",
    ),
    Check(
        "id-over-texts",
        "identity",
        "warning",
        "One prompt id stands for several prompt texts.",
        "Responses to different questions are measured against one baseline.",
        "Group by the text (`--field 'prompt_id=digest(prompt)'`), or make whatever else distinguishes them part of the"
        " id: `--field 'prompt_id=[env, prompt_id]'`.",
        'id 7: "2 + 2 = ?" and "3 + 3 = ?"',
        "Prompts that contain a date or randomly chosen examples; groups whose context grows from turn to turn.",
        needs=("records", "text"),
    ),
    Check(
        "text-under-ids",
        "identity",
        "warning",
        "One prompt text occurs under several prompt ids.",
        "Responses to one question are split into groups, each with its own baseline.",
        "Group by the text: `--field 'prompt_id=digest(prompt)'`.",
        '"2 + 2 = ?" as ids 7 and 8',
        "The same prompt in several steps: map the step (`--field step=PATH`). Games with a hidden secret.",
        needs=("records", "text"),
        otherwise="info if all prompts have the same text",
    ),
    Check(
        "scattered-answers",
        "identity",
        "error",
        "Equal answers are spread over prompt ids as if these were drawn by lot.",
        "The ids belong to other records, so responses to different questions are measured against one baseline.",
        "Look at how ids and responses are joined, as where one of two lists was shuffled or sorted.",
        'six times "x = 7", under five prompt ids, and always with the reward 1',
        "One question under many ids, with several wordings of the right answer and no prompt text in the records."
        " Found only where the first records hold short answers: several right ones that come again, each with one"
        " reward.",
        needs=("records",),
    ),
    Check(
        "duplicate-records",
        "identity",
        "warning",
        "Every response to a prompt occurs several times, or a step repeats the responses of an earlier one.",
        "The same responses are counted repeatedly, so standard errors and group sizes are wrong. A resumed run wrote a"
        " step again, in whole or from where it resumed, or files overlap.",
        "Remove the copies, or leave out the overlapping files: `awk '!seen[$0]++' FILE >once.jsonl` keeps the first of"
        " lines that are equal byte for byte.",
        "the same eight lines again",
        "Two requests for a group with one seed, if other prompts stand between them or all prompts are such;"
        " rollouts that are reused for several updates and written with each. In another order than the first, copies"
        " are found only if nearly every record that has a log-prob or a long text occurs as often, and prompts have"
        " several different ones: greedy sampling repeats one. A step repeats another if nine tenths of its responses"
        " or more have the numbers and texts of that one's, and few responses to a prompt are equal. By default,"
        " responses with equal log-probs and lengths count as equal; with `--text`, their texts decide. Short texts,"
        " and rewards and lengths where there are no log-probs, count if more prompts repeat than chance explains, in"
        " the order of the first. In dumps of more than 262,144 responses, a sample is checked. Rows of rollouts are"
        " compared by rollout, turn and numbers.",
        needs=("records",),
        thresholds=(
            Threshold(
                "duplicate-records.share",
                0.1,
                "share of prompts, of rows of rollouts, or of responses (of a step) that makes it an error",
                "two requests with one seed are few",
            ),
        ),
        otherwise="error from a share of 0.1",
    ),
    Check(
        "identical-responses",
        "identity",
        "info",
        "Responses that repeat another response to the same prompt.",
        "The responses to a prompt should be independent draws; copies come from a shared seed or a temperature of 0.",
        "Give each request its own seed.",
        "two responses with the same length and the same log-prob to the last bit",
        "Short answers repeat by chance. By default, responses with equal log-probs and lengths count as equal; with"
        " `--text`, their texts decide. In dumps of more than 262,144 responses, a sample is checked.",
        needs=("records",),
        thresholds=(
            Threshold(
                "identical-responses.share",
                0.1,
                "share of responses at which this becomes a warning",
                "a convention of this tool",
            ),
        ),
        otherwise="warning from a share of 0.1",
    ),
]

CHECKS = {check.code: check for check in (*RECORDS, *GROUPS, *BUDGET, *LENGTHS, *LOG_PROBS, *IDENTITY)}
TOPICS = tuple(dict.fromkeys(check.topic for check in CHECKS.values()))
THRESHOLDS = {threshold.name: threshold.default for check in CHECKS.values() for threshold in check.thresholds}
