"""Names as drivers give them, to rows; anything else to none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.hardware import load, match
from gnomon.hardware.matching import mig_memory_eighths

# Names printed by nvidia-smi -L on real machines.
REAL_NAMES = {
    "Tesla V100-SXM2-16GB": "V100-SXM2-16GB",
    "Tesla V100-PCIE-32GB": "V100-PCIe",
    "Tesla T4": "T4",
    "NVIDIA A10": "A10",
    "NVIDIA A10G": "A10G",
    "NVIDIA A30": "A30",
    "NVIDIA A40": "A40",
    "A100-SXM4-40GB": "A100-SXM4-40GB",
    "NVIDIA A100-PCIE-40GB": "A100-PCIe-40GB",
    "NVIDIA A100 80GB PCIe": "A100-PCIe-80GB",
    "NVIDIA A100-SXM4-80GB": "A100-SXM4-80GB",
    "NVIDIA L4": "L4",
    "NVIDIA L40S": "L40S",
    "GeForce RTX 3090": "RTX 3090",
    "NVIDIA GeForce RTX 3090": "RTX 3090",
    "NVIDIA GeForce RTX 4090": "RTX 4090",
    "NVIDIA RTX 6000 Ada Generation": "RTX 6000 Ada",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "RTX PRO 6000 Blackwell Server",
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": "RTX PRO 6000 Blackwell WS",
    "NVIDIA H100 80GB HBM3": "H100-SXM5-80GB",
    "NVIDIA H100 PCIe": "H100-PCIe-80GB",
    "NVIDIA H100 NVL": "H100-NVL-94GB",
    "NVIDIA H200": "H200-SXM-141GB",
    "NVIDIA H200 NVL": "H200-NVL-141GB",
    "NVIDIA H20": "H20-96GB",
    "NVIDIA GH200 480GB": "GH200-96GB",
    "NVIDIA GH200 144G HBM3e": "GH200-144GB",
    "NVIDIA B200": "B200-SXM-180GB",
    "NVIDIA GB200": "GB200-186GB",
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb": "H100-SXM5-80GB",
    "NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb": "A100-SXM4-40GB",
    "NVIDIA H200 MIG 1g.18gb+me": "H200-SXM-141GB",
}

# Real devices that the table does not have, each the beginning or the end of one that it has.
OTHERS = [
    "NVIDIA A10M",
    "NVIDIA A100",
    "NVIDIA A100-SXM-64GB",
    "NVIDIA A800-SXM4-80GB",
    "NVIDIA H20-3e",
    "NVIDIA H800",
    "NVIDIA H100 PCIe MIG",
    "NVIDIA L40",
    "NVIDIA L4-24Q",
    "NVIDIA GeForce RTX 4090 D",
    "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA GeForce RTX 3090 Ti",
    "NVIDIA RTX 6000",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
    "Quadro RTX 6000",
    "Tesla V100S-PCIE-32GB",
    "",
]


@pytest.mark.parametrize(("name", "sku"), REAL_NAMES.items())
def test_real_names_find_their_row(name, sku):
    assert match(name).sku == sku


@pytest.mark.parametrize("name", OTHERS)
def test_names_that_only_look_alike_find_none(name):
    assert match(name) is None


@pytest.mark.parametrize("spec", load().values(), ids=lambda spec: spec.sku)
def test_every_row_is_found_by_each_of_its_names_and_shares_none(spec):
    assert [match(name) for name in spec.nvml_names] == [spec] * len(spec.nvml_names)
    others = {n for other in load().values() if other is not spec for n in other.nvml_names}
    assert others.isdisjoint(spec.nvml_names)


letters = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12)
names = st.sampled_from([name for spec in load().values() for name in spec.nvml_names])


@given(name=names, before=st.one_of(st.just(""), letters), after=st.one_of(st.just(""), letters))
def test_garbage_around_a_name_never_finds_another_row(name, before, after):
    own = match(name)
    for garbled in (f"{before}{name}{after}", f"{before} {name} {after}"):
        found = match(garbled)
        if found is not None and found is not own:
            # Only by spelling another row's name whole: "NVIDIA H200" and "NVL" give a real name.
            bare = garbled.casefold().split()
            assert bare in [n.casefold().split() for n in found.nvml_names]


@given(st.text(max_size=40))
def test_any_text_is_matched_without_an_error(text):
    found = match(text)

    assert found is None or found in load().values()


@pytest.mark.parametrize(
    ("name", "memory_gigabytes", "eighths"),
    [
        # NVIDIA MIG User Guide, tables of profiles: fraction of memory.
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 40, 1),
        ("NVIDIA A100-SXM4-40GB MIG 1g.10gb", 40, 2),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 40, 4),
        ("NVIDIA A100-SXM4-40GB MIG 7g.40gb", 40, 8),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 80, 1),
        ("NVIDIA H100 80GB HBM3 MIG 1g.20gb", 80, 2),
        ("NVIDIA H200 MIG 1g.18gb", 141, 1),
        ("NVIDIA H200 MIG 3g.71gb", 141, 4),
        ("NVIDIA A30 MIG 1g.6gb", 24, 2),
        ("NVIDIA B200 MIG 1g.23gb", 180, 1),
        ("NVIDIA H200", 141, None),
    ],
)
def test_a_mig_name_tells_its_share_of_memory(name, memory_gigabytes, eighths):
    assert mig_memory_eighths({"name": name}, memory_gigabytes * 10**9) == eighths
