"""A body model that performs made-up signs, so that tests need no recordings of real people.

A `Person` has proportions, a dominant hand, a tempo and a place in the frame; a `Sign` is a path of the wrist, a hand
shape and what the other hand does. Arms follow by two-bone inverse kinematics, fingers by curl and spread. Everything
is a pure function of its seeds.

Body space: unit = one shoulder width, origin between the shoulders; x to the picture's right (the person's left),
y down, z away from the camera. Signs are written for the dominant hand: x is how far out to its own side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation.scoring import TimedSign
from app.ml.evaluation.signed_streams import SignedStream
from app.ml.landmarks.layout import LEFT_HAND, NUM_POINTS, POSE, RIGHT_HAND
from app.ml.recordings.clips import Clip

Array: TypeAlias = NDArray[np.float64]
Phase: TypeAlias = Array
"""`[n]`, 0 at the start of a sign and 1 at its end."""

# Columns of an arm's state: what one arm and hand do at one moment.
WRIST: Final = slice(0, 3)
FINGERS_TO: Final = slice(3, 6)
"""Direction from wrist to fingers."""
PALM_TO: Final = slice(6, 9)
"""Direction that the palm faces."""
CURL: Final = slice(9, 14)
"""0 = straight, 1 = in the fist; thumb first."""
SPREAD: Final = 14
NUM_STATE: Final = 15

FLAT: Final = (0.1, 0.0, 0.0, 0.0, 0.0)
FIST: Final = (0.8, 1.0, 1.0, 1.0, 1.0)
INDEX: Final = (0.8, 0.0, 1.0, 1.0, 1.0)
VICTORY: Final = (0.8, 0.0, 0.0, 1.0, 1.0)
ROUND: Final = (0.6, 0.55, 0.55, 0.55, 0.55)
RELAXED: Final = (0.3, 0.3, 0.3, 0.35, 0.4)

UP: Final = (0.0, -1.0, -0.2)
FORWARD: Final = (0.0, -0.3, -1.0)
INWARD: Final = (-1.0, -0.2, -0.2)
OUTWARD: Final = (1.0, -0.2, -0.2)
DOWN: Final = (0.0, 1.0, -0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One made-up sign.

    Attributes:
        path: phase `[n]` to the dominant wrist's place `[n, 3]`.
        curl: phase `[n]` to the curl of the five fingers `[n, 5]`.
        fingers_to: where the fingers point; `palm_to` where the palm faces.
        other: what the other hand does: rests, does the same mirrored, or waits flat in front of the chest.
        duration_ms: at tempo 1.
    """

    path: Callable[[Phase], Array]
    curl: Callable[[Phase], Array]
    fingers_to: tuple[float, float, float] = UP
    palm_to: tuple[float, float, float] = FORWARD
    spread: float = 0.3
    other: Literal["rest", "mirrored", "base"] = "rest"
    duration_ms: float = 900.0


def _line(start: Sequence[float], end: Sequence[float]) -> Callable[[Phase], Array]:
    return lambda phase: np.outer(1 - phase, start) + np.outer(phase, end)


def _hold(place: Sequence[float]) -> Callable[[Phase], Array]:
    return _line(place, place)


def _circle(centre: Sequence[float], radius: float, turns: float) -> Callable[[Phase], Array]:
    def path(phase: Phase) -> Array:
        angle = 2 * np.pi * turns * phase
        return np.asarray(centre) + radius * np.stack([np.sin(angle), -np.cos(angle), 0 * angle], axis=1)

    return path


def _beats(place: Sequence[float], towards: Sequence[float], times: int) -> Callable[[Phase], Array]:
    def path(phase: Phase) -> Array:
        return np.asarray(place) + np.outer(np.sin(np.pi * times * phase) ** 2, towards)

    return path


def _shape(curl: Sequence[float]) -> Callable[[Phase], Array]:
    return lambda phase: np.tile(curl, (len(phase), 1))


def _opening(closed: Sequence[float], opened: Sequence[float], times: int) -> Callable[[Phase], Array]:
    def curl(phase: Phase) -> Array:
        how_open = np.sin(np.pi * times * phase) ** 2
        return np.outer(1 - how_open, closed) + np.outer(how_open, opened)

    return curl


