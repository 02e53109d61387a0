"""Ray-shape intersections against brute force: march along the ray until a point lies inside."""

import math
from collections.abc import Callable

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from worldstream.worlds.procedural.shapes import FAR, Hit, hit_box, hit_cone, hit_cylinder, hit_ellipsoid

Point = tuple[float, float, float]
Inside = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
STEP_M, REACH_M = 0.002, 30.0
sizes = st.floats(0.4, 3.0)
angles = st.floats(0, 2 * math.pi)


@st.composite
def rays(draw: st.DrawFn) -> tuple[Point, Point]:
    """From 6 to 12 m away, above the ground, towards somewhere near the shape."""
    turn, far = draw(angles), draw(st.floats(6, 12))
    eye = far * math.sin(turn), draw(st.floats(0.3, 6)), far * math.cos(turn)
    aim = draw(st.floats(-3, 3)), draw(st.floats(0.05, 4)), draw(st.floats(-3, 3))
    d = [a - e for a, e in zip(aim, eye, strict=True)]
    n = math.hypot(*d)
    return eye, (d[0] / n, d[1] / n, d[2] / n)


def check(ray: tuple[Point, Point], hit: Hit, inside: Inside) -> None:
    """`hit` is where the marched ray goes in; where it only grazes, either answer is right."""
    (ox, oy, oz), (dx, dy, dz) = ray
    t = np.arange(0, REACH_M, STEP_M)
    within = inside(ox + t * dx, oy + t * dy, oz + t * dz)
    run = int(np.argmax(within)) if within.any() else -1
    if hit[0] >= FAR:
        assert within.sum() * STEP_M < 0.05, "missed what the march meets"
        return
    if math.hypot(ox + hit[0] * dx, oz + hit[0] * dz) > 1e-3:  # the tip of a cone has no normal
        assert math.isclose(math.hypot(*hit[1:]), 1.0, abs_tol=1e-3)
        assert hit[1] * dx + hit[2] * dy + hit[3] * dz < 1e-3, "the normal faces the eye"
    if run >= 0 and within.sum() * STEP_M >= 0.05:
        assert abs(t[run] - hit[0]) < 0.02


@example(
    ((8.743955927797627, 2.5, 5.614429535294077), (-0.7473241148414911, -0.17150732200900365, -0.641943849471028)),
    2.2078724584085583,
    1.0,
)  # meets the lid exactly at its rim
@given(rays(), sizes, sizes)
def test_cylinder(ray: tuple[Point, Point], r: float, h: float) -> None:
    check(ray, hit_cylinder(*ray[0], *ray[1], r, -1.0, h), lambda x, y, z: (x * x + z * z < r * r) & (y > -1) & (y < h))


@given(rays(), sizes, sizes, st.floats(-0.5, 3))
def test_ellipsoid(ray: tuple[Point, Point], r: float, half: float, yc: float) -> None:
    check(
        ray,
        hit_ellipsoid(*ray[0], *ray[1], r, yc, half),
        lambda x, y, z: (x * x + z * z) / r**2 + (y - yc) ** 2 / half**2 < 1,
    )


@given(rays(), sizes, st.floats(1.0, 6.0))
def test_cone(ray: tuple[Point, Point], r: float, h: float) -> None:
    def inside(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return (y > 0) & (y < h) & (np.hypot(x, z) < r * (1 - y / h))

    check(ray, hit_cone(*ray[0], *ray[1], r, 0.0, h), inside)


@given(rays(), sizes, sizes, st.floats(1.0, 6.0))
def test_box(ray: tuple[Point, Point], hx: float, hz: float, h: float) -> None:
    check(ray, hit_box(*ray[0], *ray[1], hx, hz, h), lambda x, y, z: (np.abs(x) < hx) & (np.abs(z) < hz) & (y < h))
