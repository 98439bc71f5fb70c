"""Wrong usage: one line that names the fault and what to do, exit code 2, and nothing is made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kinetics.cli.main import main

ROWS = "label,youtube_id,time_start,time_end,split\ntai chi,-tai-chi--1,0,10,train\n"
DRY = ("--dry-run", "--annotations", "rows.csv")
NUMBERS = ("-w", "--limit", "--sample", "--max-height", "--timeout", "--rate", "--frames", "--shards", "--short-side")
HUGE = "9" * 5000
"""More digits than Python turns into a whole number."""
WRONG: list[tuple[tuple[str, ...], str]] = [
    # values
    (("-v", "500"), "invalid choice: '500' (choose from '400', '600', '700', '700-2020')"),
    (("-s", "vall"), "invalid choice: 'vall' (choose from 'train', 'test', 'validate', 'all')"),
    (("-w", "0"), "-w/--workers: '0' is not a number above zero"),
    (("-w", "many"), "-w/--workers: 'many' is not a number above zero"),
    (("--shard", "17/16"), "'17/16' is not a part such as 3/16"),
    (("--cut", "precise"), "invalid choice: 'precise'"),
    (("--engine", "youtube-dl"), "'youtube-dl' is not a list of pytubefix, yt-dlp, pytube"),
    (("--frames", "0"), "'0' is not a number above zero"),
    (("--timeout", "-1"), "'-1' is not a number above zero"),
    (("--limit-rate", "fast"), "'fast' is not a number of bytes such as 500K or 5M"),
    (("--proxy", "ftp://proxy"), "'ftp://proxy' is not the address of an HTTP proxy such as http://host:3128"),
    (("--scheduler", "host"), "'host' is not the address of a Dask scheduler such as tcp://host:8786"),
    (("-o", "s3://"), "'s3://' is neither a folder nor a URL such as s3://bucket/prefix"),
    *(((option, value), "is not a number above zero") for option in NUMBERS for value in ("0", "nan", "")),
    (("-w", HUGE), "is not a number above zero"),
    *(((option, "1" + "0" * 300), "is too large: at most") for option in (*NUMBERS, "--limit-rate")),
    *((("--timeout", value), "is too large: at most 1,000,000,000") for value in ("1e300", "inf")),
    *(((option, "1e-300"), "is too small: at least 0.001") for option in ("--timeout", "--rate", "--frames")),
    (("--limit-rate", "0.5"), "'0.5' is too small: at least 1 "),
    (("--limit-rate", "0"), "'0' is not a number of bytes"),
    (("-w", "1001"), "'1001' is too large: at most 1,000"),
    (("--seed", HUGE), "is not a whole number of at most 18 digits"),
    *(((option, ""), "'' is not a path") for option in ("-o", "--annotations", "--only", "--adopt", "--cookies")),
    (("--compare", "", "rows.csv"), "--compare: '' is not a path"),
    (("-o", "file:///%00"), "is not a path"),
    *(
        ((option, "~nobody-has-this-name/x"), "there is no home folder for '~nobody-has-this-name/x'")
        for option in ("-o", "--annotations")
    ),
    # options
    (("--versoin", "400"), "--versoin 400; did you mean --version?"),
    (("train",), "unrecognized arguments: train"),
    (("--only",), "--only: expected one argument"),
    (("--quick",), "--quick belongs to --verify"),
    (("--quality", "5"), "--quality belongs to --frames"),
    (("--short-side", "256", "--lists"), "--short-side belongs to a download or to --resize, not to --lists"),
    (("--fps", "5", "--frames", "5"), "--fps belongs to a download or to --resize, not to --frames"),
    (("--resize",), "--resize takes --short-side, --fps or --keyframes"),
    (("--fps", "15", "--cut", "keyframe"), "--cut keyframe copies the picture as it is: --fps needs --cut smart or"),
    (("--short-side", "256", "--cut", "none"), "--cut none copies the picture as it is"),
    (("--report", "--verify"), "--verify: not allowed with argument --report"),
    (("--frames", "5", "--cut", "none"), "--cut none keeps whole videos"),
    (("--lists", "-o", "s3://bucket/prefix"), "copy the data set to one, and give that to -o"),
    (("--clip-list", "all of them"), "invalid choice: 'all of them'"),
    (("--clip-list", "cvdf"), "CVDF has no list of Kinetics-700: the one of 700-2020 is another data set's"),
    ((*DRY, "--clip-list", "official"), "--annotations takes their place"),
    ((*DRY, "--refresh"), "--annotations takes their place"),
    (("--source", "mirror", "--shard", "1/2"), "run --source mirror without --shard first"),
    # files and folders
    (("--dry-run", "--annotations", "missing.csv"), "Cannot read the annotations in missing.csv: No such file"),
    (("--dry-run", "--annotations", "page.csv"), "page.csv"),
    ((*DRY, "--only", "missing.csv"), "Cannot read the list of clips in missing.csv: No such file"),
    ((*DRY, "--classes", "tai chii"), "There is no class 'tai chii'; the nearest is 'tai chi'"),
    ((*DRY, "--classes", "@missing.txt"), "Cannot read the classes in missing.txt: No such file or directory. Check"),
    ((*DRY, "--cookies", "missing.txt"), "Cannot read the cookies in missing.txt"),
    (("--compare", "missing.csv", "rows.csv"), "Cannot read the manifest missing.csv: No such file or directory. Name"),
    ((*DRY, "-o", "rows.csv"), "rows.csv is a file, not a folder. Move it away or choose another folder with -o"),
    ((*DRY, "-o", "rows.csv/inside"), "rows.csv is a file, not a folder"),
    ((*DRY, "--classes", "@~nobody-has-this-name/x"), "Cannot read the classes in ~nobody-has-this-name/x"),
    ((*DRY, "-o", "loop"), "loop is a link that leads in a circle"),
    ((*DRY, "-o", "linked"), "linked/Kinetics700 is a link to"),
    ((*DRY, "-o", "linked/Kinetics700"), "linked/Kinetics700 is a link to"),
    ((*DRY, "-o", "linked/circle/x"), "linked/circle is a link that leads in a circle"),
    *(
        ((*command, "--annotations", "rows.csv", "-o", "mistyped"), "mistyped has no Kinetics700 data set: ")
        for command in (
            ("--report",),
            ("--verify",),
            ("--manifest",),
            ("--lists",),
            ("--sound", "wav"),
            ("--shards", "10"),
        )
    ),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[" ".join(arguments)[:60] for arguments, _ in WRONG])
def test_wrong_usage_gets_one_line_and_exit_code_2_and_makes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(ROWS)
    Path("page.csv").write_text("<!doctype html><title>404</title>")
    Path("linked").mkdir()
    Path("linked/Kinetics700").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    Path("linked/circle").symlink_to("circle")
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    try:
        code: object = main(arguments)
    except SystemExit as ended:
        code = ended.code
    told = capsys.readouterr()
    assert (code, told.out, told.err.count("\n")) == (2, "", 1), told
    assert told.err.startswith("error: ")
    assert said in told.err
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("typed", ["val", "validation", "validate"])
def test_the_subset_has_the_names_that_other_tools_give_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(ROWS)
    assert main([*DRY, "-s", typed]) == 0
    assert "Kinetics700 validate: 1 clip wanted" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 120])
def test_the_help_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > width] == []


@pytest.mark.parametrize("option", ["-V", "--program-version"])
def test_the_program_tells_its_version_and_those_that_a_fault_may_hang_on(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([option])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert re.fullmatch(r"kinetics-downloader [\d.]+ \(Python [\d.]+, pytubefix [\d.]+, yt-dlp [\d.]+\)\n", shown)
