"""Counts against published figures, and against instances that transformers builds."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.performance_model import huggingface, parameters
from gnomon.performance_model.architecture import (
    Architecture,
    Experts,
    GroupedAttention,
    LayerGroup,
    Mlp,
)

DATA = Path(__file__).parents[1] / "data" / "models"
PUBLISHED = list(csv.DictReader((DATA / "published.csv").read_text().splitlines()))
SMALL = json.loads((DATA / "small_counts.json").read_text())
OTHERS = json.loads((DATA / "published_configs.json").read_text())


def _counted(name):
    return parameters.count(huggingface.read(name).architecture)


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["name"])
def test_every_figure_of_a_published_model_is_met_exactly(row):
    counted = _counted(row["name"])
    figures = {key: int(value) for key, value in row.items() if key not in {"name", "source"}}
    kv_bytes = figures.pop("kv_bytes_per_token_bf16")

    assert {key: getattr(counted, key) for key in figures} == figures
    assert 2 * counted.kv_values_per_token == kv_bytes


@pytest.mark.parametrize("model", OTHERS, ids=lambda model: model["name"])
def test_totals_of_other_published_models_are_met_exactly(model):
    architecture = huggingface.from_config(model["config"], model["name"]).architecture

    assert parameters.count(architecture).total == model["total"]


@pytest.mark.parametrize("small", SMALL, ids=lambda small: small["config"]["model_type"])
def test_small_models_have_as_many_parameters_as_transformers_gives_them(small):
    architecture = huggingface.from_config(small["config"], "small").architecture
    windowed = sum(g.count for g in architecture.groups if getattr(g.attention, "window", None))

    assert parameters.count(architecture).total == small["total"]
    assert windowed == small["windowed_layers"]


@pytest.mark.parametrize(("name", "gibibytes"), [("gpt-oss-120b", 60.77), ("gpt-oss-20b", 12.82)])
def test_checkpoints_of_gpt_oss_are_as_large_as_its_card_says(name, gibibytes):
    architecture = huggingface.read(name).architecture

    assert parameters.weight_bytes(architecture) / 2**30 == pytest.approx(gibibytes, abs=0.005)


def test_unquantised_weights_take_two_bytes_each():
    architecture = huggingface.read("Mixtral-8x7B").architecture

    assert parameters.weight_bytes(architecture) == 2 * _counted("Mixtral-8x7B").total


architectures = st.builds(
    lambda hidden, vocabulary, heads, experts, active, flags: Architecture(
        "drawn",
        hidden=hidden,
        vocabulary=vocabulary,
        groups=(
            LayerGroup(
                2,
                GroupedAttention(heads, 1, 8, None, *flags),
                Experts(experts, min(active, experts), Mlp(7, flags[0], flags[1]), Mlp(3)),
                norm_has_bias=flags[2],
            ),
            LayerGroup(1, GroupedAttention(heads, heads, 8), Mlp(5, flags[1], flags[0])),
        ),
        is_tied=flags[0],
        learned_positions=vocabulary if flags[3] else 0,
    ),
    *[st.integers(1, 64)] * 5,
    st.tuples(*[st.booleans()] * 4),
)


@given(architectures)
def test_the_parts_add_up_to_the_total(architecture):
    c = parameters.count(architecture)
    head = 0 if architecture.is_tied else c.lm_head

    assert c.total == (
        c.embedding
        + c.positions
        + head
        + c.attention
        + c.feed_forward
        + c.shared_experts
        + c.experts
        + c.routers
        + c.vectors
    )
    assert c.matmul_per_token <= c.active_without_embedding <= c.active <= c.total
    assert parameters.weight_bytes(architecture) == 2 * c.total
