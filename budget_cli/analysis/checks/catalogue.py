"""Every check: its code, how bad it is, why it matters, what to do, and when it is wrong. Computes nothing.

The one source of `docs/checks.md`, of `check --explain` and of the words of a finding. A threshold says where it comes
from.
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
    title: str  # when it is found
    why: str
    remedy: str
    example: str
    false_alarms: str
    needs: tuple[str, ...] = ()  # those of rendering.catalogue.NEEDS
    thresholds: tuple[Threshold, ...] = ()
    otherwise: str = ""  # when it has another severity


RECORDS = [
    Check(
        "non-finite",
        "records",
        "error",
        "`NaN`, `Infinity` or a number beyond the range of a double.",
        "One such number in a mean makes the mean one too, and other readers make null or 0 of it without a word.",
        "Find out why the reward function or the log-prob was not a number; drop the sample where it is made.",
        '{"prompt_id": "p", "reward": NaN}',
        "None: `NaN` is not JSON. Some writers mean `no reward` by it: then leave the record out.",
    ),
    Check(
        "number-as-string",
        "records",
        "error",
        "A string that looks like a number, where a number should be.",
        "The writer turned numbers into text (numpy scalars through `default=str` do that), so other readers sort and"
        " compare them as text.",
        "Write numbers: `float(x)` before `json.dumps`. Or map the field to an expression: "
        "`--field 'reward=to_number(reward)'`.",
        '{"prompt_id": "p", "reward": "0.5"}',
        "None for the loss: it takes numbers only.",
    ),
    Check(
        "wrong-type",
        "records",
        "error",
        "A value of another JSON type than the field's.",
        "`true` is not 1 and a list is not a number; what one reader makes of it another does not.",
        "Say where the number is with `--field NAME=PATH`, or mend the writer.",
        '{"prompt_id": "p", "reward": true}',
        "The path is one level too high or too low: `budget-cli fields` shows what is where.",
    ),
    Check(
        "null",
        "records",
        "error",
        "`null` where the loss needs a value.",
        "Missing is not 0: counted as 0 it would shift the baseline of every other response to the prompt.",
        "Leave such samples out of the dump, or allow so many with `--max-errors`.",
        '{"prompt_id": "p", "reward": null}',
        "Failed episodes that the writer keeps on purpose.",
    ),
    Check(
        "missing",
        "records",
        "error",
        "A record without a field that the loss needs.",
        "The record is not used, and its prompt's baseline is that of the others alone.",
        "`--field NAME=PATH` says where it is; `--kl-coef 0` and `--budget-penalty-coef 0` do without log-probs and"
        " lengths.",
        '{"prompt_id": "p", "score": 1.0}',
        "Lines that are no samples (a header, a summary): use the preset of that dump.",
    ),
    Check(
        "wrong-value",
        "records",
        "error",
        "A value of the right type that cannot be: half a token, an empty list.",
        "The field is not what it is taken for.",
        "Look at the field in that line; map another with `--field`.",
        '{"prompt_id": "p", "reward": 1, "response_length": 12.5}',
        "Lengths that are averages over turns.",
    ),
    Check(
        "inexact-id",
        "records",
        "error",
        "A prompt id that is an integer too large to be exact.",
        "From 2^63 on, and as a float from 2^53 on, readers merge different ids into one prompt.",
        "Write ids as strings.",
        '{"prompt_id": 18446744073709551616, "reward": 1}',
        "None.",
    ),
    Check(
        "unequal-lengths",
        "records",
        "error",
        "Arrays that belong together and differ in size.",
        "Which response a number belongs to can no longer be said.",
        "Look for a response that was filtered from one array only, or for lists cut at different places.",
        '{"prompt_id": "p", "rewards": [1, 0], "log_probs": [-3.5]}',
        "Log-probs of which one list includes the end-of-sequence token.",
    ),
    Check(
        "not-an-object",
        "records",
        "error",
        "A line whose JSON is not an object.",
        "A record is an object; a list may be a whole batch, which needs a preset.",
        "`budget-cli fields` says which preset fits; `jq -c '.[]'` takes a list apart.",
        "[1.0, 0.5]",
        "Dumps with a list a line (PipelineRL): `--preset pipeline-rl`.",
    ),
    Check(
        "not-json",
        "records",
        "error",
        "A line that is not JSON.",
        "Something else was written into the file: a log line, two writers at once, two records on a line.",
        "Give every process a file of its own, and write a record with one call.",
        "INFO saving rollouts",
        "None.",
    ),
    Check(
        "truncated-tail",
        "records",
        "error",
        "The last line has no end.",
        "The writer was stopped, or is still writing: what comes after is missing, and nobody knows how much.",
        "Wait for the writer, or accept it with `--allow-truncated-tail`.",
        '{"prompt_id": "p", "rewa',
        "A dump that is read while training goes on.",
    ),
    Check(
        "invalid-utf8",
        "records",
        "error",
        "Bytes that are not UTF-8.",
        "The line is damaged, or in another encoding; replaced silently, two texts may become one.",
        "Write UTF-8; `iconv` converts a file of another encoding.",
        "a Latin-1 \\xe9 in a text",
        "None.",
    ),
    Check(
        "lone-surrogate",
        "records",
        "error",
        "Half of a `\\u` surrogate pair.",
        "No Unicode text has one; it comes from cutting a string in the middle of a character.",
        "Cut texts by characters before they are escaped.",
        '{"prompt_id": "p", "reward": 1, "text": "\\ud83d"}',
        "None.",
    ),
    Check(
        "nul-bytes",
        "records",
        "error",
        "A run of NUL bytes.",
        "A crash or a full disk left a hole in the file: records are missing there.",
        "Write the file again; check the disk.",
        "\\x00\\x00\\x00\\x00",
        "None.",
    ),
    Check(
        "too-deep",
        "records",
        "error",
        "Nesting of more than 1,024 levels.",
        "Readers give up on it at different depths, some with a crash.",
        "Do not write objects that contain themselves.",
        "[[[[…",
        "None.",
    ),
    Check(
        "line-too-long",
        "records",
        "error",
        "A line beyond `--max-line-bytes` (64 MiB).",
        "It is not held in memory, so it is not used.",
        "Raise the limit, or write one record a line.",
        "a whole step's arrays in one line",
        "Dumps with a step a line: raise the limit.",
    ),
]

GROUPS = [
    Check(
        "constant-reward",
        "groups",
        "warning",
        "Every reward of the dump is the same.",
        "All advantages are 0 but for the penalty: nothing is learnt from the rewards. A verifier that fails says 0 of"
        " everything.",
        "Run the verifier on one response by hand; look at its errors.",
        "64 responses, every reward 0",
        "A few records, or an evaluation that is solved.",
    ),
    Check(
        "zero-variance",
        "groups",
        "info",
        "Prompts whose responses all have the same reward.",
        "Their advantages are 0, so their responses cost compute and teach nothing. With binary rewards a share of"
        " p^G + (1 − p)^G comes from chance alone.",
        "Filter them, sample more responses a prompt, or choose prompts that are neither too easy nor too hard.",
        "prompt p: rewards 1, 1, 1, 1",
        "Easy prompts late in training. With one pass rate for all prompts the expected share is a lower bound: prompts"
        " differ in difficulty.",
        thresholds=(
            Threshold(
                "zero-variance.share",
                0.5,
                "share of prompts from which it is a warning, where that is more than chance gives",
                "the zero-variance advisory of the miles dashboard",
            ),
        ),
        otherwise="warning from a share of 0.5 that chance does not explain",
    ),
    Check(
        "zero-variance-filtered",
        "groups",
        "info",
        "Far fewer zero-variance prompts than chance alone gives.",
        "Such prompts were dropped before the dump was written (dynamic sampling), so its pass rate is not that of the"
        " policy.",
        "Compare pass rates before the filter only.",
        "200 prompts of 4 responses, pass rate 50%, none of equal rewards",
        "Rewards that are drawn without replacement, such as ranks.",
    ),
    Check(
        "phantom-advantage",
        "groups",
        "warning",
        "Prompts with equal rewards and unequal penalties.",
        "Whatever these prompts teach is about length alone, also where every answer is wrong; filters on variance keep"
        " them, and training has collapsed from it.",
        "Give the penalty to correct answers only, or drop zero-variance prompts before the penalty.",
        "prompt p: rewards 0, 0, 0, lengths 900, 1100, 1400, budget 1024",
        "A penalty that is meant to shorten wrong answers, too.",
        needs=("budget",),
    ),
    Check(
        "penalty-cancels",
        "groups",
        "info",
        "Prompts whose rewards differ and whose adjusted rewards do not.",
        "The penalty makes up exactly for what the rewards say, so the prompt teaches nothing.",
        "Choose a penalty that is no round fraction of the reward.",
        "rewards 1 and 0, penalties 1 and 0",
        "None known; it is rare.",
        needs=("budget",),
    ),
    Check(
        "best-response-changes",
        "groups",
        "info",
        "Prompts in which another response is best once the penalty is taken off.",
        "There the penalty outranks the reward: a shorter, worse answer is preferred.",
        "Lower β, raise the budget, or give the penalty to correct answers by their length only.",
        "rewards 1 and 0, lengths 1200 and 300, budget 1024, β 0.01: 1 − 1.76 < 0",
        "It is what a penalty is for, in moderation.",
        needs=("records", "budget"),
    ),
    Check(
        "singleton",
        "groups",
        "warning",
        "Prompts with one response.",
        "A mean of one is the response itself: the advantage is 0. Where all are, the id is probably one of its own a"
        " response.",
        "Map the prompt's id: `--field prompt_id=PATH`; an id `uid_3` becomes `uid` by ``stem(uid, '_', `1`)``.",
        '{"prompt_id": "a_0", …} and {"prompt_id": "a_1", …}',
        "The last prompt of a dump that was cut.",
    ),
    Check(
        "uneven-groups",
        "groups",
        "warning",
        "Prompts with different numbers of responses.",
        "A trainer that cuts a batch every G records mixes prompts; and the mean over responses is not the mean over"
        " prompts (`--aggregate prompt`).",
        "Find out which responses are missing: failed, filtered or late ones.",
        "8 responses to most prompts, 7 to one",
        "Samplers that give hard prompts more responses; several samples of one rollout.",
    ),
    Check(
        "doubled-group",
        "groups",
        "warning",
        "Prompts with a multiple of the usual number of responses.",
        "Two groups lie under one id (the same prompt twice in a step, or in two steps), and each is measured against"
        " the other's baseline.",
        "Make the step, or the draw, a part of the id: `--field 'prompt_id=[step, prompt_id]'`.",
        "8 responses to most prompts, 16 to one",
        "Samplers that double the responses to hard prompts.",
    ),
    Check(
        "stored-advantage",
        "groups",
        "warning",
        "The trainer's advantages do not add up to 0 over a prompt, or are all 0 where rewards differ.",
        "Then the trainer had another baseline, or other groups, than this dump's prompt ids say.",
        "Check `--field prompt_id=…`; compare with the trainer's advantage estimator.",
        "advantages 0.5, 0.5, −0.25",
        "Estimators without a group mean: GAE, REINFORCE++ with a batch mean, length-weighted baselines (OPO).",
        needs=("records", "advantage"),
        thresholds=(
            Threshold(
                "stored-advantage.share",
                0.01,
                "mean of a prompt's advantages over their root mean square",
                "rounding of advantages stored in 16 bits",
            ),
        ),
    ),
]

BUDGET = [
    Check(
        "budget-never-reached",
        "budget",
        "warning",
        "No response is over the budget.",
        "The penalty is 0 everywhere: the budget does nothing.",
        "Is the budget in the same unit as the lengths? DAPO's is the maximum length minus the buffer.",
        "the longest response has 800 tokens, `-B 1024`",
        "A policy that has learnt to keep to its budget.",
        needs=("budget",),
    ),
    Check(
        "budget-always-exceeded",
        "budget",
        "warning",
        "Every response is over the budget.",
        "The penalty is a straight line in length then, and rewards short answers of any quality.",
        "Is the budget that of the response, without the prompt? Raise it, or lower β.",
        "the shortest response has 1,200 tokens, `-B 1024`",
        "A dump from before the budget was introduced.",
        needs=("budget",),
    ),
    Check(
        "penalty-outweighs-reward",
        "budget",
        "warning",
        "Penalties larger than the whole range of the rewards.",
        "Then a wrong short answer is worth more than a right long one.",
        "Choose β near the range of the rewards divided by the largest excess; cap it as DAPO does.",
        "rewards 0 and 1, β 0.01, 400 tokens over: a penalty of 4",
        "Lengths far beyond the budget that the policy does not produce any more.",
        needs=("budget",),
        thresholds=(
            Threshold(
                "penalty-outweighs-reward.times",
                1.0,
                "largest penalty of a prompt, in ranges of the reward",
                "at 1 the worst right answer falls to the best wrong one",
            ),
        ),
    ),
    Check(
        "penalty-in-reward",
        "budget",
        "warning",
        "Few reward values within the budget, other and lower ones over it.",
        "The stored rewards look as if the penalty had been taken off already; taking it off again counts it twice.",
        "`--budget-penalty-coef 0`, or map the reward before shaping.",
        "rewards 0 and 1 within the budget; 0.83, 0.61, −0.2 over it",
        "Rewards with partial credit that only long answers earn.",
        needs=("budget",),
        thresholds=(
            Threshold(
                "penalty-in-reward.values",
                4,
                "distinct rewards within the budget, at most",
                "a correctness of two values, and a format bonus",
            ),
        ),
    ),
]

LENGTHS = [
    Check(
        "some-without-length",
        "lengths",
        "warning",
        "Some responses have a length and others none.",
        "With a budget such records are rejected; without one, length statistics would be of a part only.",
        "Find out which writer leaves it out.",
        '"response_length": null in some records',
        "Failed episodes.",
        needs=("length",),
    ),
    Check(
        "all-lengths-zero",
        "lengths",
        "warning",
        "Every length is 0.",
        "The field is there and was never filled: with a budget that reads as `nobody is over`.",
        "Map another field where the records have one (`budget-cli fields` lists them), as in `--field"
        " 'response_length=length(token_ids)'`; else `--budget-penalty-coef 0`.",
        '"num_output_tokens": 0 in every record',
        "None.",
        needs=("length",),
        otherwise="error where a budget is given",
    ),
    Check(
        "zero-length",
        "lengths",
        "warning",
        "Responses of 0 tokens.",
        "A response that was aborted or masked entirely still has a reward and moves its prompt's baseline.",
        "Leave such samples out before the baseline is taken.",
        '{"prompt_id": "p", "reward": 0, "response_length": 0}',
        "Policies that may say nothing.",
        needs=("length",),
    ),
    Check(
        "token-count-differs",
        "lengths",
        "error",
        "The length is not the number of the log-probs beside it.",
        "Length and log-probs come from different tokenisations or masks, so penalty and log-ratio are of different"
        " texts.",
        "Take both from the sampler; never tokenise the text again.",
        '"response_length": 12 beside a list of 15 log-probs',
        "Lengths that count tool output and log-probs that do not.",
        needs=("length", "log_prob"),
        otherwise="warning where all differ by one, as with an end-of-sequence token that one leaves out, or most by"
        " more than a factor of 2, as with log-probs of stretches of text",
    ),
    Check(
        "length-is-characters",
        "lengths",
        "warning",
        "Lengths as large as the number of characters.",
        "The budget is in tokens; in characters it is reached three to four times too early.",
        "Map the number of tokens.",
        '"response_length": 16 for a text of 16 characters',
        "Scripts and tokenisers with about a token a character (Chinese, bytes).",
        needs=("records", "length", "text"),
        thresholds=(
            Threshold(
                "length-is-characters.share",
                0.9,
                "tokens a character, from which on they are no tokens",
                "English has 3 to 4 characters a token",
            ),
        ),
    ),
    Check(
        "length-is-turns",
        "lengths",
        "warning",
        "Lengths far too small for the texts.",
        "They count turns, messages or words of a header, not tokens: nobody is ever over a budget.",
        "Map the number of tokens.",
        '"response_length": 3 for a text of 2,000 characters',
        "Texts that hold more than the response, such as tool output that is not counted.",
        needs=("records", "length", "text"),
        thresholds=(
            Threshold(
                "length-is-turns.characters",
                50,
                "characters a token, in the mean",
                "the longest tokens of common vocabularies are below",
            ),
        ),
    ),
    Check(
        "truncated",
        "lengths",
        "info",
        "Responses that were cut off, by their finish reason.",
        "A cut answer is scored as wrong for its length; many of them teach brevity, or that nothing helps.",
        "Raise the maximum length, or leave cut responses out of the loss.",
        '"finish_reason": "length"',
        "Dumps whose reason is that of the last turn only.",
        needs=("finish_reason",),
        thresholds=(
            Threshold(
                "truncated.share",
                0.25,
                "share of responses from which it is a warning",
                "the truncation advisory of the miles dashboard",
            ),
        ),
        otherwise="warning from a share of 0.25",
    ),
    Check(
        "at-maximum",
        "lengths",
        "warning",
        "Many responses have the same, maximum length.",
        "They were probably cut off; a cut answer is scored as wrong for its length.",
        "Raise the maximum length; map the finish reason to be sure (`--field finish_reason=PATH`).",
        "9 of 48 responses have 2,048 tokens, no other length occurs three times",
        "Answers of a fixed form. Not looked for where there is a finish reason.",
        needs=("length",),
        thresholds=(
            Threshold(
                "at-maximum.share",
                0.05,
                "share of responses at the maximum, three times as many as at a length near it",
                "a spike that a smooth distribution does not have",
            ),
        ),
    ),
]

LOG_PROBS = [
    Check(
        "some-without-log-prob",
        "log-probs",
        "warning",
        "Some responses have a log-prob and others none.",
        "With `--kl-coef` such records are rejected; the log-ratio of the rest is that of a part.",
        "Find out which responses were not scored.",
        '"old_log_prob": null in some records',
        "Responses that the trainer filtered before scoring.",
        needs=("log_prob",),
    ),
    Check(
        "positive-log-prob",
        "log-probs",
        "error",
        "A log-prob above 0.",
        "No probability is above 1: it is a density, a score, or a probability that was normalised again.",
        "Take the log-softmax of the logits at the sampled token.",
        '"log_prob": 3.2',
        "Rounding in 16 bits where a response is almost certain; the threshold allows for it.",
        needs=("log_prob",),
        thresholds=(
            Threshold("positive-log-prob.nats", 0.001, "from which on it is above 0", "rounding of sums in 32 bits"),
        ),
    ),
    Check(
        "zero-log-prob",
        "log-probs",
        "error",
        "Log-probs that are exactly 0.",
        "They were never filled in: probability 1 for every token of every response is none.",
        "Ask the sampler for log-probs; check the mask.",
        '"log_prob": 0.0 in every record',
        "One-token answers of which the policy is certain. Masked-out responses.",
        needs=("log_prob",),
        otherwise="warning where it is only some of the responses of more than one token",
    ),
    Check(
        "equals-reference",
        "log-probs",
        "info",
        "Both log-probs are equal everywhere.",
        "Every log-ratio is 0: the KL term does nothing, and its gradient is that of the first update only.",
        "Expected right after the reference was set; else two names may point to one field.",
        '"log_prob": -12.5, "old_log_prob": -12.5',
        "A fresh policy, or `--field old_log_prob=` mapped to the same place on purpose.",
        needs=("log_ratio",),
    ),
    Check(
        "averaged-log-prob",
        "log-probs",
        "warning",
        "Log-probs that do not grow with the length.",
        "They look averaged over tokens; the loss needs their sum, and α means something else otherwise.",
        "Sum them, or multiply by the length.",
        '"log_prob": -0.31 for 900 tokens',
        "Responses that are almost certain, as at temperature 0.",
        needs=("log_prob", "length"),
        thresholds=(
            Threshold(
                "averaged-log-prob.nats",
                0.01,
                "nats a token, below which a sum is implausible",
                "sampled text has 0.05 to 1",
            ),
            Threshold(
                "averaged-log-prob.tokens",
                32,
                "mean length from which on it is judged",
                "shorter responses may be certain",
            ),
        ),
    ),
    Check(
        "implausible-log-prob",
        "log-probs",
        "warning",
        "More nats a token than a random choice of a token has.",
        "The length counts something else than tokens (turns?), or the log-prob is that of another text.",
        "Check both fields on one response.",
        '"log_prob": -165.9 for 3 tokens',
        "Responses that the policy did not sample itself.",
        needs=("log_prob", "length"),
        thresholds=(
            Threshold(
                "implausible-log-prob.nats",
                11,
                "nats a token, in the mean",
                "a uniform choice among 60,000 tokens has 11",
            ),
        ),
    ),
    Check(
        "log-ratio-large",
        "log-probs",
        "warning",
        "A large log-ratio a token.",
        "Policy and reference were computed differently (temperature, precision, mask), or are far apart.",
        "Score one batch with both before the first update: the log-ratio should be near 0.",
        "−165.9 and −89.2 nats over 800 tokens: 0.096 a token",
        "A reference that was fixed long ago, such as the model before training.",
        needs=("log_ratio", "length"),
        thresholds=(
            Threshold(
                "log-ratio-large.nats",
                0.05,
                "size of the log-ratio a token, in the mean",
                "NeMo-RL's guide: a token multiplicative error above 1.05 is a problem",
            ),
        ),
    ),
    Check(
        "log-ratio-outlier",
        "log-probs",
        "warning",
        "A few responses with a huge log-ratio.",
        "Squared, they make up most of the loss; frameworks clamp them and so hide them.",
        "Look at the tokens of these responses: a special token, a different mask, a cut text.",
        "log-ratio 74 where others have 0.5",
        "Very long responses.",
        needs=("log_ratio",),
        thresholds=(
            Threshold("log-ratio-outlier.nats", 20, "size from which on it is one", "verl clamps there"),
            Threshold(
                "log-ratio-outlier.share",
                0.1,
                "share of responses up to which they are outliers",
                "beyond it the log-ratio is large as a whole",
            ),
        ),
    ),
    Check(
        "negative-k1",
        "log-probs",
        "info",
        "A mean log-ratio clearly below 0.",
        "Under the policy that sampled, it estimates a KL divergence, which is never negative: the responses are not of"
        " the policy in `log_prob`, or the two are swapped.",
        "Expected where `old_log_prob` is the sampler's and the policy has been updated since; else check the names.",
        "k1 −0.8 ± 0.1",
        "Off-policy responses: the reference is the sampler.",
        needs=("log_ratio",),
        thresholds=(
            Threshold("negative-k1.standard-errors", 3, "below 0, clustered by prompt", "one in 700 by chance"),
        ),
    ),
]

IDENTITY = [
    Check(
        "duplicate-keys",
        "identity",
        "warning",
        "A key that occurs twice in one object.",
        "The last one counts here; other readers take the first, or refuse the line, so the same dump has two losses.",
        "Find out which part of the writer adds the key again.",
        '{"prompt_id": "p", "reward": 0, "reward": 1}',
        "Keys of objects that nothing reads.",
        needs=("records", "keys"),
    ),
    Check(
        "mixed-id-types",
        "identity",
        "warning",
        "Prompt ids that are integers beside ids that are strings.",
        '`1` and `"1"` are two prompts here, and one in other readers.',
        "Write all ids as strings.",
        '"prompt_id": 7 and "prompt_id": "7"',
        "Two data sets in one dump.",
    ),
    Check(
        "id-over-texts",
        "identity",
        "warning",
        "One prompt id stands for several prompt texts.",
        "Responses to different questions are measured against one baseline.",
        "Make what tells them apart a part of the id: `--field 'prompt_id=[env, prompt_id]'`.",
        'id 7: "2 + 2 = ?" and "3 + 3 = ?"',
        "Prompts with a date or a sample of examples in them; groups whose context grows from turn to turn.",
        needs=("records", "text"),
    ),
    Check(
        "text-under-ids",
        "identity",
        "warning",
        "One prompt text under several prompt ids.",
        "Responses to one question are split into groups, each with a baseline of its own.",
        "Group by the text: `--field 'prompt_id=digest(prompt)'`.",
        '"2 + 2 = ?" as ids 7 and 8',
        "The same prompt in several steps: map the step (`--field step=PATH`). Games that keep a secret.",
        needs=("records", "text"),
        otherwise="info where all prompts have the same text",
    ),
    Check(
        "duplicate-records",
        "identity",
        "warning",
        "Every response of a prompt is there several times.",
        "The same responses are counted twice: standard errors and group sizes are wrong. A step was dumped twice, or"
        " files overlap.",
        "Remove the copies: `sort -u`, or the files that overlap.",
        "the same eight lines again",
        "None known. By default equal log-probs and lengths tell that responses are equal; with `--text` the texts do."
        " In more than 262,144 responses it is looked for in a sample.",
        needs=("records",),
    ),
    Check(
        "identical-responses",
        "identity",
        "info",
        "Responses that repeat another response to the same prompt.",
        "A prompt's responses should be independent draws; copies come from a shared seed or a temperature of 0.",
        "Give every request a seed of its own.",
        "two responses with the same length and the same log-prob to the last bit",
        "Short answers repeat by chance. By default equal log-probs and lengths tell; with `--text` the texts do."
        " In more than 262,144 responses it is looked for in a sample.",
        needs=("records",),
        thresholds=(
            Threshold(
                "identical-responses.share",
                0.1,
                "share of responses from which it is a warning",
                "a convention of this tool",
            ),
        ),
        otherwise="warning from a share of 0.1",
    ),
]

CHECKS = {check.code: check for check in (*RECORDS, *GROUPS, *BUDGET, *LENGTHS, *LOG_PROBS, *IDENTITY)}
TOPICS = tuple(dict.fromkeys(check.topic for check in CHECKS.values()))
THRESHOLDS = {threshold.name: threshold.default for check in CHECKS.values() for threshold in check.thresholds}
