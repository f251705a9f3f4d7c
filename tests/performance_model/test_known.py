"""The models that are shipped, and finding them by name."""

import pytest

from gnomon._errors import ModelError
from gnomon.performance_model import huggingface, known


@pytest.mark.parametrize("name", known.names())
def test_every_known_model_can_be_read_and_needs_no_warning(name):
    reading = huggingface.read(name)

    assert reading.warnings == ()
    assert reading.architecture.name == name


@pytest.mark.parametrize(
    ("meant", "name"),
    [
        ("llama-3.1-8b", "Llama-3.1-8B"),
        ("meta-llama/Llama-3.1-70B-Instruct", "Llama-3.1-70B"),
        (" openai/GPT-OSS-20B ", "gpt-oss-20b"),
    ],
)
def test_a_model_is_found_in_either_case_and_by_its_name_on_the_hub(meant, name):
    assert known.find(meant) == name


def test_an_unknown_name_is_met_with_the_nearest_ones():
    with pytest.raises(ModelError, match=r"Llama-3-8B is neither.*Llama-3\.1-8B.*config\.json"):
        known.find("Llama-3-8B")
