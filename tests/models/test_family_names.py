"""Only ``models/families`` knows model families by name; every other place that names one is listed with its reason."""

from __future__ import annotations

import ast
from pathlib import Path

from transformers import CONFIG_MAPPING

import sdvlm
from sdvlm.models.families.known import FAMILIES, QUERIED

SOURCE = Path(sdvlm.__file__).parent
ITS_OWN = "models/families/"
_NANO = "nano, which ships in the package, is a stock LLaVA"
_RELEASED = "the released SD-VLM is a LLaVA in a layout of its own"
_FORMAT = "'llava' is a format of training data"
_BENCH = "builds random models of the sizes it names"
_PACKED = "the one processor of packed patches there is, for any tower whose config states them"
LEGITIMATE = {
    "ablation/materials.py": "trains models of nano's kind alone, and says so",
    "bench/random_official.py": _RELEASED,
    "bench/random_vlm.py": _BENCH,
    "cli/export.py": _FORMAT,
    "data/export.py": _FORMAT,
    "eval/toy.py": "builds the tiny model of the toy exam, of nano's kind",
    "fusion/rgb_tower.py": _PACKED,
    "geometry/replay.py": _PACKED,
    "models/official/language.py": _RELEASED,
    "models/official/layout.py": _RELEASED,
    "models/official/load.py": _RELEASED,
    "models/official/plan.py": _RELEASED,
    "models/official/processor.py": _RELEASED,
    "nano/config.py": _NANO,
    "nano/language.py": _NANO,
    "train/config.py": _FORMAT,
    "train/source_files.py": _FORMAT,
    "train/sources.py": _FORMAT,
}
"""why a file names a family"""

TYPES = {*FAMILIES, *QUERIED}
CLASSES = tuple(CONFIG_MAPPING[one].__name__.removesuffix("Config") for one in TYPES if one in CONFIG_MAPPING)


def named(source: str) -> set[str]:
    """Families that code names: model types as strings, classes and modules of transformers; no words in docstrings."""
    tree = ast.parse(source)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in said and node.value in TYPES:
            found.add(node.value)
        names = [node.id] if isinstance(node, ast.Name) else [node.attr] if isinstance(node, ast.Attribute) else []
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None) or ""
            found |= {part for one in (module, *names) for part in one.split(".") if part in TYPES}
        found |= {one for one in names if one.startswith(CLASSES)}
    return found


def test_a_name_is_found_however_it_is_written_but_not_in_words_about_it() -> None:
    assert named("if config.model_type == 'qwen2_vl': pass") == {"qwen2_vl"}
    assert named("from transformers import Gemma3Processor") == {"Gemma3Processor"}
    assert named("import transformers\ntransformers.Idefics2Config()") == {"Idefics2Config"}
    assert named("from transformers.models.glm4v import x") == {"glm4v"}
    assert named('"""As llava does."""\n# llava\nx = "a llava model"') == set()


def test_no_other_code_knows_a_family_by_name() -> None:
    files = {path.relative_to(SOURCE).as_posix(): path for path in SOURCE.rglob("*.py")}
    found = {name: named(path.read_text(encoding="utf-8")) for name, path in files.items()}
    strangers = {name: who for name, who in found.items() if who and name not in LEGITIMATE and ITS_OWN not in name}
    assert strangers == {}, "ask sdvlm.models.families for what is special about a family, or list the file and why"


def test_every_reason_is_still_needed() -> None:
    idle = [name for name in LEGITIMATE if not named((SOURCE / name).read_text(encoding="utf-8"))]
    assert idle == []
