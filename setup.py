"""Installs rllib_amagail and the console scripts `rllib` and `amagail`."""

from pathlib import Path

from setuptools import find_packages, setup

TORCH = "torch==2.13.0"

EXTRAS = {
    # Drawing of learning curves, GIFs (make demo) and demonstrations (amagail demos plot).
    "plot": ["matplotlib>=3.9", "pillow>=10"],
    # Scenarios of the Vectorized Multi-Agent Simulator (rllib_amagail.envs.vmas).
    "vmas": ["vmas>=1.5.2,<2"],
    # Board and card games (rllib_amagail.envs.board_games).
    "board_games": ["open_spiel>=2,<3", "rlcard>=1.2,<2", "pygame-ce>=2.3"],
    # Policies for deployment (rllib_amagail.deployment).
    "onnx": ["onnx>=1.17,<2"],
    # Searches with --search-alg optuna.
    "search": ["optuna>=4,<6"],
    "test": ["pytest>=8", "hypothesis>=6", "mpe2==1.1.1", "onnx>=1.17,<2", "optuna>=4,<6"],
}
EXTRAS["test"] += EXTRAS["board_games"]
EXTRAS["dev"] = [*EXTRAS["plot"], *EXTRAS["test"], "ruff==0.17.6", "mypy==2.4.1"]

setup(
    name="rllib_amagail",
    version="0.1.0",
    description="Asynchronous multi-agent generative adversarial imitation learning on Ray RLlib",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["rllib_amagail", "rllib_amagail.*", "tuned_configs"]),
    package_data={
        "rllib_amagail": [
            "py.typed",
            "data/*.parquet",
            "data/*.json",
            "data/experts/*/policies/*.json",
            "data/experts/*/policies/*.safetensors",
        ],
    },
    install_requires=[
        "ray[rllib]==2.60.0",
        TORCH,
        "gymnasium>=1.1,<1.3",
        "pettingzoo>=1.25,<2",
        "numpy>=1.26,<3",
        "pyarrow>=17",
        "safetensors>=0.4",
        "rich>=13",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "rllib = rllib_amagail.cli.main:main",
            "amagail = rllib_amagail.cli.demos:main",
        ]
    },
)
