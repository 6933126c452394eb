"""Every exception pickles and stands in the tree that the docstring draws."""

import pickle

import pytest

from stages import errors

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_error_travels_and_is_drawn(kind: type[Exception]) -> None:
    copy = pickle.loads(pickle.dumps(kind("what, where")))
    assert type(copy) is kind
    assert str(copy) == "what, where"
    assert kind.__name__ in (errors.__doc__ or "")


def test_sample_errors_have_a_cause_of_their_own() -> None:
    causes = [kind.cause for kind in CLASSES if issubclass(kind, errors.SampleError)]
    assert len(set(causes)) == len(causes)
