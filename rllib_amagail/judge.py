"""The networks that judge a turn: the reward g and, where it is shaped, the potential h.

With a shaping term (Fu, Luo and Levine, arXiv:1710.11248; for several agents Yu, Song and Ermon,
arXiv:1907.13220) the logit is::

    f(s, a, s') = g(s, a) + gamma**d h(s') - h(s)
    logit       = f(s, a, s') - log pi(a|s)

with s' and d the observation at the agent's next turn and the rounds until then, as in equation 7.
At the optimum g is the reward up to a constant, whatever the dynamics; h takes up what would only
shape it. Without the term the logit is g itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rllib_amagail.row_encoder import SHAPING_COLUMNS, RowEncoder

JOINT = "discriminator"  # the name of one that judges joint rows of all agents


class Judge(torch.nn.Module):
    """Tanh networks on standardised rows ``[B, R]`` of a `RowEncoder`.

    `build` comes before anything else.
    """

    input_mean: torch.Tensor
    input_scale: torch.Tensor

    def build(self, encoder: RowEncoder, hiddens: Sequence[int]) -> None:
        """Make the networks, with hidden layers of these widths."""
        self._inputs, self._features = encoder.input_size, encoder.feature_size
        self._is_shaped = encoder.shaping_discount is not None
        self.network = _tanh_network(encoder.input_size, hiddens)
        if self._is_shaped:
            self.potential = _tanh_network(encoder.feature_size, hiddens)
        self.register_buffer("input_mean", torch.zeros(encoder.row_size))
        self.register_buffer("input_scale", torch.ones(encoder.row_size))

    def standardise(self, rows: torch.Tensor) -> torch.Tensor:
        """``[B, R]`` rows to standardised ones; discounts and log probabilities stay."""
        return (rows - self.input_mean) / self.input_scale

    @property
    def noise_scale(self) -> torch.Tensor:
        """``[R]`` deviation of the inputs in the demonstrations; 0 where noise has no place."""
        scale = self.input_scale.clone()
        if self._is_shaped:
            scale[-SHAPING_COLUMNS:] = 0.0
        return scale

    def logits_of_standardised(self, rows: torch.Tensor) -> torch.Tensor:
        """``[B, R]`` standardised rows to ``[B]`` logits, high for the expert."""
        if not self._is_shaped:
            return self.rewards_of_standardised(rows)
        return self.shaped_rewards_of_standardised(rows) - rows[:, -1].detach()

    def rewards_of_standardised(self, rows: torch.Tensor) -> torch.Tensor:
        """``[B]`` g of standardised rows; reads their first W columns only."""
        return self.network(rows[:, : self._inputs]).squeeze(-1)

    def shaped_rewards_of_standardised(self, rows: torch.Tensor) -> torch.Tensor:
        """``[B]`` f of standardised rows."""
        end = self._inputs + self._features
        now = self.potential(rows[:, : self._features]).squeeze(-1)
        later = self.potential(rows[:, self._inputs : end]).squeeze(-1)
        # A gradient penalty is on what agents see and do, not on the discount.
        discounts = rows[:, -SHAPING_COLUMNS].detach()
        return self.rewards_of_standardised(rows) + discounts * later - now

    @property
    def input_weights(self) -> torch.Tensor:
        """``[H, W]`` weights of g's first layer, one column per input."""
        weights = self.network[0].weight
        assert isinstance(weights, torch.Tensor)
        return weights


def _tanh_network(width: int, hiddens: Sequence[int]) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for hidden in hiddens:
        layers += [torch.nn.Linear(width, hidden), torch.nn.Tanh()]
        width = hidden
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))