SIGNS: Final[dict[str, Sign]] = {
    "sun": Sign(path=_circle((0.55, -0.45, -0.5), 0.3, 1.5), curl=_shape(ROUND)),
    "river": Sign(
        path=_line((-0.35, 0.2, -0.7), (0.8, 0.25, -0.6)),
        curl=_shape(FLAT),
        fingers_to=FORWARD,
        palm_to=DOWN,
        spread=0.0,
    ),
    "bird": Sign(
        path=_hold((0.15, -0.35, -0.45)), curl=_opening(FIST, (0.2, 0.1, 1.0, 1.0, 1.0), 3), fingers_to=FORWARD
    ),
    "rain": Sign(path=_beats((0.45, -0.3, -0.6), (0.0, 0.55, 0.0), 2), curl=_shape(FLAT), spread=1.0, other="mirrored"),
    "stone": Sign(
        path=_beats((0.0, 0.1, -0.65), (0.0, 0.3, 0.0), 2),
        curl=_shape(FIST),
        fingers_to=INWARD,
        palm_to=DOWN,
        other="base",
    ),
    "house": Sign(
        path=_line((0.05, -0.55, -0.6), (0.55, 0.25, -0.6)), curl=_shape(FLAT), palm_to=INWARD, other="mirrored"
    ),
    "star": Sign(path=_line((0.3, 0.2, -0.5), (0.65, -0.6, -0.55)), curl=_shape(INDEX), duration_ms=700.0),
    "letter_v": Sign(path=_hold((0.45, -0.1, -0.55)), curl=_shape(VICTORY), spread=0.8, duration_ms=700.0),
    "letter_o": Sign(
        path=_hold((0.45, -0.1, -0.55)), curl=_shape(ROUND), spread=0.0, palm_to=INWARD, duration_ms=700.0
    ),
}
"""Signs that differ in path, in hand shape, in orientation, or in what the other hand does; none is a real sign."""

LABELS: Final = tuple(SIGNS)
IDLE: Final = "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who signs. Lengths in shoulder widths, places in fractions of the frame's height (x from its middle)."""

    name: str
    seed: int
    is_left_handed: bool
    tempo: float
    upper_arm: float
    forearm: float
    hand: float
    shoulder_width: float
    centre_x: float
    shoulder_y: float
    lean: float
    jitter: float
    dropout: float
    size_of_movement: float


def make_person(seed: int, *, is_left_handed: bool | None = None) -> Person:
    """A person whose every trait follows from `seed`; one in five is left-handed unless told otherwise."""
    rng = np.random.default_rng([seed, 1])
    left_handed = bool(rng.random() < 0.2)
    return Person(
        name=f"person{seed}",
        seed=seed,
        is_left_handed=left_handed if is_left_handed is None else is_left_handed,
        tempo=float(rng.uniform(0.8, 1.25)),
        upper_arm=float(rng.uniform(0.8, 0.95)),
        forearm=float(rng.uniform(0.68, 0.82)),
        hand=float(rng.uniform(0.48, 0.58)),
        shoulder_width=float(rng.uniform(0.3, 0.42)),
        centre_x=float(rng.uniform(-0.1, 0.1)),
        shoulder_y=float(rng.uniform(0.45, 0.55)),
        lean=float(rng.uniform(-0.06, 0.06)),
        jitter=float(rng.uniform(0.001, 0.003)),
        dropout=float(rng.uniform(0.0, 0.04)),
        size_of_movement=float(rng.uniform(0.85, 1.15)),
    )


def perform_sign(
    person: Person, label: str, *, seed: int = 0, fps: float = 20.0, width: int = 640, height: int = 480
) -> Clip:
    """One clip of one sign: hands come up, sign, and go down again; `idle` is rest.

    Args:
        person: who signs.
        label: a key of `SIGNS`, or `idle`.
        seed: different seeds are different takes of the same sign; an idle take with an odd seed holds a fidget.
        fps: frames a second of capture time.
    """
    if label == IDLE:
        stream = perform_stream(
            person, (), seed=seed, fps=fps, rest_ms=1500.0, fidget=seed % 2 == 1, width=width, height=height
        )
    else:
        stream = perform_stream(person, (label,), seed=seed, fps=fps, rest_ms=150.0, width=width, height=height)
    return Clip(
        landmarks=stream.clip.landmarks,
        times_ms=stream.clip.times_ms,
        width=width,
        height=height,
        label=label,
        signer=person.name,
        clip_id=f"{person.name}/{label}/{seed}",
    )


def make_clips(
    *, num_people: int, takes: int, labels: Sequence[str] = LABELS, seed: int = 0, fps: float = 20.0
) -> list[Clip]:
    """Every person performs every label `takes` times."""
    return [
        perform_sign(make_person(seed + number), label, seed=take, fps=fps)
        for number in range(num_people)
        for label in labels
        for take in range(takes)
    ]


