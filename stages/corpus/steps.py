"""The vocabulary of the demo corpus: six appearances times six motions, and how a narrator words them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """What moves.

    Attributes:
        name: key of the shape in `draw`.
        colour: 8-bit RGB of its bright half.
        nouns: how a narrator calls it.
    """

    name: str
    colour: tuple[int, int, int]
    nouns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """How it moves.

    Attributes:
        name: key of the motion in `draw`.
        verbs: how a narrator says so of one thing.
    """

    name: str
    verbs: tuple[str, ...]


APPEARANCES = (
    Appearance(name="disk", colour=(225, 40, 40), nouns=("red disk", "red circle", "red dot")),
    Appearance(name="square", colour=(50, 80, 235), nouns=("blue square", "blue box", "blue block")),
    Appearance(name="triangle", colour=(40, 190, 60), nouns=("green triangle", "green wedge")),
    Appearance(name="star", colour=(240, 215, 40), nouns=("yellow star", "golden star")),
    Appearance(name="cross", colour=(180, 50, 200), nouns=("purple cross", "violet cross", "purple plus")),
    Appearance(name="ring", colour=(240, 240, 240), nouns=("white ring", "white hoop")),
)

MOTIONS = (
    Motion(name="still", verbs=("stays still", "does not move", "just stands there", "rests in place")),
    Motion(
        name="sway", verbs=("slides left and right", "goes from side to side", "sways to and fro", "sways sideways")
    ),
    Motion(name="bounce", verbs=("bounces up and down", "keeps hopping", "jumps again and again", "hops up and down")),
    Motion(name="spin", verbs=("spins around", "turns round and round", "keeps rotating", "whirls like a wheel")),
    Motion(
        name="pulse", verbs=("grows and shrinks", "swells and shrinks", "beats like a heart", "keeps changing size")
    ),
    Motion(name="blink", verbs=("blinks on and off", "flashes quickly", "keeps flickering", "goes dark and bright")),
)

OPENERS = ("", "", "now ", "then ", "next ", "here ", "so ", "look ")

FILLERS = (
    "so yeah let's move on",
    "um okay what comes next",
    "alright that was easy",
    "if you like this hit subscribe",
    "okay so keep watching",
    "you know how it goes",
)

PLACE_NAMES = ("columns", "rows", "checks", "rings", "dots", "grid")
"""Patterns of the ground; nobody speaks of them."""

NUM_STEPS = len(APPEARANCES) * len(MOTIONS)


def appearance_of(step: int) -> Appearance:
    """The appearance of step `step` in [0, NUM_STEPS)."""
    return APPEARANCES[step // len(MOTIONS)]


def motion_of(step: int) -> Motion:
    """The motion of step `step` in [0, NUM_STEPS)."""
    return MOTIONS[step % len(MOTIONS)]


def step_name(step: int) -> str:
    """Readable key of step `step`, as in steps.csv: `disk-spin`."""
    return f"{appearance_of(step).name}-{motion_of(step).name}"


def wordings(step: int) -> tuple[str, ...]:
    """All sentences, without opener, that say step `step`; lower case, no punctuation."""
    return tuple(f"the {noun} {verb}" for noun in appearance_of(step).nouns for verb in motion_of(step).verbs)
