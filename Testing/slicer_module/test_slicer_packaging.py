"""What Slicer's build and its index look at: files, lists, names. Nothing is imported or built."""

import ast
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "Sim4SegSlicer"
UI = MODULE / "Resources" / "UI" / "Sim4Seg.ui"
LIGHT = {"numpy", "PIL", "slicer", "vtk", "qt", "ctk"}
IMPORTED_WHEN_NEEDED = {"dicom_segmentation"}
MEGABYTE = 1 << 20


def python_files(folder):
    return [path for path in folder.rglob("*.py") if "__pycache__" not in path.parts]


def widget_names():
    return {each.get("name") for each in ElementTree.parse(UI).getroot().iter("widget")}


def listed_in(cmake, extension):
    text = (cmake / "CMakeLists.txt").read_text()
    return set(re.findall(rf"^  (\S+\.{extension})$", text, re.MULTILINE))


def test_every_widget_that_the_code_names_is_in_the_ui():
    named = set()
    for path in python_files(MODULE):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value
            is_ui = isinstance(owner, ast.Attribute) and owner.attr == "ui"
            if is_ui or (isinstance(owner, ast.Name) and owner.id == "ui"):
                named.add(node.attr)
    assert {"applyButton", "queryTextEdit", "reportBrowser"} <= named
    assert named <= widget_names()


def test_the_root_hands_its_scene_to_every_mrml_widget():
    root = ElementTree.parse(UI).getroot()
    assert root.find("widget").get("class") == "qMRMLWidget"
    mrml = {
        each.get("name")
        for each in root.iter("widget")
        if each.get("class") in ("qMRMLNodeComboBox", "qSlicerMarkupsPlaceWidget")
    }
    assert mrml == {each.findtext("receiver") for each in root.iter("connection")}


@pytest.mark.parametrize("folder", [MODULE, ROOT / "Sim4SegCore"], ids=lambda path: path.name)
def test_every_python_file_is_listed_for_the_build(folder):
    there = {path.relative_to(folder).as_posix() for path in python_files(folder)}
    difference = listed_in(folder, "py") ^ there
    assert not difference, f"correct the list in {folder.name}/CMakeLists.txt: {difference}"