def perform_stream(
    person: Person,
    labels: Sequence[str],
    *,
    seed: int = 0,
    fps: float = 20.0,
    rest_ms: float = 1000.0,
    transit_ms: float = 400.0,
    gap_ms: float | None = None,
    fidget: bool = False,
    width: int = 640,
    height: int = 480,
) -> SignedStream:
    """A continuous recording and its truth; a sign lasts from the hand's arrival at its place to its last moment.

    Rest, then each sign, with the hands going down between signs unless `gap_ms` is given.

    Args:
        person: who signs.
        labels: the signs in order, keys of `SIGNS`; none gives pure idle.
        seed: of the takes, the noise and the idle movement.
        fps: frames a second; capture times jitter by a tenth of a frame, as cameras' do.
        rest_ms: how long the hands rest before, after and between signs.
        transit_ms: time for the hands to come up or go down, at tempo 1.
        fidget: every rest holds a movement that is no sign: a hand comes up to the face or the hair, and goes down.
        gap_ms: when given, the hands stay up between signs and travel this long from one to the next.
        width: frame width in pixels.
        height: frame height in pixels.
    """
    rng = np.random.default_rng([person.seed, seed, 2])
    timeline = _Timeline(person, rng)
    rest = timeline.fidget if fidget else timeline.rest
    rest(rest_ms)
    for position, label in enumerate(labels):
        is_linked = gap_ms is not None and position > 0
        timeline.sign(label, transit_ms=gap_ms if is_linked and gap_ms is not None else transit_ms / person.tempo)
        if gap_ms is None or position == len(labels) - 1:
            timeline.go_down(transit_ms / person.tempo)
            rest(rest_ms)
    num_frames = max(2, int(timeline.end_ms * fps / 1000.0))
    times_ms = (np.arange(num_frames) + rng.uniform(-0.1, 0.1, num_frames)) * 1000.0 / fps
    times_ms -= times_ms[0]
    landmarks = _render(person, timeline.states_at(times_ms), rng, width=width, height=height)
    clip = Clip(landmarks=landmarks, times_ms=times_ms, width=width, height=height, signer=person.name)
    return SignedStream(clip=clip, signs=tuple(timeline.signs))


class _Timeline:
    """Pieces of movement in a row; each maps its phase to both arms' states `[n, 2, 15]`, the dominant arm first."""

    def __init__(self, person: Person, rng: np.random.Generator) -> None:
        self._person = person
        self._rng = rng
        self._pieces: list[tuple[float, Callable[[Phase], Array]]] = []
        self.end_ms = 0.0
        self.signs: list[TimedSign] = []

    def rest(self, duration_ms: float) -> None:
        """Hands hang or lie in the lap, swaying slowly."""
        sway = self._rng.uniform(0.5, 1.5) * duration_ms / 1000.0
        amount = self._rng.uniform(0.01, 0.04)

        def piece(phase: Phase) -> Array:
            states = np.tile(_REST, (len(phase), 1, 1))
            states[:, :, WRIST] += amount * np.sin(np.pi * sway * phase)[:, None, None]
            return states

        self._append(duration_ms, piece)

    def fidget(self, duration_ms: float) -> None:
        """Rest in which a hand comes up, relaxed, to touch the face or the hair, and sinks again: movement, no sign."""
        self.rest(duration_ms * 0.25)
        arm = int(self._rng.integers(2))
        place = np.array([0.2, -0.45, -0.45]) + self._rng.normal(0.0, 0.12, 3)
        rub = self._rng.uniform(0.0, 0.06)

        def piece(phase: Phase) -> Array:
            states = np.tile(_REST, (len(phase), 1, 1))
            states[:, arm, WRIST] = place + rub * np.sin(6 * np.pi * phase)[:, None] * (1.0, 0.5, 0.0)
            states[:, arm, FINGERS_TO] = (-0.5, -1.0, 0.1)
            states[:, arm, PALM_TO] = (-0.7, 0.0, 1.0)
            return states

        self._travel_to(piece, self._rng.uniform(600.0, 900.0))
        self._append(duration_ms * 0.5, piece)
        self.go_down(self._rng.uniform(600.0, 900.0))
        self.rest(duration_ms * 0.25)

    def sign(self, label: str, *, transit_ms: float) -> None:
        """Travel from where the hands are to the sign's start, and perform it."""
        sign = SIGNS[label]
        place = self._rng.normal(0.0, 0.03, 3)
        tilt = self._rng.normal(0.0, 0.08, 3)
        duration_ms = sign.duration_ms / self._person.tempo * self._rng.uniform(0.9, 1.1)

        def piece(phase: Phase) -> Array:
            eased = phase + 0.04 * np.sin(2 * np.pi * phase)
            states = np.tile(_REST, (len(phase), 1, 1))
            states[:, 0, WRIST] = sign.path(eased) * self._person.size_of_movement + place
            states[:, 0, FINGERS_TO] = np.asarray(sign.fingers_to) + tilt
            states[:, 0, PALM_TO] = sign.palm_to
            states[:, 0, CURL] = sign.curl(eased)
            states[:, 0, SPREAD] = sign.spread
            if sign.other == "mirrored":
                states[:, 1] = states[:, 0]
            elif sign.other == "base":
                states[:, 1] = _BASE
            return states

        self._travel_to(piece, transit_ms)
        self.signs.append(TimedSign(label=label, start_ms=self.end_ms, end_ms=self.end_ms + duration_ms))
        self._append(duration_ms, piece)

    def go_down(self, duration_ms: float) -> None:
        """Hands return to rest."""
        self._travel_to(lambda phase: np.tile(_REST, (len(phase), 1, 1)), duration_ms)

    def states_at(self, times_ms: Array) -> Array:
        """Both arms' states `[n, 2, 15]` at these times; the last piece goes on after its end."""
        states = np.tile(_REST, (len(times_ms), 1, 1))
        start_ms = 0.0
        for duration_ms, piece in self._pieces:
            inside = (times_ms >= start_ms) & (times_ms < start_ms + duration_ms)
            if inside.any():
                states[inside] = piece((times_ms[inside] - start_ms) / duration_ms)
            start_ms += duration_ms
        return states

    def _travel_to(self, following: Callable[[Phase], Array], duration_ms: float) -> None:
        start = self._pieces[-1][1](np.ones(1))[0]
        goal = following(np.zeros(1))[0]

        def piece(phase: Phase) -> Array:
            share = phase**3 * (10 - 15 * phase + 6 * phase**2)  # minimum jerk, as human reaching
            return start + share[:, None, None] * (goal - start)

        self._append(duration_ms, piece)

    def _append(self, duration_ms: float, piece: Callable[[Phase], Array]) -> None:
        self._pieces.append((duration_ms, piece))
        self.end_ms += duration_ms


