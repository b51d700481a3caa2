"""What the settings ask of the demonstrations."""

from __future__ import annotations

from typing import Any

from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError
from rllib_amagail.learner.expert_rows import check_judged
from rllib_amagail.learner.joint_rows import check_judged_jointly, judges_jointly


def check_teaching(config: Any, demonstrations: Demonstrations) -> None:
    """Check that Z has what is to be learned from it.

    Nothing is left out in silence: whoever brings demonstrations without actions switches
    behaviour cloning off.

    Args:
        config: an `AMAGAILConfig`.
        demonstrations: Z as it was loaded.

    Raises:
        DemonstrationsError: actions are to be cloned or judged, or pairs (s, s') or all agents
            together to be judged, and Z has none.
    """
    for name in ("bc_steps", "bc_loss_coeff"):
        if getattr(config, name) > 0 and not demonstrations.has_actions:
            raise DemonstrationsError(
                f"the demonstrations have no actions to clone, but {name} is "
                f"{getattr(config, name)}; set {name}=0 to imitate from observation alone"
            )
    check_judged(demonstrations, config.discriminator_inputs, config.reward_shaping)
    if judges_jointly(config):
        check_judged_jointly(demonstrations)
