"""Pictures of a particle game, drawn with Pillow; no display is needed.

Agents that participate in the round about to be played are solid with a bright outline, the others
hollow and faded. The header tells the round, and who participates.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rllib_amagail.games.game import ParticleGame
from rllib_amagail.games.particles import AgentBody

Colour = tuple[int, int, int]

DEFAULT_SIZE = 320
# Half the width of the visible arena, in world units; more if somebody is further out.
ARENA_HALF_WIDTH = 1.25
# With more agents than this the header counts participants instead of naming them.
MAX_NAMED_AGENTS = 4

_HEADER_SHARE = 0.2  # height of the header in arena widths
_OVERSAMPLING = 3  # drawn this much larger, then shrunk: smooth edges

_PAPER: Colour = (250, 250, 252)
_HEADER: Colour = (33, 37, 51)
_HEADER_TEXT: Colour = (235, 238, 245)
_GRID: Colour = (226, 229, 238)
_TARGET: Colour = (70, 76, 94)
_OBSTACLE: Colour = (172, 178, 193)
_BRIGHT: Colour = (255, 190, 11)
_ADVERSARY: Colour = (220, 60, 70)
_AGENTS: tuple[Colour, ...] = (
    (45, 120, 220),
    (20, 160, 120),
    (140, 85, 215),
    (235, 115, 35),
    (0, 155, 180),
    (205, 70, 150),
)


def render_world(game: ParticleGame, world: int = 0, *, size: int = DEFAULT_SIZE) -> np.ndarray:
    """Draw one world of a game: uint8 `[H, W, 3]`, W = `size` and H = 1.2 `size` pixels.

    Raises:
        ValueError: if `world` is not one of the game's, or `size` is below 64.
    """
    if not 0 <= world < game.batch_size:
        raise ValueError(f"world is {world}, expected 0 to {game.batch_size - 1}")
    if size < 64:
        raise ValueError(f"size is {size} pixels, expected at least 64")
    width = size * _OVERSAMPLING
    header = round(size * _HEADER_SHARE) * _OVERSAMPLING
    image = Image.new("RGB", (width, width + header), _PAPER)
    draw = ImageDraw.Draw(image)
    _draw_arena(draw, game, world, header, width)
    _draw_header(draw, game, world, header, width)
    shrunk = image.resize(
        (width // _OVERSAMPLING, (width + header) // _OVERSAMPLING), Image.Resampling.LANCZOS
    )
    return np.asarray(shrunk, dtype=np.uint8)


def _draw_arena(
    draw: ImageDraw.ImageDraw,
    game: ParticleGame,
    world: int,
    top: int,
    width: int,
) -> None:
    """Grid, landmarks and agents, in a square of `width` below `top`."""
    positions, participation = game.positions[world], game.participation[world]
    half_width = max(ARENA_HALF_WIDTH, float(np.abs(positions).max()) + 0.2)
    scale = width / (2.0 * half_width)
    centres = np.stack(
        [width / 2 + positions[:, 0] * scale, top + width / 2 - positions[:, 1] * scale], axis=1
    )
    for line in (-1.0, -0.5, 0.0, 0.5, 1.0):
        across, start, end = width / 2 + line * scale, width / 2 - scale, width / 2 + scale
        draw.line((across, top + start, across, top + end), fill=_GRID, width=_OVERSAMPLING)
        draw.line((start, top + across, end, top + across), fill=_GRID, width=_OVERSAMPLING)
    num_agents = len(game.bodies)
    for landmark, (x, y) in zip(game.landmarks, centres[num_agents:], strict=True):
        if landmark.collides:
            _disc(draw, x, y, landmark.size * scale, fill=_OBSTACLE, outline=_TARGET)
        else:
            _target(draw, x, y, landmark.size * scale)
    # Those who do not participate first: they must not hide the others.
    for agent in np.argsort(participation, kind="stable"):
        x, y = centres[agent]
        radius, acts = game.bodies[agent].size * scale, bool(participation[agent])
        _draw_agent(draw, x, y, radius, game.bodies, int(agent), acts)


def _draw_header(
    draw: ImageDraw.ImageDraw,
    game: ParticleGame,
    world: int,
    height: int,
    width: int,
) -> None:
    """Name and round in the upper row, who participates in the lower one."""
    now, ended, participation = game.rounds[world], game.ended[world], game.participation[world]
    draw.rectangle((0, 0, width, height), fill=_HEADER)
    margin, upper, lower = 0.03 * width, 0.3 * height, 0.72 * height
    text, small = _font(0.2 * height), _font(0.15 * height)
    title = game.name.replace("_", " ")
    counter = "episode over" if ended else f"round {now} / {game.horizon}"
    draw.text((margin, upper), title, fill=_HEADER_TEXT, font=text, anchor="lm")
    draw.text((width - margin, upper), counter, fill=_BRIGHT, font=text, anchor="rm")
    if len(game.agents) > MAX_NAMED_AGENTS:
        count = f"{int(participation.sum())} of {len(game.agents)} agents participate"
        draw.text((margin, lower), count, fill=_HEADER_TEXT, font=text, anchor="lm")
        return
    column = (width - margin) / len(game.agents)
    radius = 0.11 * height
    for agent, name in enumerate(game.agents):
        x, acts = margin + agent * column, bool(participation[agent])
        _draw_agent(draw, x + radius, lower, radius, game.bodies, agent, acts, _HEADER)
        colour = _HEADER_TEXT if acts else _mixed(_HEADER_TEXT, _HEADER, 0.5)
        label = (x + 2.6 * radius, lower)
        draw.text(label, name, fill=colour, font=small, anchor="lm")


def _draw_agent(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    radius: float,
    bodies: tuple[AgentBody, ...],
    index: int,
    participates: bool,
    background: Colour = _PAPER,
) -> None:
    """A disc, numbered within its side: solid with a bright outline, or hollow and faded."""
    adversary = bodies[index].adversary
    before = sum(body.adversary == adversary for body in bodies[:index])
    colour = _ADVERSARY if adversary else _AGENTS[before % len(_AGENTS)]
    number = str(before + 1)
    font = _font(1.05 * radius)
    if participates:
        _disc(draw, x, y, radius, fill=colour, outline=_BRIGHT)
        draw.text((x, y), number, fill=_PAPER, font=font, anchor="mm")
    else:
        faded = _mixed(colour, background, 0.5)
        _disc(draw, x, y, radius, fill=_mixed(colour, background, 0.9), outline=faded)
        draw.text((x, y), number, fill=faded, font=font, anchor="mm")


def _target(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    """A landmark that agents can cover: a ring with a dot in it."""
    _disc(draw, x, y, radius, fill=_PAPER, outline=_TARGET)
    _disc(draw, x, y, 0.4 * radius, fill=_TARGET, outline=_TARGET)


def _disc(
    draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, *, fill: Colour, outline: Colour
) -> None:
    line = max(round(0.16 * radius), _OVERSAMPLING)
    line = min(line, 3 * _OVERSAMPLING)
    draw.ellipse(
        (x - radius, y - radius, x + radius, y + radius), fill=fill, outline=outline, width=line
    )


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with a `share` of `other` in it."""
    red, green, blue = (
        round((1.0 - share) * a + share * b) for a, b in zip(colour, other, strict=True)
    )
    return red, green, blue


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(size, 1.0))
