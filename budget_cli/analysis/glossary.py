"""Every word that an answer uses: its definition, formula, meaning, and where it is shown. Computes nothing.

With the catalogue of the checks the single source of `budget-cli explain`, and of `docs/glossary.md`.
"""

import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from budget_cli.analysis.checks.catalogue import CHECKS, Check
from budget_cli.errors import UsageProblem, nearest


class Term(NamedTuple):
    """What a word stands for."""

    name: str
    definition: str  # one sentence
    formula: str  # with its unit
    meaning: str  # of a high and of a low value
    shown: tuple[tuple[str, str], ...] = ()  # a command, and the key of its JSON
    aliases: tuple[str, ...] = ()
    see: tuple[str, ...] = ()  # other terms, and codes of checks


PER_PROMPT = "loss --per-prompt"

LOSS = [
    Term(
        "loss",
        "The mean over responses of the squared difference between the advantage and the scaled log-ratio.",
        "mean of (A − α·k)²; reward²",
        "High: advantages are large (compare it with mean A²; a long penalty is a frequent reason), or the policy has"
        " moved where no advantage asks for it. Low: advantages are small, or α·k matches them.",
        (
            ("loss", "loss"),
            (PER_PROMPT, "per_prompt[].loss"),
            ("sweep", "cells[].loss"),
            ("compare", "loss"),
            ("annotate", "budget_cli.loss"),
            ("show", "prompts[].shown[].loss"),
        ),
        ("budget-aware loss",),
        ("components", "advantage", "log-ratio"),
    ),
    Term(
        "components",
        "The two parts of the loss: mean A², which the rewards and the penalty make, and the KL terms, which the"
        " log-ratio adds.",
        "loss = mean A² + KL terms, with KL terms = mean of α²·k² − 2·α·A·k; reward². The screen of loss shows both",
        "KL terms above 0: the policy has moved in directions that the advantages do not ask for, and pays for it."
        " Below 0: it has moved as they ask.",
        (),
        ("KL terms",),
        ("loss", "mean A²", "R²"),
    ),
    Term(
        "reward",
        "The number that the dump holds for a response, before any penalty of this tool.",
        "r; its mean, standard deviation (ddof 0), minimum and maximum over responses",
        "A mean near 0 or near the maximum: most prompts are too hard or too easy to teach. A standard deviation of 0:"
        " nothing but length can be learned.",
        (("loss", "reward"), (PER_PROMPT, "per_prompt[].reward_mean"), ("compare", "reward")),
        ("r",),
        ("adjusted reward", "solve rate", "constant-reward"),
    ),
    Term(
        "adjusted reward",
        "The reward minus the penalty for the tokens over the budget.",
        "r − β·e; reward",
        "Far below the reward: penalties are as large as what a right answer earns.",
        (
            ("loss", "adjusted_reward"),
            (PER_PROMPT, "per_prompt[].adjusted_reward_mean"),
            ("sweep", "cells[].adjusted_reward"),
            ("compare", "adjusted_reward"),
            ("annotate", "budget_cli.adjusted_reward"),
            ("show", "prompts[].shown[].adjusted_reward"),
        ),
        (),
        ("penalty", "penalty-outweighs-reward"),
    ),
    Term(
        "baseline",
        "The mean adjusted reward of the responses to a prompt, against which each of them is measured."
        " (The FILE of `check --baseline` is another thing: an earlier result.)",
        "mean of r − β·e over the prompt's responses; reward",
        "It is only as good as the group: a missing, copied or foreign response moves it for all the others.",
        (("annotate", "budget_cli.baseline"),),
        (),
        ("advantage", "centred", "group size"),
    ),
    Term(
        "advantage",
        "How much better the adjusted reward of a response is than the baseline of its prompt.",
        "A = (r − β·e) − mean of r − β·e over the prompt's responses; reward",
        "Above 0: the response is made more likely. Below 0: less likely. 0 in a whole prompt: it teaches nothing.",
        (
            ("annotate", "budget_cli.advantage"),
            ("show", "prompts[].shown[].advantage"),
        ),
        ("A",),
        ("mean A²", "centred", "budget share", "zero variance"),
    ),
    Term(
        "centred",
        "Said of an advantage that is the distance from the prompt's mean, and is not divided by its standard"
        " deviation.",
        "A = x − mean of x; GRPO divides it by std(x) + ε, RLOO takes the mean of the other responses",
        "Centred advantages keep the size of the rewards: doubling all rewards doubles them. Divided by a standard"
        " deviation, a prompt with equal rewards and unequal penalties gets advantages of full size at any β above 0.",
        (),
        ("centered", "mean-centred"),
        ("advantage", "baseline", "phantom", "stored-advantage"),
    ),
    Term(
        "mean A²",
        "The mean square of the advantages: the size of the learning signal, and the loss without the KL terms.",
        "mean of A² over responses; reward²",
        "High: rewards or penalties differ much within prompts. 0: no prompt teaches anything.",
        (
            ("loss", "advantage.mean_square"),
            (PER_PROMPT, "per_prompt[].advantage_mean_square"),
            ("sweep", "cells[].advantage.mean_square"),
        ),
        ("learning signal", "A2"),
        ("advantage", "budget share"),
    ),
    Term(
        "aggregate",
        "The unit over which the loss is averaged: responses, prompts or rows.",
        "response: the mean over all responses; prompt: the mean over prompts of each prompt's mean; row: a response"
        " counts as often as it has records",
        "The three agree where all prompts have the same number of responses and every response is one record."
        " Otherwise response favours large groups, and row favours rollouts of many turns.",
        (("loss", "aggregate"), ("sweep", "aggregate"), ("compare", "aggregate")),
        ("aggregate response", "aggregate prompt", "aggregate row"),
        ("loss", "row", "group size"),
    ),
]

