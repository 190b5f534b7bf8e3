import re
import sys
import tomllib
from pathlib import Path

import numpy
import pytest

from sdvlm.extras import EXTRAS, install_command, is_installed, require
from sdvlm.types import SdvlmError


def test_an_installed_module_is_returned() -> None:
    assert require("numpy") is numpy
    assert require("numpy.linalg") is numpy.linalg


def test_a_missing_module_says_what_needs_it_and_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SdvlmError, match=r"^LoRA training needs peft.*pip install 'sdvlm\[train\]'$"):
        require("peft", "LoRA training")
    with pytest.raises(SdvlmError, match=r"pip install no_such_module_at_all$"):
        require("no_such_module_at_all")


def test_a_broken_module_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed.py").write_text("import a_dependency_that_is_gone\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SdvlmError, match="is installed but does not import: No module named 'a_dependency"):
        require("half_installed")


def test_is_installed_does_not_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "present_but_not_imported.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert is_installed("present_but_not_imported")
    assert "present_but_not_imported" not in sys.modules
    assert not is_installed("no_such_module_at_all")


def imported_as(package: str) -> str:
    return {"pyyaml": "yaml"}.get(package, package.replace("-", "_"))


def test_extras_are_those_of_the_package_metadata() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    declared = {
        extra: {imported_as(re.split(r"[\[<>=; ]", item)[0]) for item in items} - {"sdvlm"}
        for extra, items in project["optional-dependencies"].items()
    }
    assert declared == {extra: set(modules) for extra, modules in EXTRAS.items()}
    assert install_command("peft.tuners") == "pip install 'sdvlm[train]'"
