"""Registered means tested: every layer of rnnzoo.layers passes `rnnzoo.layers.check`."""

import keras
import pytest
from layer_cases import all_cases

import rnnzoo.layers
from rnnzoo.layers import check

CASES = all_cases()


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    case = CASES[name]
    result = check(case.make(), oracle=case.oracle, properties=case.properties, **case.settings)
    assert result.proven
    if case.oracle is not None:
        assert "oracle" in result.proven


def registered():
    """Classes of rnnzoo.layers that Keras can make by name."""
    return {
        kind
        for kind in keras.saving.get_custom_objects().values()
        if isinstance(kind, type) and kind.__module__.startswith("rnnzoo.layers.")
    }


def test_every_registered_class_has_a_case_of_all_its_properties():
    assert registered()
    whole = {kind for case in CASES.values() if case.properties is None for kind in (type(case.make()), *case.proves)}
    missing = sorted(kind.__name__ for kind in registered() - whole if issubclass(kind, keras.layers.Layer))
    assert not missing, f"no case in tests/support/layer_cases examines {missing}"


def test_every_public_layer_is_registered():
    public = [getattr(rnnzoo.layers, name) for name in rnnzoo.layers.__all__]
    layers = {kind for kind in public if isinstance(kind, type) and issubclass(kind, keras.layers.Layer)}
    assert layers <= registered()