LENGTH = [
    Term(
        "token budget",
        "The number of tokens that a response may have without a penalty; `-B`.",
        "B; tokens",
        "There is no default: it is a decision. Too low, and most responses are penalised; above the longest response,"
        " none is. `budget-cli sweep FILES --suggest` proposes some.",
        (("loss", "coefficients.token_budget"), ("sweep", "budgets[].token_budget")),
        ("B", "budget"),
        ("excess", "over budget", "β"),
    ),
    Term(
        "β",
        "The reward that a response loses per token over the budget; `--beta` or `--budget-penalty-coef`.",
        "β; reward per token, 0.01 by default",
        "High: length drowns the rewards. A start is the range of the rewards divided by the largest excess, so that"
        " the longest right answer still beats a short wrong one. 0: no penalty.",
        (("loss", "coefficients.budget_penalty_coef"), ("sweep", "cells[].coefficients.budget_penalty_coef")),
        ("beta", "budget penalty coef", "budget penalty coefficient"),
        ("penalty", "budget share", "half at β", "penalty-outweighs-reward"),
    ),
    Term(
        "response length",
        "The number of tokens of a response.",
        "L; tokens; percentiles (p50, p90, p99) are interpolated linearly",
        "p99 or the maximum at a round number: responses are cut off there. All equal: padded.",
        (
            ("loss", "length"),
            (PER_PROMPT, "per_prompt[].length_mean"),
            ("compare", "length"),
            ("show", "prompts[].shown[].length"),
        ),
        ("L", "length", "p50", "p90", "p99"),
        ("lengths from", "truncated", "at-maximum", "all-lengths-equal"),
    ),
    Term(
        "excess",
        "The number of tokens by which a response is longer than the budget; 0 if it is not.",
        "e = max(0, L − B); tokens",
        "What counts is how it differs within a prompt: equal excess of all responses shifts the baseline and leaves"
        " the advantages as they are.",
        (
            ("loss", "over_budget.excess_tokens"),
            ("loss", "over_budget.excess_mean"),
            ("show", "prompts[].shown[].excess"),
        ),
        ("e", "excess tokens", "overrun"),
        ("penalty", "over budget"),
    ),
    Term(
        "over budget",
        "Said of a response that is longer than the budget, by one token or more.",
        "L > B; a number of responses, and their share of all (from 0 to 1)",
        "Near 1: the budget is below what the tasks need, and all are pushed alike. 0: the penalty is idle.",
        (
            ("loss", "over_budget.responses"),
            ("loss", "over_budget.fraction"),
            (PER_PROMPT, "per_prompt[].over_budget"),
            ("sweep", "cells[].over_budget.fraction"),
            ("sweep", "budgets[].over"),
            ("compare", "over_budget"),
        ),
        ("over", "overlong"),
        ("excess", "token budget"),
    ),
    Term(
        "penalty",
        "The reward that a response loses for its tokens over the budget.",
        "β·e; reward",
        "Larger than the range of the rewards: a short wrong answer is worth more than a long right one.",
        (("annotate", "budget_cli.penalty"), ("show", "prompts[].shown[].penalty")),
        ("length penalty",),
        ("β", "excess", "penalty-outweighs-reward", "penalty-in-reward"),
    ),
    Term(
        "budget share",
        "The share of the learning signal that comes from the length penalty rather than from the rewards.",
        "β²·S_ee / (β²·S_ee + S_rr), where S is the sum over prompts of squared distances from the prompt's mean, of e"
        " and of r; from 0 to 1",
        "Near 1: the gradient says `be short` louder than `be right`. Near 0: the penalty hardly acts. 0.1 is what"
        " `sweep --suggest` aims at. None (a dash) if rewards and penalties are equal within every prompt.",
        (
            ("loss", "advantage.budget_share"),
            (PER_PROMPT, "per_prompt[].budget_share"),
            ("sweep", "cells[].advantage.budget_share"),
            ("sweep --suggest", "suggestions[].budget_share"),
        ),
        ("made by length", "by length", "comes from length", "length share"),
        ("half at β", "phantom", "mean A²"),
    ),
    Term(
        "phantom share",
        "The share of the learning signal in phantom prompts, where only lengths differ.",
        "ΣA² over phantom prompts / ΣA² over all; from 0 to 1",
        "Near 0 for small β, unless the advantage is divided by the standard deviation of its prompt: then phantom"
        " prompts get full-size advantages at every β.",
        (("loss", "advantage.phantom_share"),),
        (),
        ("phantom", "budget share", "objective"),
    ),
    Term(
        "objective",
        "What the trainer minimises: the shape of the penalty, whom it is applied to, and how rewards become"
        " advantages. --objective names one, --set changes a key of it.",
        "A = f·(x − b) with x = r − β·φ: φ the penalty, b the baseline, f a factor of the prompt or the batch",
        "If it is not the one that was trained, every number of the advantage and the loss answers another question.",
        (
            ("loss", "objective"),
            ("sweep", "objective"),
            ("compare", "objective"),
            ("check", "objective"),
            ("show", "objective"),
        ),
        ("recipe", "estimator", "penalty shape"),
        ("advantage", "penalty", "baseline"),
    ),
    Term(
        "half at β",
        "The β at which half of the learning signal comes from length, at a given budget.",
        "√(S_rr / S_ee), with the sums of budget share; reward per token",
        "Far above your β: rewards decide. Below it: length decides. The share at another β follows from it:"
        " x / (1 + x), where x is (β / half at β)².",
        (("sweep", "budgets[].half_share_coef"),),
        ("half at beta", "half share coef"),
        ("budget share", "β"),
    ),
    Term(
        "phantom",
        "Said of a prompt whose responses have equal rewards but unequal penalties, so that its advantages come from"
        " length alone.",
        "zero variance, and β²·S_ee > 0; a number of prompts",
        "Above 0: these prompts teach length and nothing else, also where every answer is wrong. Filters for prompts"
        " without variance drop them only if they look at the reward before the penalty.",
        (
            ("loss", "groups.phantom"),
            (PER_PROMPT, "per_prompt[].phantom"),
            ("sweep", "cells[].groups.phantom"),
            ("sweep", "budgets[].phantom"),
        ),
        ("phantoms", "phantom prompt"),
        ("zero variance", "budget share", "phantom-advantage"),
    ),
    Term(
        "reordered",
        "Said of a prompt in which the penalty puts the worst response above the best.",
        "β > (highest r − lowest r) / (e of the longest best − e of the shortest worst); a number of prompts",
        "Above 0: a short wrong answer beats a long right one. With more than two different rewards, other responses"
        " may change places at a smaller β.",
        (("loss", "groups.reordered"), ("sweep", "cells[].groups.reordered"), ("sweep", "budgets[].reorder_coef")),
        ("reorder coef", "reorders above"),
        ("β", "penalty", "best-response-changes", "penalty-outweighs-reward"),
    ),
    Term(
        "overlong buffer",
        "DAPO's form of the penalty: it grows over the last tokens before the maximum length, up to a full value.",
        "B = maximum length − buffer, β = penalty / buffer; `sweep --max-response-length --overlong-buffer`",
        "The two forms agree up to the maximum length; above it DAPO's penalty stops growing.",
        (("sweep", "overlong"),),
        ("DAPO", "soft overlong punishment"),
        ("token budget", "β"),
    ),
]

