"""Tensors → the budget-aware loss as PyTorch differentiates it; the same number as `budget_cli.rl_budget_loss`.

For a training loop, or to see that one agrees with it. PyTorch is not a dependency: whoever has tensors has it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rl_budget_loss(
    rewards: "Tensor",
    log_probs: "Tensor",
    old_log_probs: "Tensor",
    response_lengths: "Tensor",
    prompts: "Tensor",
    token_budget: float,
    kl_coef: float,
    budget_penalty_coef: float,
) -> "Tensor":
    """The budget-aware loss of a batch of responses, in whatever order they stand.

    The gradient reaches `log_probs` (and `rewards`, if they have one). All of it runs on the tensors' device and in
    their type: float32 keeps 7 digits, which the log-prob of a long response needs.

    Args:
        rewards: shape (responses,).
        log_probs: sequence log-probabilities under the current policy, in nats, same shape.
        old_log_probs: the same under the reference policy.
        response_lengths: in tokens, same shape.
        prompts: whole numbers, same shape: responses with the same number are those of one prompt.
        token_budget: B, in tokens.
        kl_coef: α.
        budget_penalty_coef: β, reward per token over the budget.

    Returns:
        The mean over all responses of (A − α·k)², a scalar.

    Raises:
        ValueError: the shapes differ, or there is no response at all.

    Source: Kimi Team, "Kimi K2" (arXiv 2507.20534), 2025, §3.2.3, with a linear token budget.
    """
    named = {"log_probs": log_probs, "old_log_probs": old_log_probs, "response_lengths": response_lengths}
    for name, tensor in {"rewards": rewards, **named, "prompts": prompts}.items():
        if tensor.ndim != 1 or tensor.shape != rewards.shape or not tensor.numel():
            expected = f"({rewards.numel()},)" if rewards.ndim == 1 and rewards.numel() else "(responses,), one or more"
            raise ValueError(f"{name}: expected the shape {expected}, found {tuple(tensor.shape)}")
    adjusted = rewards - budget_penalty_coef * (response_lengths - token_budget).clamp(min=0).to(rewards.dtype)
    _, group = prompts.unique(return_inverse=True)
    nothing = adjusted.new_zeros(rewards.numel())  # there are no more prompts than responses
    sums, sizes = (nothing.index_add(0, group, each) for each in (adjusted, adjusted.new_ones(rewards.numel())))
    advantage = adjusted - (sums / sizes.clamp(min=1))[group]
    return (advantage - kl_coef * (log_probs - old_log_probs)).square().mean()
