"""The picture in docs/throttling.md, from the simulation of the tests: `python -m docs.calls`."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from kinetics.scheduling.call_pace import CallPace
from kinetics.scheduling.throttle import Throttle
from tests.unit.test_throttle import DAY, HOUR, FakeLimit, Run, new_clips, simulate

HERE = Path(__file__).parent
COLOURS = {"with": "#1f77b4", "without": "#d62728"}


def main() -> None:
    """Make the picture anew."""
    mpl.use("agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - after the choice of what draws

    figure, (day, week) = plt.subplots(2, 1, figsize=(8, 5), layout="constrained")
    for name, limited in (("without", False), ("with", True)):
        limit = FakeLimit(calls=300, window_s=HOUR, ban_s=HOUR)
        run = simulate(Throttle(16, pace=CallPace(limited=limited)), new_clips(), limit, until=7 * DAY)
        for axes, until, step in ((day, DAY, HOUR), (week, 7 * DAY, 3 * HOUR)):
            draw(axes, run, until, step, name)
    day.set_title("clips an hour over the first day: 300 calls an hour allowed, bans of an hour", loc="left", size=10)
    week.set_title("over the first week", loc="left", size=10)
    for axes in (day, week):
        axes.legend(frameon=False, loc=(0.56, 0.15))
    figure.savefig(HERE / "calls.png", dpi=90, facecolor="white", metadata={"Software": None})


def draw(axes: Axes, run: Run, until: float, step: float, name: str) -> None:
    """Draw the clips an hour of a run up to a time, in steps of this many seconds."""
    counts = [0.0] * round(until / step)
    for at, _ in run.outcomes:
        if at < until:
            counts[int(at / step)] += HOUR / step
    label = f"{name} the published limit: {sum(counts) * step / HOUR / (300 * until / HOUR):.1%} of the best"
    edges = [number * step / HOUR for number in range(len(counts) + 1)]
    axes.stairs(counts, edges, color=COLOURS[name], label=label, linewidth=1.8 if name == "with" else 1.2)
    axes.set_xlim(0, until / HOUR)
    axes.set_ylim(0, 330)
    axes.set_xlabel("hours", size=9)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