GROUPS = [
    Term(
        "prompt",
        "A question, with all responses to it: the group within which advantages are computed.",
        "records with the same prompt id, within one step; a number of prompts",
        "As many prompts as responses: the ids are not those of prompts, and every advantage is 0.",
        (("loss", "prompts"), ("check", "prompts"), ("compare", "prompts")),
        ("group", "prompts", "prompt id"),
        ("group size", "singletons", "singleton"),
    ),
    Term(
        "response",
        "One sample from the policy: the answer to a prompt.",
        "a number of responses",
        "Equal to the number of records, unless records hold several responses, or a response several records.",
        (("loss", "responses"), ("check", "responses"), ("compare", "responses")),
        ("responses", "sample", "rollout", "completion"),
        ("row", "group size"),
    ),
    Term(
        "row",
        "One record of a dump, of which a response can have several: its turns, or the outputs of a session.",
        "a number of records that the responses were written in",
        "More rows than responses: rollouts were joined by `--field rollout_id=KEY`.",
        (("loss", "rows"),),
        ("rows",),
        ("response", "aggregate"),
    ),
    Term(
        "group size",
        "The number of responses to a prompt.",
        "n; the smallest, the mean and the largest over prompts",
        "All equal is usual. A smaller minimum: responses are missing. A multiple of the usual size: two groups under"
        " one id.",
        (("loss", "groups.size"), (PER_PROMPT, "per_prompt[].responses")),
        ("n", "G"),
        ("singletons", "doubled", "uneven-groups"),
    ),
    Term(
        "singletons",
        "Prompts with a single response, whose advantage is 0 as there is nothing to compare it with.",
        "n = 1; a number of prompts",
        "Above 0: the id is not that of the prompt, responses are missing, or samples were filtered one by one.",
        (("loss", "groups.singletons"),),
        (),
        ("group size", "singleton"),
    ),
    Term(
        "doubled",
        "Prompts with a multiple of the number of responses that most prompts have.",
        "n = 2, 3, … times the size of more than half of the prompts; a number of prompts",
        "Above 0: two groups share an id, such as those of two steps or epochs, and are measured against one baseline.",
        (("loss", "groups.doubled"),),
        (),
        ("group size", "doubled-group"),
    ),
    Term(
        "zero variance",
        "Said of a prompt whose responses, two or more, all have the same reward.",
        "highest r = lowest r; a number of prompts",
        "High: most prompts are too hard or too easy, and teach nothing (or, with a penalty, length). A solve rate p"
        " gives p^n + (1 − p)^n of them by chance.",
        (("loss", "groups.zero_variance"), (PER_PROMPT, "per_prompt[].zero_variance"), ("compare", "zero_variance")),
        ("zero-variance prompts", "frac reward zero std"),
        ("phantom", "zero variance adjusted", "zero-variance", "zero-variance-filtered"),
    ),
    Term(
        "zero variance adjusted",
        "Prompts whose responses, two or more, all have the same adjusted reward: those that teach nothing at all.",
        "S of r − β·e is 0; a number of prompts",
        "Fewer than zero variance: the others are phantom prompts. More: penalties cancel rewards.",
        (("loss", "groups.zero_variance_adjusted"),),
        (),
        ("zero variance", "phantom"),
    ),
    Term(
        "solve rate",
        "The share of the responses to a prompt that are right: its mean reward, where rewards are 0 or 1.",
        "mean of r over the prompt's responses; from 0 to 1",
        "Near 0 or 1: too hard or too easy to teach. The signal of a prompt, p·(1 − p), is largest at a half.",
        (
            (PER_PROMPT, "per_prompt[].reward_mean"),
            ("loss", "learnability.prompts_by_rate"),
            ("loss", "learnability.responses_by_rate"),
        ),
        ("pass rate", "accuracy"),
        ("pass@k", "zero variance", "right", "all right"),
    ),
    Term(
        "right",
        "Said of a response whose reward is above correct_above, which is 0: of rewards −1 and 1 those with 1, of"
        " graded rewards all that got anything.",
        "r > correct_above; a number of responses and their share, their mean length and that of the others (tokens)",
        "Right responses that are much shorter than wrong ones: wrong ones ramble or are cut off, and a penalty falls"
        " on them. Longer ones: the penalty falls on what is right.",
        (
            ("loss", "learnability.correct_above"),
            ("loss", "learnability.right"),
            ("loss", "learnability.right_fraction"),
            ("loss", "learnability.length_right"),
            ("loss", "learnability.length_wrong"),
        ),
        ("correct", "wrong", "correct above"),
        ("solve rate", "all right"),
    ),
    Term(
        "all right",
        "Said of a prompt of two or more responses, all of which are right; all wrong: none is; mixed: some are.",
        "c = n, c = 0, 0 < c < n, with c right ones of n responses; numbers of prompts and their shares",
        "All right: too easy. All wrong: too hard. Only mixed prompts teach which answers are right. With rewards of"
        " two values, all right and all wrong together are those of zero variance.",
        (
            ("loss", "learnability.prompts"),
            ("loss", "learnability.all_right"),
            ("loss", "learnability.all_wrong"),
            ("loss", "learnability.mixed"),
            ("loss", "learnability.all_right_fraction"),
            ("loss", "learnability.all_wrong_fraction"),
            ("loss", "learnability.mixed_fraction"),
            ("loss", "learnability.zero_variance_fraction"),
        ),
        ("all wrong", "mixed", "learnability"),
        ("right", "solve rate", "zero variance", "zero variance of another size"),
    ),
    Term(
        "zero variance of another size",
        "The share of prompts that would be all right or all wrong if groups had 2, 4, … 64 responses.",
        "up to n C(c, G)/C(n, G) + C(n − c, G)/C(n, G), unbiased; beyond, for prompts that are all right or all wrong,"
        " B(G + ½, ½)/B(n + ½, ½), the mean of p^(G − n) over the posterior of Jeffreys' prior; from 0 to 1",
        "Much below the share that there is: larger groups would make more prompts teach. Beyond n it is a guess, low"
        " where prompts are always or never solved.",
        (("loss", "learnability.zero_variance_at"),),
        ("group size G",),
        ("all right", "zero variance", "group size", "pass@k"),
    ),
    Term(
        "pass@k",
        "The probability that at least one of k responses to a prompt is right.",
        "1 − C(n − c, k) / C(n, k), with c right ones of n responses, averaged over prompts: unbiased for k ≤ n;"
        " from 0 to 1",
        "Far above the solve rate: right answers are rare but within reach, so larger groups find them. Equal to it:"
        " prompts are solved always or never. null for more responses than most prompts have.",
        (("loss", "learnability.pass_at"), ("loss", "learnability.pass_at_prompts")),
        ("pass at k",),
        ("solve rate",),
    ),
]

