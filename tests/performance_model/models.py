"""Models, GPUs and shortcuts that several tests use."""

from dataclasses import replace

from hypothesis import strategies as st

from gnomon.hardware import profile, sku_facts
from gnomon.performance_model import huggingface
from gnomon.performance_model.architecture import (
    Architecture,
    Experts,
    Formats,
    GroupedAttention,
    LatentAttention,
    LayerGroup,
    Mlp,
)
from gnomon.performance_model.ceiling import ceiling
from gnomon.performance_model.operators import Execution
from gnomon.performance_model.parallelism import Layout

H200 = profile(sku_facts("H200-SXM-141GB"))
H100 = profile(sku_facts("H100-SXM5-80GB"))
FULL = Execution(attention="full")


def bf16(name):
    """Return a known model with every weight in bf16, as the published counts have it."""
    return replace(huggingface.read(name).architecture, formats=Formats())


def step(architecture, phase, *, gpu=H200, execution=None, **layout):
    """Return the ceiling of a phase, on an H200 where nothing else is said."""
    return ceiling(architecture, gpu, Layout(**layout), phase, execution=execution)


def rows(answer):
    """Return the operators of a ceiling by name."""
    return {one.operator.name: one.operator for one in answer.operators}


DENSE = Architecture(
    "dense", 64, 256, (LayerGroup(4, GroupedAttention(8, 4, 16), Mlp(128)),), is_tied=False
)
WINDOWED = Architecture(
    "windowed",
    64,
    256,
    (
        LayerGroup(2, GroupedAttention(8, 8, 16, window=32), Mlp(128, is_gated=False)),
        LayerGroup(2, GroupedAttention(8, 8, 16), Mlp(128, is_gated=False)),
    ),
    is_tied=True,
)
SPARSE = Architecture(
    "sparse",
    64,
    256,
    (
        LayerGroup(1, GroupedAttention(8, 1, 16), Mlp(128)),
        LayerGroup(3, GroupedAttention(8, 1, 16), Experts(16, 4, Mlp(32), shared=Mlp(32))),
    ),
    is_tied=False,
)
LATENT = Architecture(
    "latent", 64, 256, (LayerGroup(4, LatentAttention(8, 24, 32, 16, 8, 16), Mlp(128)),), False
)
SMALL = (DENSE, WINDOWED, SPARSE, LATENT)
small_models = st.sampled_from(SMALL)
