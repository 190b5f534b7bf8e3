"""What a shell sees: verbs, help, exit codes, one line for an error."""

import importlib
import importlib.util
import logging
import subprocess
import sys

import pytest

import sdvlm
from sdvlm.cli import main as cli
from sdvlm.cli.errors import describe
from sdvlm.types import SdvlmError

HEAVY = ("torch", "numpy", "transformers", "PIL", "trimesh", "sdvlm.types")


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    out, err = capsys.readouterr()
    return left.value.code, out, err


def heavy_modules_after(*arguments):
    """Names of heavy modules that a fresh process has imported after running the command line."""
    code = (
        "import sys\nfrom sdvlm.cli.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as left:\n"
        f"    print(left.code or 0, *[name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    code, *names = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    return names


def test_help_lists_every_verb_and_imports_nothing_heavy():
    assert heavy_modules_after("--help") == []


def test_every_verb_is_listed_with_its_line(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for verb, (_, line) in cli.VERBS.items():
        assert verb in out
        assert line.split()[0] in out


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_of_a_verb_imports_nothing_heavy(verb):
    assert heavy_modules_after(verb, "--help") == []


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_points_at_a_function_that_is_there(verb):
    module, _, function = cli.VERBS[verb][0].partition(":")
    assert importlib.util.find_spec(module) is not None
    assert callable(getattr(importlib.import_module(module), function))


def test_version_is_that_of_the_package(capsys):
    assert run(capsys, "--version") == (0, f"sdvlm {sdvlm.__version__}\n", "")


def test_without_a_verb_the_help_is_shown(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert "Usage: sdvlm" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dpeth"], "No such command 'dpeth'. Did you mean 'depth'?"),
        (["--colour"], "No such option"),
        (["ask"], "Missing argument"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_one_line_and_exit_code_2(capsys, arguments, said):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


def verb_that_raises(monkeypatch, error):
    def verb() -> None:
        raise error

    monkeypatch.setattr(sys.modules[__name__], "raised", verb, raising=False)
    monkeypatch.setitem(cli.VERBS, "demo", (f"{__name__}:raised", ""))


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SdvlmError("depth is 2x2\n  but the image is 3x3"), 2, "error: depth is 2x2 but the image is 3x3"),
        (RuntimeError("out of luck"), 1, "error: RuntimeError: out of luck; "),
        (FileNotFoundError(2, "No such file or directory", "a.png"), 1, "error: a.png: No such file or directory"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
    ],
)
def test_an_error_in_a_verb_becomes_its_exit_code_and_one_line(capsys, monkeypatch, error, code, said):
    verb_that_raises(monkeypatch, error)
    got, out, err = run(capsys, "demo")
    assert (got, out) == (code, "")
    assert err.startswith(said) or code == 130
    assert err.count("\n") <= 1
    assert "Traceback" not in err


@pytest.mark.parametrize("how", ["flag before", "flag after", "environment"])
def test_debug_shows_the_traceback_and_keeps_the_exit_code(capsys, monkeypatch, how):
    verb_that_raises(monkeypatch, SdvlmError("no"))
    if how == "environment":
        monkeypatch.setenv("SDVLM_DEBUG", "1")
    arguments = {"flag before": ["--debug", "demo"], "flag after": ["demo", "--debug"], "environment": ["demo"]}[how]
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "Traceback" in err
    assert "in verb" in err


def test_a_broken_verb_does_not_break_the_help_of_the_others(capsys, monkeypatch):
    monkeypatch.setitem(cli.VERBS, "bench", ("sdvlm.cli.not_there:bench", "x"))
    assert run(capsys, "--help")[0] == 0
    code, _, err = run(capsys, "bench")
    assert code == 1
    assert err.count("\n") == 1


def test_an_unforeseen_error_is_told_apart_from_bad_input():
    assert describe(ZeroDivisionError("division by zero"))[0] == 1
    assert describe(SdvlmError("x"))[0] == 2


@pytest.mark.parametrize(("option", "shown"), [([], False), (["--verbose"], True)])
def test_what_is_being_done_is_said_on_stderr_only_when_asked(capsys, monkeypatch, option, shown):
    def verb() -> None:
        logging.getLogger("sdvlm.depth").info("reading")
        logging.getLogger("sdvlm.depth").warning("odd")

    monkeypatch.setattr(sys.modules[__name__], "logged", verb, raising=False)
    monkeypatch.setitem(cli.VERBS, "demo", (f"{__name__}:logged", ""))
    code, out, err = run(capsys, *option, "demo")
    assert (code, out) == (0, "")
    assert ("INFO: reading" in err) == shown
    assert err.count("WARNING: odd") == 1