POLICY = [
    Term(
        "log-ratio",
        "How much more likely the policy makes a response than the reference policy does.",
        "k = log π(y|x) − log π_ref(y|x), both summed over the response's tokens; nats",
        "Above 0: the policy favours it more than the reference does. Hundreds of nats: other tokens, another"
        " temperature or another model.",
        (
            (PER_PROMPT, "per_prompt[].k1"),
            ("compare", "log_ratio"),
            ("annotate", "budget_cli.log_ratio"),
            ("show", "prompts[].shown[].log_ratio"),
        ),
        ("k",),
        ("k1", "k3", "R²", "log-ratio-large"),
    ),
    Term(
        "α",
        "The weight of the log-ratio in the loss; `--alpha` or `--kl-coef`.",
        "α; reward per nat, 0.1 by default",
        "High: moving away from the reference is expensive. 0: log-probs are not needed, and the loss is mean A².",
        (("loss", "coefficients.kl_coef"), ("sweep", "cells[].coefficients.kl_coef")),
        ("alpha", "kl coef", "kl coefficient"),
        ("log-ratio", "R²"),
    ),
    Term(
        "k1",
        "The plain estimate of the KL divergence from the reference: the mean log-ratio.",
        "mean of k over responses; nats, unclamped",
        "Unbiased where the policy itself sampled the responses. Below 0 by more than chance: it did not, as where the"
        " policy has been updated since.",
        (("loss", "kl.k1"), (PER_PROMPT, "per_prompt[].k1")),
        ("kl",),
        ("k2", "k3", "negative-k1"),
    ),
    Term(
        "k2",
        "An estimate of the KL divergence with little variance and some bias: half the mean square of the log-ratio.",
        "mean of k²/2 over responses; nats², unclamped",
        "Never below 0. Far above k1: a few responses have moved much.",
        (("loss", "kl.k2"),),
        ("mse",),
        ("k1", "k3"),
    ),
    Term(
        "k3",
        "An estimate of the KL divergence that is unbiased like k1 and never below 0.",
        "mean of e^−k − 1 + k over responses; nats, unclamped",
        "Huge: some response is far less likely than under the reference, and e^−k explodes; trainers clamp it, which"
        " hides that. None (a dash) if it exceeds the range of a double.",
        (("loss", "kl.k3"),),
        ("low var kl", "k3 estimator"),
        ("k1", "k2", "log-ratio-outlier"),
    ),
    Term(
        "R²",
        "The share of the advantages that the scaled log-ratio explains.",
        "1 − loss / mean A²; at most 1",
        "1: the policy has moved exactly as the advantages ask. 0: not at all. Below 0: it has moved elsewhere, and"
        " α·k adds more than it explains. Where the policy is the reference, it is 0.",
        (("loss", "kl.r2"),),
        ("r squared",),
        ("components", "log-ratio", "α"),
    ),
    Term(
        "importance weight",
        "How much more likely the trained policy makes a response than the policy that sampled it.",
        "w = e^k, where k is the log-ratio to the policy that sampled, summed over the response's tokens",
        "1: nothing has changed. Far from 1: the sample stands for a policy that it was not drawn from, and a few"
        " responses carry the gradient. The mean over responses is 1 in expectation. check also gives these numbers of"
        " the policy and its reference, from which nobody sampled: there they say how far the two are apart.",
        (
            ("check", "policies[].mean_weight"),
            ("check", "policies[].max_weight"),
            ("check", "policies[].outside_share"),
            ("check", "policies[].tokens"),
        ),
        ("importance ratio", "importance sampling ratio", "mean weight"),
        ("effective sample size", "χ²", "log-ratio", "mean-weight-off", "shifted-log-prob"),
    ),
    Term(
        "effective sample size",
        "The number of equally weighted responses that are worth as much as these weighted ones.",
        "(Σw)² / Σw², as a share of n: (Σw)² / (n·Σw²); from 1/n to 1",
        "Near 1: all weights are alike. Near 0: a handful of responses decides, so the update is mostly noise.",
        (("check", "policies[].effective_sample_size"), ("check", "policies[].effective_share")),
        ("ESS", "effective sample"),
        ("importance weight", "low-effective-sample-size"),
    ),
    Term(
        "χ²",
        "How unequal importance weights are: an estimate of the χ²-divergence of one policy from the other.",
        "mean w² − 1 over responses; without a unit",
        "0: the policies agree on these responses. 1: the variance of what is weighted about doubles. Below 0: the"
        " weights are below 1 on average, so the sample lacks the responses that have the large ones.",
        (("check", "policies[].chi_square"),),
        ("chi square", "chi2"),
        ("importance weight", "effective sample size"),
    ),
]

