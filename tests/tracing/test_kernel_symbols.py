"""Names of the kernel's functions, by a search of the whole list."""

import random

import pytest

from gnomon.tracing.kernel_symbols import KALLSYMS, LONGEST_FUNCTION_BYTES, KernelSymbols

LIST = """\
ffffffff81000000 T _text
ffffffff81000000 T startup_64
ffffffff81000040 t do_one
ffffffff81000100 T _etext
ffffffff82000000 D some_data
ffffffffc0000000 t nvidia_poll\t[nvidia]
ffffffffc0000080 r constants\t[nvidia]
ffffffffa0000000 t bpf_prog_6deef7357e7b4530\t[bpf]
"""


@pytest.fixture
def symbols(tmp_path):
    path = tmp_path / "kallsyms"
    path.write_text(LIST)
    return KernelSymbols(path)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (0xFFFFFFFF81000000, ("_text", None)),
        (0xFFFFFFFF81000041, ("do_one", None)),
        (0xFFFFFFFFC000007F, ("nvidia_poll", "nvidia")),
        (0xFFFFFFFFA0000010, ("bpf_prog_6deef7357e7b4530", "bpf")),
    ],
)
def test_an_address_in_a_function_has_its_name_and_module(symbols, address, expected):
    assert symbols.find(address) == expected
    assert symbols.name(address) == expected[0]


@pytest.mark.parametrize(
    "address",
    [
        *(0, 1, 0xFFFFFFFF80FFFFFF, 0xFFFFFFFF82000001, 0xFFFFFFFFC0000090, 2**64 - 1),
        0xFFFFFFFFA0000000 + LONGEST_FUNCTION_BYTES,
    ],
)
def test_an_address_outside_of_functions_has_no_name(symbols, address):
    assert symbols.find(address) is None
    assert symbols.name(address) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0000000000000000 T _text\n0000000000000000 t do_one\n", "hides the addresses"),
        (None, "cannot read"),
    ],
)
def test_hidden_addresses_are_told_with_the_remedy(tmp_path, text, said):
    path = tmp_path / "kallsyms"
    if text:
        path.write_text(text)
    symbols = KernelSymbols(path)

    assert symbols.find(0xFFFFFFFF81000000) is None
    assert said in symbols.obstacle
    assert "CAP_SYSLOG" in symbols.obstacle


def test_the_running_kernel_has_the_names_of_its_list():
    symbols = KernelSymbols()
    if symbols.obstacle:
        pytest.skip(symbols.obstacle)
    by_address = {}
    for line in KALLSYMS.read_text().splitlines():
        address, kind, name, *module = line.split()
        known = by_address.setdefault(int(address, 16), [])
        known.append((kind in "tTwW", name, module[0][1:-1] if module else None))
    for address in random.Random(1).sample(sorted(by_address), 2000):
        is_text, *expected = by_address[address][0]
        assert symbols.find(address) == (tuple(expected) if is_text else None)
