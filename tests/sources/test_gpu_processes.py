"""Which process uses the GPU: NVML's lists, /proc, cgroups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.proc import identity
from gnomon.proc.cgroups import parse_cgroup
from gnomon.sources._nvml_fields import counter_growth
from gnomon.sources._processes import process_columns
from gnomon.sources.nvml import NvmlSource

ID = "3f4e" * 16
OTHER = "ab01" * 16
POD = "8c1d2f7e-55aa-4b1e-9d3c-0123456789ab"
POD_SYSTEMD = POD.replace("-", "_")
STATIC_POD = "0123456789abcdef" * 2
SLICE = f"kubepods-burstable-pod{POD_SYSTEMD}.slice"

# Text of /proc/PID/cgroup -> (container, pod), by runtime, cgroup version and cgroup driver.
CGROUPS = {
    "host, v2": ("0::/user.slice/user-1000.slice/session-3.scope", (None, None)),
    "host, v1": ("4:memory:/user.slice\n1:name=systemd:/init.scope\n0::/", (None, None)),
    "docker, v2, systemd": (f"0::/system.slice/docker-{ID}.scope", (ID, None)),
    "docker, v1, cgroupfs": (f"12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}", (ID, None)),
    "docker in docker": (f"0::/docker/{OTHER}/docker/{ID}", (ID, None)),
    "containerd, v2, systemd": (
        f"0::/kubepods.slice/kubepods-burstable.slice/{SLICE}/cri-containerd-{ID}.scope",
        (ID, POD),
    ),
    "containerd, v1, cgroupfs": (f"9:cpu,cpuacct:/kubepods/besteffort/pod{POD}/{ID}", (ID, POD)),
    "containerd, guaranteed": (
        f"0::/kubepods.slice/kubepods-pod{POD_SYSTEMD}.slice/cri-containerd-{ID}.scope",
        (ID, POD),
    ),
    "containerd, odd mix of drivers": (
        f"5:memory:/system.slice/containerd.service/{SLICE}:cri-containerd:{ID}",
        (ID, POD),
    ),
    "cri-o": (f"0::/kubepods.slice/{SLICE}/crio-{ID}.scope/container", (ID, POD)),
    "cri-o's monitor": (f"0::/kubepods.slice/{SLICE}/crio-conmon-{ID}.scope", (None, POD)),
    "podman, root": (f"0::/machine.slice/libpod-{ID}.scope/container", (ID, None)),
    "podman, rootless": (
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
        (ID, None),
    ),
    "podman's monitor": (f"0::/machine.slice/libpod-conmon-{ID}.scope", (None, None)),
    "static pod": (f"0::/kubepods/burstable/pod{STATIC_POD}/{ID}", (ID, STATIC_POD)),
    "kind: a node in docker": (
        f"0::/docker/{OTHER}/kubelet.slice/kubelet-{SLICE}/cri-containerd-{ID}.scope",
        (ID, POD),
    ),
    "seen from another cgroup namespace": (f"0::/../docker-{ID}.scope", (ID, None)),
    "empty": ("", (None, None)),
}


@pytest.mark.parametrize("name", CGROUPS)
def test_container_and_pod_of_a_cgroup(name):
    text, expected = CGROUPS[name]

    assert parse_cgroup(text) == expected
    assert parse_cgroup(text + "\n") == expected


@given(st.text(max_size=300))
def test_any_text_parses_to_ids_that_occur_in_it(text):
    container, pod = parse_cgroup(text)

    assert container is None or container in text
    assert pod is None or pod in text.replace("_", "-")


HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(HEX, st.uuids(), st.sampled_from(["docker-{}.scope", "cri-containerd-{}.scope", "{}"]))
def test_every_id_is_found_again(container, uid, form):
    path = f"0::/kubepods.slice/kubepods-pod{str(uid).replace('-', '_')}.slice/"

    assert parse_cgroup(path + form.format(container)) == (container, str(uid))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_narrow_counter_that_wraps_once_is_read_right(start, grown):
    assert counter_growth(start, (start + grown) % 2**32, 32) == grown


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_wide_counter_never_gives_a_negative_growth(before, after):
    growth = counter_growth(before, after, 64)

    assert growth == (after - before if after >= before else None)


# --- /proc ---------------------------------------------------------------------------------------


@pytest.fixture
def proc(tmp_path):
    """A small /proc in the first pid namespace, with one process in a pod."""
    root = tmp_path / "proc"
    process = root / "4242"
    process.mkdir(parents=True)
    (root / "sys/kernel/random").mkdir(parents=True)
    (root / "sys/kernel/random/boot_id").write_text("b0b0\n")
    (root / "self/ns").mkdir(parents=True)
    (root / "self/ns/pid").symlink_to("pid:[4026531836]")
    (process / "stat").write_text("4242 (python (x)) S 1 " + " ".join(["0"] * 17) + " 777 0 0")
    (process / "cmdline").write_bytes(b"python\0serve.py\0--model=llama\0")
    (process / "status").write_text("Name:\tpython\nNSpid:\t4242\t17\n")
    (process / "cgroup").write_text(CGROUPS["cri-o"][0])
    (process / "fd").mkdir()
    return root


def test_columns_of_a_process_in_a_pod(proc):
    columns = process_columns(4242, proc)

    assert columns == {
        "process_id": identity.process_hash("b0b0", 4242, 777),
        "ns_pid": 17,
        "name": "python (x)",
        "command_line": "python serve.py --model=llama",
        "user": (proc / "4242").owner(),
        "container_id": ID,
        "pod_uid": POD,
    }


def test_a_process_that_is_gone_has_no_columns(proc):
    assert process_columns(5, proc) == {}


def test_in_a_container_a_pid_is_believed_only_if_it_holds_a_gpu(proc):
    (proc / "self/ns/pid").unlink()
    (proc / "self/ns/pid").symlink_to("pid:[4026532999]")
    assert process_columns(4242, proc) == {}

    (proc / "4242/fd/7").symlink_to("/dev/nvidia0")
    assert process_columns(4242, proc)["name"] == "python (x)"


# --- with NVML -----------------------------------------------------------------------------------


@pytest.fixture
def processes(nvml, clock, opened, rows_of, proc):
    def read():
        source = opened(NvmlSource(proc=proc))
        clock.advance(2)
        return {row["pid"]: row for row in rows_of(source.read(), "gpu_processes")}

    return read


def test_a_process_is_listed_with_what_proc_knows(nvml, processes):
    nvml.add("process 0 Compute 4242 5000", "process 0 Graphics 99 18446744073709551615")
    nvml.add("util 0 4242 80 20 1 2")

    rows = processes()

    assert rows[4242]["kind"] == "compute"
    assert rows[4242]["vram_used_bytes"] == 5000
    assert rows[4242]["command_line"] == "python serve.py --model=llama"
    assert (rows[4242]["sm_pct"], rows[4242]["memory_pct"]) == (80.0, 20.0)
    assert (rows[4242]["encoder_pct"], rows[4242]["decoder_pct"]) == (1.0, 2.0)
    assert rows[99]["kind"] == "graphics"
    assert rows[99]["vram_used_bytes"] is None
    assert "process_id" not in rows[99]  # not in /proc: nothing is made up
    assert "sm_pct" not in rows[99]


def test_a_process_in_several_lists_is_one_row(nvml, processes):
    nvml.add("process 0 MPSCompute 4242 7", "process 0 Compute 4242 7")

    assert {pid: row["kind"] for pid, row in processes().items()} == {4242: "mps"}


@pytest.mark.parametrize("code", [3, 6])
def test_where_utilisation_is_not_found_the_newer_call_is_asked(nvml, processes, code):
    nvml.add("process 0 Compute 4242 5000", "util 0 4242 80 20 0 0")
    nvml.fail("nvmlDeviceGetProcessUtilization", code)

    assert processes()[4242]["sm_pct"] == 80.0


def test_idle_processes_and_impossible_shares_have_no_share(nvml, processes):
    nvml.add("process 0 Compute 4242 5000", "util 0 4242 4294967295 20 0 0")

    assert processes()[4242]["sm_pct"] is None
    assert processes()[4242]["memory_pct"] == 20.0


def test_where_no_call_gives_utilisation_it_is_missing_by_name(nvml, clock, opened, proc):
    nvml.add("process 0 Compute 4242 5000")
    nvml.fail("nvmlDeviceGetProcessUtilization", 3)
    nvml.fail("nvmlDeviceGetProcessesUtilizationInfo", 3)
    source = opened(NvmlSource(proc=proc))
    clock.advance(2)
    source.read()

    assert "sm_pct" in {m.metric for m in source.describe().missing}


def test_processes_are_listed_every_five_seconds(nvml, clock, opened, rows_of, proc):
    nvml.add("process 0 Compute 4242 5000")
    source = opened(NvmlSource(proc=proc))
    lengths = []
    for _ in range(6):
        clock.advance(1)
        lengths += [row["duration_ns"] for row in rows_of(source.read(), "gpu_processes")]

    assert lengths == [0, 5 * 10**9]
