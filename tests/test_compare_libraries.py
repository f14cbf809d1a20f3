"""The measured differences are those of this code and of the installed libraries."""

import pytest

from library_differences import ROUNDING, read_differences

pytestmark = pytest.mark.xdist_group("libraries")  # which take seconds to import

MEASURED = read_differences()
CHEAP = (
    "timm for the course, both in float64",
    "float32 for float64",
    "eps 1e-12 for 1e-6",
    "eps 1e-5 for 1e-6",
    "tanh GELU for erf GELU",
    "6 heads for 3",
    "no bias for keys",
    "no last norm",
)
CURE = "Run `make compare`."


@pytest.fixture(scope="module")
def study():
    import compare_libraries

    return compare_libraries


def test_file_was_made_by_these_scripts_with_these_versions(study):
    assert MEASURED["scripts"] == study.digest(), CURE
    assert MEASURED["versions"] == study.versions(), CURE


@pytest.mark.parametrize("weights", ["random", "initial"])
def test_effects(weights):
    from library_effects import measure_changes

    stored = {row["change"]: row[weights] for row in MEASURED["effects"]}
    for name, size in measure_changes(CHEAP, weights).items():
        if stored[name] < ROUNDING:
            assert size < ROUNDING, name
        else:  # rounding differs from machine to machine
            factor = 3 if "float32" in name else 1.06
            assert stored[name] / factor < size < stored[name] * factor, name


@pytest.mark.parametrize(
    ("part", "measure"),
    [
        ("blocks", "blocks"),
        ("dropout", "dropout_sites"),
        ("pixels", "pixels"),
    ],
)
def test_what_the_libraries_do(part, measure, study):
    assert MEASURED[part] == getattr(study, measure)()


def test_initial_values(study):
    measured = study.initial_values()
    assert measured.keys() == MEASURED["initial"].keys()
    for library, values in measured.items():
        assert values == pytest.approx(MEASURED["initial"][library], rel=0.01), library


def test_only_pytorch_starts_with_equal_blocks():
    equal = [name for name, row in MEASURED["initial"].items() if row["equal blocks"]]
    assert equal == ["PyTorch"]
