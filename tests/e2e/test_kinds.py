"""One kind of clip in a folder: a run that would add another kind says so, and goes on only with --mix."""

from __future__ import annotations

from pathlib import Path

from tests.support.sandbox import ROWS, Sandbox, assert_stopped
from tests.youtube.world import FAILURES, Scenario

MORE, GONE = ROWS[6:], ROWS[0]
COPY = ("--cut", "keyframe", "-w", "1")


def test_a_run_that_would_add_another_kind_stops_or_goes_on_with_mix(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, scenarios={GONE.youtube_id: Scenario(failure=FAILURES["private"])})
    sandbox.write_csv(ROWS[:6])
    assert sandbox.run(*COPY).code == 0
    there, log, table = sandbox.files(), sandbox.errors_log.read_text(), sandbox.stats.read_text()
    assert (len(there), log.count("\n")) == (5, 1)

    sandbox.write_csv(ROWS)
    said = "5 of the clips on disk were cut with --cut keyframe, and this run would add clips of --cut"
    for options in ((), ("--cut", "exact"), ("--dry-run",), ("--source", "both")):
        run = sandbox.run_here(*options)
        assert_stopped(run, said, "Give --cut keyframe to add more of them, --mix to have both kinds")
        assert (run.out, run.requests) == ("", []), "these are the first lines, and nobody was asked"
    assert (sandbox.files(), sandbox.errors_log.read_text(), sandbox.stats.read_text()) == (there, log, table)

    lower = sandbox.run_here(*COPY, "--max-height", "144")
    assert_stopped(lower, "5 of the clips on disk were made with --max-height 360")
    assert sandbox.run_here(*COPY, "--dry-run").code == 0
    from_mirror = sandbox.run("--source", "mirror", "--dry-run")
    assert from_mirror.out.startswith("Kinetics700 validate: 8 clips wanted, 5 on disk"), "another source is no kind"
    run = sandbox.run("--mix", "--cut", "exact", "-w", "2")
    assert (run.code, run.err.splitlines()[0]) == (0, f"warning: {said} exact")
    assert len(sandbox.files()) == 7

    sandbox.write_csv(ROWS[1:])
    run = sandbox.run_here()
    assert (run.code, run.err) == (0, ""), "there is nothing to do"
    run = sandbox.run_here("--verify", "--quick")
    assert run.code == 0
    what = "5 of the clips on disk were cut with --cut keyframe"
    assert f"of another kind than --cut smart --max-height 360: {what}" in run.out.splitlines()
