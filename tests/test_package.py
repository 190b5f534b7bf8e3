"""Rules of the whole package: what imports what, how long files are, what is public, what the README promises."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sdvlm

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sdvlm"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
LAYERS = (
    {"types"},
    {"geometry", "extras", "machine"},
    {"depth", "fusion", "engine"},
    {"models", "endpoint"},
    {"scenes", "data", "pairs", "pretrain", "train", "eval", "serve", "nano", "ablation"}
    | {"viz", "page", "inspect", "answering", "demo", "bench"},
    {"cli", "__main__"},
)
"""Imports point down: a room may import its own layer and those before it. The last but one is an order of its own:"""
WITHIN = ("scenes", "data", "pairs", "pretrain", "train", "eval", "nano", "ablation", "answering", "inspect", "demo")
FOREIGN_TO_CORE = ("typer", "rich")


def room(module):
    return module.split(".")[0]


def layer(module):
    return next(index for index, names in enumerate(LAYERS) if room(module) in names)


def imports(module, top_level_only=False):
    """Names of the sdvlm modules a module imports, anywhere in it or only when it is itself imported."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree) if not top_level_only else runs_at_import(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sdvlm":
            assert node.level == 0
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}".removeprefix("sdvlm.")
                found.add(deeper if deeper in MODULES else node.module.removeprefix("sdvlm").removeprefix("."))
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("sdvlm").removeprefix(".") for a in node.names if room(a.name) == "sdvlm"}
    return found - {"", "sdvlm"}


def runs_at_import(tree):
    """Nodes outside functions and outside ``if TYPE_CHECKING``."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
            continue
        yield node
        waiting += list(ast.iter_child_nodes(node))


@pytest.mark.parametrize("module", [name for name in MODULES if name not in ("", "__init__")])
def test_imports_point_down_only(module):
    for target in imports(module):
        assert layer(target) <= layer(module), f"{module} imports {target}"
        if room(module) in WITHIN and room(target) in WITHIN:
            assert WITHIN.index(room(target)) <= WITHIN.index(room(module)), f"{module} imports {target}"


def test_no_module_needs_itself_to_be_imported():
    graph = {module: imports(module, top_level_only=True) for module in MODULES}
    done: set[str] = set()

    def visit(module, path):
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for target in graph.get(module, ()):
                visit(target, [*path, module])
            done.add(module)

    for module in graph:
        visit(module, [])


def test_every_file_holds_one_concept_of_less_than_300_lines():
    long = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: lines for name, lines in long.items() if lines >= 300} == {}


def test_every_module_says_what_it_is_for():
    silent = [name for name, path in MODULES.items() if path.stat().st_size and not ast.get_docstring(parsed(path))]
    assert silent == []


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def test_only_the_command_line_prints_and_knows_typer_and_rich():
    for name, path in MODULES.items():
        if room(name) == "cli" or name.endswith("__main__"):
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "eval", "exec"), f"{name} calls {node.func.id}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                assert not {room(one) for one in modules} & set(FOREIGN_TO_CORE), f"{name} imports {modules}"


def test_nothing_trusts_remote_code_or_unpickles():
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"trust_remote_code\s*=\s*True|import pickle|allow_pickle\s*=\s*True", text), name


def test_importing_the_package_loads_nothing_heavy():
    code = "import sdvlm, sys; print([m for m in ('numpy', 'torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_public_name_is_there_and_is_what_its_module_has():
    assert sorted(sdvlm.__all__) == sorted(sdvlm._HOME)
    for name in sdvlm.__all__:
        assert getattr(sdvlm, name) is getattr(importlib.import_module(f"sdvlm.{sdvlm._HOME[name]}"), name)
        assert name in dir(sdvlm)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'depth_of_field'"):
        sdvlm.depth_of_field  # noqa: B018


def test_the_version_is_written_once_for_people_and_once_for_pip():
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == sdvlm.__version__


def test_every_required_dependency_is_pinned_and_explained():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.match(r"[\w-]+", one)[0].lower().replace("_", "-") for one in wanted} - {"sdvlm"}
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")
    told = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    for name in names:
        assert re.search(rf"^{name}==", pins, re.M), f"{name} has no pin in constraints.txt"
        assert f"`{name}`" in told, f"docs/dependencies.md does not say why {name} is needed"


def test_no_machine_path_is_committed():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".txt", ".yml", "") and path.is_file():
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert not re.search(r"/(?:home|Users)/[a-z]+/|/work/[m]ain", text), f"{name} names a machine path"