READING = [
    Term(
        "records",
        "What became of everything that was read: used, rejected, blank, skipped or left out.",
        "read = used + rejected + what is left out or skipped; numbers of records, and of samples for left_out",
        "Rejected above 0: the verdict is fail, unless `--max-errors` allows as many.",
        (("loss", "records"), ("sweep", "records"), ("check", "records")),
        ("record", "read", "used", "blank", "skipped"),
        ("rejected", "left out"),
    ),
    Term(
        "rejected",
        "Said of a record that is not exactly what it should be: it is named with its place, and enters no number.",
        "a number of records, by reason",
        "Above 0: the prompts lose responses, so their baselines move. `budget-cli check --select records` says why.",
        (("loss", "records.rejected"), ("loss", "rejections")),
        ("rejection", "rejections"),
        ("records", "verdict"),
    ),
    Term(
        "left out",
        "Samples that the trainer does not train on (failed, judged, without a reward), or that `--where` excludes.",
        "a number of samples, by reason",
        "`--keep REASON` uses them. A large share: look whether the preset and the trainer agree.",
        (("loss", "left_out"), ("loss", "records.left_out"), ("check", "left_out")),
        (),
        ("records", "left-out"),
    ),
    Term(
        "coverage",
        "How many responses have a length and a log-ratio, and how many records were rejected for lack of a field.",
        "numbers of responses (length, log_ratio) and of records (no_length, no_log_prob, no_old_log_prob)",
        "Below the number of responses: the numbers that need the field do not exist, rather than being those of a"
        " part.",
        (("loss", "coverage"),),
        (),
        ("records",),
    ),
    Term(
        "lengths from",
        "Where the lengths come from: a field of the dump, the number of log-probs, or a tokenizer that counted.",
        "numbers of responses by origin: field, tokens, tokenizer",
        "mixed: several origins, which may count differently (a log-prob list may lack the end token).",
        (("loss", "lengths_from"), ("loss", "length_origins"), ("check", "lengths_from")),
        ("length origins", "tokenizer"),
        ("response length",),
    ),
    Term(
        "gate",
        "A condition on a number, `--fail-if 'groups.phantom > 0'`, that fails the run when it holds.",
        "NAME OPERATOR NUMBER, on any number of the JSON, unrounded",
        "A number that does not exist (null) fails every gate.",
        (("loss", "gates"), ("compare", "gates")),
        ("gates", "fail if"),
        ("verdict",),
    ),
    Term(
        "verdict",
        "pass or fail: pass means that every byte was read, no more records were rejected than allowed, and every gate"
        " held.",
        "exit code 0 (pass) or 1 (fail)",
        "pass does not mean that the dump is healthy: warnings leave it as it is. `check --fail-on warning` fails on"
        " them.",
        (("loss", "status"), ("check", "status"), ("sweep", "status"), ("compare", "status")),
        ("status", "pass", "fail"),
        ("gate", "severity", "rejected"),
    ),
    Term(
        "headline",
        "The sentence above the numbers: how much of the learning signal is length, which β would make it a tenth, and"
        " how many prompts teach length alone, or nothing.",
        "from budget share, phantom, zero variance adjusted and singletons; β·√(0.1 / 0.9 · (1 − share) / share)",
        "It says the same whatever the loss is. check says first what it found.",
        (("loss", "headline"), ("check", "headline")),
        (),
        ("budget share", "phantom", "zero variance adjusted", "verdict"),
    ),
    Term(
        "severity",
        "How bad a finding of `check` is: an error cannot be right, a warning usually is not, an info is good to know.",
        "error, warning or info",
        "`--fail-on` sets the severity from which the exit code is 1; the default is error.",
        (("check", "findings[].severity"), ("check", "counts")),
        ("error", "warning", "info", "finding"),
        ("class", "verdict"),
    ),
    Term(
        "class",
        "Whether a finding of `check` is about the dump, or about the choice of B and β for it.",
        "dump or choice",
        "A choice is never an error: another B or β makes it go away.",
        (("check", "findings[].class"),),
        (),
        ("severity",),
    ),
    Term(
        "standard error",
        "How far the difference of two dumps would scatter if other prompts had been drawn.",
        "se² = G/(G − 1)·Σd², with d the part of each of the G prompts in the difference (clustered by prompt); in the"
        " unit of the number",
        "A difference below two of them is what chance gives.",
        (("compare", "loss.se"), ("compare", "reward.se"), ("compare", "length.se")),
        ("se",),
        ("z",),
    ),
    Term(
        "z",
        "A difference of two dumps in standard errors.",
        "z = delta / se",
        "Beyond 2 or −2: more than chance gives in one case of twenty. With many numbers, some exceed it by chance.",
        (("compare", "loss.z"), ("compare", "reward.z"), ("compare", "length.z")),
        ("z-score",),
        ("standard error",),
    ),
]