def _arm_state(
    wrist: Sequence[float], fingers_to: Sequence[float], palm_to: Sequence[float], curl: Sequence[float]
) -> Array:
    return np.array([*wrist, *fingers_to, *palm_to, *curl, 0.2])


_REST: Final = np.stack([_arm_state((0.45, 1.75, -0.25), DOWN, INWARD, RELAXED)] * 2)
_BASE: Final = _arm_state((0.05, 0.42, -0.6), INWARD, (0.0, -1.0, 0.0), FLAT)

# Head and legs hardly move in signing. Rows: pose index of the left point, of the right one, the left one's place.
_HEAD: Final = (
    (2, 5, (0.11, -0.62, -0.35)), (1, 4, (0.08, -0.62, -0.36)), (3, 6, (0.14, -0.62, -0.34)),
    (7, 8, (0.24, -0.58, -0.1)), (9, 10, (0.08, -0.42, -0.36)), (11, 12, (0.5, 0.0, 0.0)),
    (23, 24, (0.33, 1.5, 0.05)), (25, 26, (0.36, 2.5, -0.3)),
    (27, 28, (0.36, 3.4, 0.1)), (29, 30, (0.36, 3.5, 0.12)), (31, 32, (0.4, 3.6, -0.1)),
)  # fmt: skip
_NOSE: Final = (0.0, -0.52, -0.42)

# From the thumb on: where a finger leaves the palm (along the fingers, towards the thumb), its bones, its splay.
_KNUCKLE_AT: Final = np.array([(0.2, 0.25), (0.5, 0.18), (0.52, 0.05), (0.48, -0.08), (0.43, -0.19)])
_BONES: Final = np.array(
    [(0.22, 0.18, 0.14), (0.26, 0.16, 0.12), (0.28, 0.18, 0.13), (0.26, 0.16, 0.12), (0.2, 0.12, 0.1)]
)
_SPLAY: Final = np.array([0.9, 0.3, 0.08, -0.15, -0.4])
_BEND: Final = np.radians([(35, 40, 40), (75, 95, 60), (75, 95, 60), (75, 95, 60), (75, 95, 60)])


