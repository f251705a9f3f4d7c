"""The command: what it serves, to whom, and what it says where it cannot."""

import re
import signal
import sys

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from gnomon.recording.announcement import announce

TOKEN = "0123456789abcdef0123"


def told(process, pattern):
    """Read stderr up to a line that matches; return what is in its brackets."""
    for line in process.stderr:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"never said: {pattern}")


def ask(url, token):
    async def first_words():
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            return (await client.call_tool("get_status", {})).content[0].text

    return anyio.run(first_words)


def test_http_answers_who_has_the_new_token_and_nobody_else(start_gnomon, h200_recording):
    process = start_gnomon("mcp", h200_recording, "--http", "--port", 0)
    token = told(process, r"token: (\S+)")
    url = told(process, r"(http://127\.0\.0\.1:\d+/mcp)")

    assert '"gpus"' in ask(url, token)
    for headers in ({}, {"Authorization": f"Bearer {token}x"}, {"Authorization": token}):
        refused = httpx2.post(url, json={"jsonrpc": "2.0", "id": 1}, headers=headers)
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    rebound = httpx2.post(
        url, json={}, headers={"Authorization": f"Bearer {token}", "Host": "evil.example"}
    )
    assert rebound.status_code == 421

    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_http_takes_a_token_from_the_environment_and_does_not_tell_it(
    start_gnomon, h200_recording, environment
):
    process = start_gnomon("mcp", h200_recording, "--http", "--port", 0, GNOMON_MCP_TOKEN=TOKEN)
    line = process.stderr.readline()

    assert TOKEN not in line
    assert '"gpus"' in ask(re.search(r"http\S+", line)[0], TOKEN)


def test_without_a_directory_it_is_the_recording_of_this_host(
    environment, h200_recording, tmp_path
):
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "gnomon", "mcp"], env=environment
    )

    async def first_words():
        async with Client(parameters) as client:
            return (await client.call_tool("get_status", {})).content[0].text

    with announce(tmp_path / "run", h200_recording):
        assert '"to":"2026-11-20' in anyio.run(first_words)


def test_ctrl_c_ends_it_while_it_waits_for_input(environment, h200_recording):
    import subprocess

    process = subprocess.Popen(
        [sys.executable, "-m", "gnomon", "mcp", str(h200_recording)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    hello = '{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
    process.stdin.write(hello)
    process.stdin.flush()
    process.stdout.readline()

    process.send_signal(signal.SIGINT)

    assert process.wait(20) == -signal.SIGINT
    process.communicate()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 1, "nothing is being recorded on this host"),
        (["/nowhere"], 1, "no such directory"),
        (["RECORDING", "--port", "80"], 2, "are for --http"),
        (["RECORDING", "--model", "no-such-model"], 2, "known model"),
        (["RECORDING", "--phase", "decode"], 2, "add --model"),
        (["RECORDING", "--http", "--token-file", "SHORT"], 1, "at least 16"),
        (["RECORDING", "--http", "--host", "203.0.113.1"], 1, "cannot listen on 203.0.113.1"),
    ],
)
def test_what_cannot_be_served_is_told(
    gnomon, h200_recording, tmp_path, arguments, status, message
):
    short = tmp_path / "short"
    short.write_text("x\n")
    places = {"RECORDING": h200_recording, "SHORT": short}

    done = gnomon("mcp", *(places.get(word, word) for word in arguments))

    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr


def test_without_the_sdk_it_says_what_to_install(gnomon_process, h200_recording, tmp_path):
    (tmp_path / "mcp.py").write_text("raise ModuleNotFoundError('No module named mcp', name='mcp')")
    import gnomon as package

    path = f"{tmp_path}:{package.__path__[0]}/.."
    done = gnomon_process("mcp", h200_recording, PYTHONPATH=path)

    assert done.returncode == 1
    assert "pip install 'gnomon[mcp]'" in done.stderr
    assert "Traceback" not in done.stderr