def test_every_resource_and_the_checkpoint_are_listed_for_the_build():
    resources = {
        path.relative_to(MODULE).as_posix()
        for path in (MODULE / "Resources").rglob("*")
        if path.is_file()
    }
    text = (MODULE / "CMakeLists.txt").read_text()
    assert set(re.findall(r"^  (Resources/\S+)$", text, re.MULTILINE)) == resources
    checkpoint = ROOT / "Resources" / "checkpoint"
    files = {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*.*")}
    text = (ROOT / "Sim4SegCore" / "CMakeLists.txt").read_text()
    assert files <= set(re.findall(r"^  (\S+)$", text, re.MULTILINE))


def test_only_the_module_lies_in_the_module_folder():
    assert [path.name for path in MODULE.glob("*.py")] == ["Sim4Seg.py"]


@pytest.mark.parametrize(
    "path",
    [path for path in python_files(MODULE) if path.stem not in IMPORTED_WHEN_NEEDED],
    ids=lambda path: path.name,
)
def test_nothing_heavy_is_imported_when_slicer_starts(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if node.level == 0 else []
            own = {node.module, *(alias.name for alias in node.names)} if node.level else set()
            assert not own & IMPORTED_WHEN_NEEDED
        else:
            continue
        for name in names:
            top = name.split(".")[0]
            is_light = top in LIGHT or top in sys.stdlib_module_names
            assert is_light or top in ("Sim4SegLib", "Sim4SegCore"), f"{path.name} imports {name}"
            assert not name.startswith("Sim4SegCore.service"), "this imports requests"


HEAVY = ("SimpleITK", "requests", "scipy", "torch", "transformers")


def test_the_module_is_imported_without_what_takes_long():
    code = (
        "import sys\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(MODULE)!r}, {str(Path(__file__).parent)!r}]\n"
        "import pytest\n"
        "try:\n"
        "    import mrml_scene\n"
        "except pytest.skip.Exception:\n"
        "    raise SystemExit('skip')\n"
        "import Sim4SegLib.batch, Sim4SegLib.connection, Sim4SegLib.queries, Sim4SegLib.terms\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.stderr.strip() == "skip":
        pytest.skip("slicer-core is not installed")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]", "import these where they are used"


def test_the_requirements_are_those_of_the_package_less_what_slicer_has():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    installer = ast.parse((MODULE / "Sim4SegLib" / "installer.py").read_text())
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in installer.body
        if isinstance(node, ast.Assign) and node.targets[0].id in ("TORCH", "PACKAGES", "OF_SLICER")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {*project["dependencies"], *project["optional-dependencies"]["service"]}
    ours = {each for each in wanted if not each.startswith(values["OF_SLICER"])}
    assert {*values["TORCH"], *values["PACKAGES"]} == ours


def test_the_entry_of_the_extension_index_follows_its_rules():
    entry = json.loads((ROOT / "Sim4Seg.json").read_text())
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert set(entry) == {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "scm_revision",
        "scm_type",
        "scm_url",
        "tier",
    }
    assert entry["category"] == "Segmentation"
    assert entry["build_dependencies"] == ["PyTorch"]
    assert entry["scm_url"].endswith("/SlicerSim4Seg.git")
    assert entry["tier"] in (1, 3, 5)


def test_the_pictures_that_the_index_shows_are_in_the_repository():
    text = (ROOT / "CMakeLists.txt").read_text()
    urls = re.findall(r"https://raw\.githubusercontent\.com/[^\s\"]+", text)
    assert len(urls) >= 3
    for url in urls:
        assert (ROOT / url.split("/main/")[1]).is_file(), url
    icon = (MODULE / "Resources" / "Icons" / "Sim4Seg.png").read_bytes()
    assert icon[16:24] == (128).to_bytes(4, "big") * 2


def test_a_clone_is_small():
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    sizes = [(ROOT / name).stat().st_size for name in done.stdout.split("\0") if name]
    assert sum(sizes) < 60 * MEGABYTE


STUB = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${Slicer_USE_FILE})
set(Slicer_EXTENSION_CPACK ${Slicer_USE_FILE})
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/qt-scripted-modules)
function(slicer_add_python_unittest)
endfunction()
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown arguments: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  set(folder "")
  if(MY_WITH_SUBDIR)
    get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  endif()
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    configure_file(${CMAKE_CURRENT_SOURCE_DIR}/${file}
      ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${folder}/${file} COPYONLY)
  endforeach()
endmacro()
"""


def test_the_tree_configures_and_what_it_installs_works_by_itself(tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    stub = tmp_path / "Slicer"
    stub.mkdir()
    (stub / "SlicerConfig.cmake").write_text(STUB)
    (stub / "nothing.cmake").write_text("")
    build = tmp_path / "build"
    command = ["cmake", "-S", ROOT, "-B", build, f"-DSlicer_DIR={stub}", "-DBUILD_TESTING=ON"]
    done = subprocess.run(
        # Nothing is compiled, so compilers need not be tried.
        [*map(str, command), "-DCMAKE_C_COMPILER_FORCED=1", "-DCMAKE_CXX_COMPILER_FORCED=1"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "No CMAKE_C" in done.stderr:
        pytest.skip("no compiler, which project() looks for")
    assert done.returncode == 0, done.stderr
    installed = build / "lib" / "qt-scripted-modules"
    assert (installed / "Sim4Seg.py").is_file()
    assert (installed / "Sim4SegCore" / "checkpoint" / "config.json").is_file()
    code = (
        "import Sim4SegCore, Sim4SegLib.planes, Sim4SegLib.terms as terms\n"
        "print(terms.term_for('polyp').region, Sim4SegCore.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["colon", str(installed / "Sim4SegCore" / "__init__.py")]
