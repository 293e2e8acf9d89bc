"""A wheel built from the tree has all that the commands need, and runs where there is no checkout."""

from __future__ import annotations

import configparser
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that no build/ is left and none is found."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    junk = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("eosvos", "conf", "tasksets"):
        shutil.copytree(ROOT / name, tree / name, ignore=junk)
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "NOTICE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree / name)
    build = "from setuptools.build_meta import build_wheel; import sys; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=tree, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel) -> Path:
    folder = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A command of the unpacked wheel, started in an empty folder."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    environment.pop("EOSVOS_DATA", None)
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def files(folder: Path, *suffixes: str) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in suffixes}


def test_the_wheel_holds_every_module_configuration_and_list(site):
    assert files(site / "eosvos", ".py") == files(ROOT / "eosvos", ".py")
    assert files(site / "eosvos" / "conf", ".yaml") == files(ROOT / "conf", ".yaml")
    assert files(site / "eosvos" / "tasksets", ".txt", ".yaml") == files(ROOT / "tasksets", ".txt", ".yaml")
    assert files(site / "eosvos" / "plots", ".csv") == files(ROOT / "eosvos" / "plots", ".csv") != set()
    pages = (".html", ".js", ".css")
    assert files(site / "eosvos", *pages) == files(ROOT / "eosvos", *pages) != set()
    tops = {path.name for path in site.iterdir()}
    assert (
        len(tops) == 2 and "eosvos" in tops
    )  # the other is the metadata: no conf/ of ours at the top of site-packages


def test_the_licences_and_requirements_are_in_the_metadata(site):
    (metadata,) = site.glob("*.dist-info")
    assert {"LICENSE", "NOTICE"} <= {path.name for path in metadata.rglob("*") if path.is_file()}
    text = (metadata / "METADATA").read_text()
    assert "Requires-Dist: hydra-core<1.4,>=1.3.7\n" in text and ": Apache-2.0\n" in text
    assert "Maxim Berman" in next(metadata.rglob("NOTICE")).read_text()


def test_the_wheel_runs_with_its_packaged_configuration(site, tmp_path):
    """It composes, finds its split lists, and ends a user's mistake with one message."""
    done = run(site, tmp_path, "-m", "eosvos.eval", "--cfg", "job")
    assert done.returncode == 0 and "iters: 10" in done.stdout, done.stderr
    done = run(site, tmp_path, "-m", "eosvos", "eval", "learner=osvos")  # of another method
    assert done.returncode == 2 and "osvos.safetensors is of OSVOS, which method=osvos takes" in done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
    code = (
        "import eosvos, eosvos.cli.hydra_app as c; from eosvos.data.readers.davis import read_split; "
        "print(eosvos.__file__, c.config_dir(), len(read_split(2016, 'val')))"
    )
    done = run(site, tmp_path, "-c", code)
    package, conf, count = done.stdout.split()
    assert Path(package).is_relative_to(site) and Path(conf) == site / "eosvos" / "conf" and count == "20", done.stderr
    assert not list(tmp_path.iterdir())


def test_the_wheel_brings_the_command_eosvos(site, tmp_path):
    (points,) = site.glob("*.dist-info/entry_points.txt")
    assert "[console_scripts]\neosvos = eosvos.__main__:main\n" in points.read_text()
    done = run(site, tmp_path, "-m", "eosvos", "segment", "--help")  # with the packaged conf/
    assert done.returncode == 0 and "iters" in done.stdout and done.stderr == ""


def test_the_wheel_segments_with_the_learners_that_ship(site, tmp_path):
    small = ["dataset.count=1", "dataset.length=3", "dataset.size=[96,160]", "iters=2"]
    done = run(site, tmp_path, "-m", "eosvos.eval", "-m", "method=eosvos,osvos,osmn", *small)
    assert done.returncode == 0, done.stderr
    for name in ("real", "osvos", "osmn"):
        shipped = site / "eosvos" / "learners" / f"{name}.safetensors"
        assert shipped.stat().st_size <= 10_000_000 and str(shipped) in done.stderr
    assert len(list(tmp_path.glob("runs/eval/**/masks/*/*.png"))) == 3 * 3


def test_the_wheel_is_at_most_25_megabytes_and_a_learner_10(wheel, site):
    assert wheel.stat().st_size <= 25_000_000
    sizes = {path.stem: path.stat().st_size for path in (site / "eosvos" / "learners").glob("*.safetensors")}
    assert {"real", "tiny", "osvos", "osmn"} <= sizes.keys() and max(sizes.values()) <= 10_000_000


def test_importing_the_package_is_cheap():
    code = (
        "import sys, eosvos; print(sorted({'torch', 'hydra', 'numpy', 'cv2'} & set(sys.modules)), len(eosvos.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")


def test_the_package_imports_without_what_windows_lacks():
    """All modules, where Unix's own are hidden."""
    code = (
        "import sys, pkgutil, importlib; "
        "sys.modules.update(dict.fromkeys(('fcntl', 'resource', 'pwd', 'grp', 'termios'))); import eosvos; "
        "names = [m.name for m in pkgutil.walk_packages(eosvos.__path__, 'eosvos.')]; "
        "[importlib.import_module(name) for name in names]; print(len(names))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout) > 100, done.stderr


def test_what_the_package_exports_is_there():
    import eosvos

    for name in eosvos.__all__:
        assert getattr(eosvos, name).__module__.startswith("eosvos.")
    assert set(eosvos.__all__) <= set(dir(eosvos))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = eosvos.nonsense


def test_every_requirement_is_justified():
    """The line above a requirement says what it is for."""
    lines = (ROOT / "setup.cfg").read_text().splitlines()
    requirements = [k for k, line in enumerate(lines) if line.startswith("    ") and (">=" in line)]
    assert len(requirements) >= 15
    assert all(lines[k - 1].startswith("    # ") for k in requirements)


def test_every_package_is_named():
    """setup.cfg names them one by one: a forgotten one would be missing in the wheel only."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    named = set(parser["options"]["packages"].split())
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "eosvos").rglob("__init__.py")}
    found |= {".".join(("eosvos", *p.parent.relative_to(ROOT).parts)) for p in (ROOT / "conf").rglob("*.yaml")}
    assert named == found | {"eosvos.tasksets", "eosvos.learners"}


def test_ci_runs_make_lint_and_make_test():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR and "make lint\nmake test\n" in script.read_text()


def test_make_explains_itself():
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = ("install", "meta-train", "parent-train", "eval", "test", "lint", "bench", "clean")
    assert all(f"make {target} " in done.stdout for target in targets)


def test_the_former_name_of_a_video_is_still_there_with_a_warning():
    import eosvos

    with pytest.warns(DeprecationWarning, match="eosvos.Sequence is now eosvos.VideoSequence"):
        assert eosvos.Sequence is eosvos.VideoSequence
    assert "Sequence" not in eosvos.__all__


def test_the_package_tells_its_version_and_that_it_is_typed():
    import eosvos

    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    assert eosvos.__version__.startswith(settings["metadata"]["version"][:3])
    assert (ROOT / "eosvos" / "py.typed").is_file()