def _render(person: Person, states: Array, rng: np.random.Generator, *, width: int, height: int) -> NDArray[np.float32]:
    """Both arms' states `[T, 2, 15]` to landmarks `[T, 75, 3]` in fractions of the frame."""
    num_frames = len(states)
    body = np.full((num_frames, NUM_POINTS, 3), np.nan)
    body[:, 0] = _NOSE
    for left, right, place in _HEAD:
        body[:, left] = place
        body[:, right] = np.asarray(place) * (-1, 1, 1)
    dominant_side = 1 if person.is_left_handed else -1
    for arm, side in ((0, dominant_side), (1, -dominant_side)):
        flip = np.array([side, 1.0, 1.0])
        shoulder: Array = np.array([0.5 * side, 0.0, 0.0])
        elbow, wrist = _solve_arm(shoulder, states[:, arm, WRIST] * flip, person, side)
        hand = _pose_hand(states[:, arm], wrist, person.hand, flip)
        is_left = side == 1
        body[:, 13 if is_left else 14] = elbow
        body[:, 15 if is_left else 16] = wrist
        for pose_left, in_hand in ((17, 17), (19, 5), (21, 2)):
            body[:, pose_left if is_left else pose_left + 1] = hand[:, in_hand]
        body[:, LEFT_HAND if is_left else RIGHT_HAND] = hand
    body[..., 2] -= 0.3  # MediaPipe's depth starts between the hips, behind the shoulders of somebody who leans in
    cos, sin = np.cos(person.lean), np.sin(person.lean)
    x = cos * body[..., 0] - sin * body[..., 1]
    y = sin * body[..., 0] + cos * body[..., 1]
    scale = person.shoulder_width
    aspect = width / height
    landmarks = np.stack(
        [0.5 + (person.centre_x + x * scale) / aspect, person.shoulder_y + y * scale, body[..., 2] * scale / aspect],
        axis=-1,
    )
    landmarks += rng.normal(0.0, person.jitter, landmarks.shape)
    for hand in (LEFT_HAND, RIGHT_HAND):
        knuckles = landmarks[:, hand.start + 9]
        is_out = (knuckles[:, 1] > 0.98) | (knuckles[:, 0] < 0.0) | (knuckles[:, 0] > 1.0)
        is_lost = rng.random(num_frames) < person.dropout
        landmarks[is_out | is_lost, hand] = np.nan
        landmarks[:, hand, 2] -= landmarks[:, hand.start, None, 2]  # a hand's depth is relative to its own wrist
    assert np.isfinite(landmarks[:, POSE]).all()
    return landmarks.astype(np.float32)


def _solve_arm(shoulder: Array, goal: Array, person: Person, side: int) -> tuple[Array, Array]:
    """Two-bone inverse kinematics: elbow `[T, 3]` and the wrist `[T, 3]`, drawn in when the goal is out of reach."""
    upper, fore = person.upper_arm, person.forearm
    reach = goal - shoulder
    distance = np.linalg.norm(reach, axis=1, keepdims=True)
    direction = reach / distance
    distance = np.clip(distance, abs(upper - fore) + 0.05, (upper + fore) * 0.99)
    along = (upper**2 - fore**2 + distance**2) / (2 * distance)
    bend = np.sqrt(np.maximum(upper**2 - along**2, 0.0))
    pole = np.array([0.5 * side, 1.0, 0.3])  # elbows point down, out and back
    across = _unit(pole - direction * (direction @ pole)[:, None])
    return shoulder + direction * along + across * bend, shoulder + direction * distance


def _pose_hand(states: Array, wrist: Array, size: float, flip: Array) -> Array:
    """The 21 points of a hand `[T, 21, 3]`; `flip` turns the dominant side's directions into the picture's."""
    forward = _unit(states[:, FINGERS_TO])
    palm = states[:, PALM_TO]
    palm = _unit(palm - forward * np.sum(palm * forward, axis=1, keepdims=True))
    thumb_to = np.cross(forward, palm)
    points = np.zeros((len(states), 21, 3))
    for finger in range(5):
        along, aside = _KNUCKLE_AT[finger] * size
        joint = forward * along + thumb_to * aside
        splay = _SPLAY[finger] * (0.5 + 0.5 * states[:, SPREAD] if finger == 0 else states[:, SPREAD])
        pointing = np.cos(splay)[:, None] * forward + np.sin(splay)[:, None] * thumb_to
        first = 1 + 4 * finger
        points[:, first] = joint
        angle = np.zeros(len(states))
        for bone in range(3):
            angle = angle + states[:, CURL.start + finger] * _BEND[finger, bone]
            joint = joint + _BONES[finger, bone] * size * (
                np.cos(angle)[:, None] * pointing + np.sin(angle)[:, None] * palm
            )
            points[:, first + 1 + bone] = joint
    return wrist[:, None] + points * flip


def _unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
