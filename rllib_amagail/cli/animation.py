"""One played episode as a GIF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_runner import EnvRunner

from rllib_amagail.cli.errors import RUN_FAILED, CommandError, one_line

FRAME_MILLISECONDS = 120


def record_episode(
    config: AlgorithmConfig, make_runner: Callable[[AlgorithmConfig], EnvRunner]
) -> list[np.ndarray]:
    """Play an episode and take a picture of every round: uint8 ``[H, W, 3]`` each.

    Args:
        config: of the runner; its env_config gets ``render_mode="rgb_array"``.
        make_runner: builds a runner of a config.

    Raises:
        CommandError: the environment has no such pictures.
    """
    frames: list[np.ndarray] = []

    def take_picture(*, env: Any, env_index: int, **kwargs: Any) -> None:
        frame = env.envs[env_index].render()
        if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3:
            raise CommandError(
                "--render: the environment's render() gave "
                f"{type(frame).__name__ if frame is None else np.shape(frame)}; expected uint8 "
                "[H, W, 3] when its config has render_mode='rgb_array'"
            )
        frames.append(frame.astype(np.uint8))

    changed = config.copy(copy_frozen=False)
    changed.env_runners(num_envs_per_env_runner=1)
    changed.environment(env_config={"render_mode": "rgb_array"})
    changed.callbacks(on_episode_start=take_picture, on_episode_step=take_picture)
    runner = make_runner(changed)
    try:
        runner.sample(num_episodes=1)
    except CommandError:
        raise
    except Exception as error:
        raise CommandError(f"--render: playing failed: {one_line(error)}", RUN_FAILED) from error
    finally:
        runner.stop()
    return frames


def save_gif(frames: Sequence[np.ndarray], path: str) -> None:
    """Write frames as an endless animation.

    Raises:
        CommandError: Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise CommandError("--render needs Pillow: pip install pillow") from error
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=FRAME_MILLISECONDS, loop=0)