TOPICS = {
    "The loss": LOSS,
    "Length and its penalty": LENGTH,
    "Prompts and responses": GROUPS,
    "Distance from the reference": POLICY,
    "Reading and verdict": READING,
}
TERMS = {term.name: term for terms in TOPICS.values() for term in terms}
WHERE = "budget-cli explain lists all terms"


def called(name: str) -> list[Term | Check]:
    """Return the term with this name, alias or key of the JSON, and the check with this code.

    Raises:
        UsageProblem: there is neither.
    """
    wanted = _plain(name)
    found: list[Term | Check] = []
    for names in (lambda term: [term.name], lambda term: term.aliases, _keys):
        term = next((one for one in TERMS.values() if wanted in map(_plain, names(one))), None)
        if term is not None:
            found = [term]
            break
    found += [check for code, check in CHECKS.items() if _plain(code) == wanted]
    if not found:
        near = nearest(name, [*completions(), *(alias for term in TERMS.values() for alias in term.aliases)])
        hint = f" (did you mean {near}?)" if near else ""
        raise UsageProblem(f"explain: no term and no check is called {name!r}{hint}; {WHERE}")
    return found


def completions() -> Iterator[str]:
    """Yield each term as one word, then the codes of the checks."""
    yield from dict.fromkeys([*(_plain(name).replace(" ", "-") for name in TERMS), *CHECKS])


def _keys(term: Term) -> list[str]:
    """Return the keys of the JSON that stand for a term; also without the list that they are in."""
    keys = [key for _, key in term.shown]
    return keys + [key.rpartition("[].")[2] for key in keys if "[]." in key]


def _plain(text: str) -> str:
    """Return a name as it is compared: `half-at-β`, `Half at β` and `R²` are `half at β` and `r2`."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("-", " ").replace("_", " ").split())
