"""The configurations of docs/mcp.md work, and so does the bridge to a local model."""

import http.server
import importlib.util
import json
import re
import sys
import threading
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from mcp import Client, StdioServerParameters

from gnomon.mcp.registry import tool_modules

from .conftest import DEMO

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "mcp.md").read_text()
BLOCKS = [json.loads(text) for text in re.findall(r"(?ms)^```json\n(.*?)^```", PAGE)]
ENTRIES = [(block.get("mcpServers") or block["servers"])["gnomon"] for block in BLOCKS]


def test_the_page_lists_every_tool():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(tool_modules())


def test_entries_that_start_the_command_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = {tuple(one["args"]) for one in ENTRIES if one.get("command") == "gnomon"}
    [arguments] = started  # all of them the same
    words = [str(DEMO) if word == "/data/run1" else word for word in arguments]
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "gnomon", *words],
        env={"PYTHONPATH": str(DEMO.parent.parent.parent)},
    )

    async def first_words():
        async with Client(parameters) as client:
            return (await client.call_tool("get_sol", {"since": "-10s"})).content[0].text

    assert "verdict" in anyio.run(first_words)


def test_entries_of_http_have_the_address_and_the_header():
    entries = [one for one in ENTRIES if "url" in one]

    assert len(entries) == 2
    for one in entries:
        assert one["url"] == "http://127.0.0.1:8674/mcp"
        assert one["headers"]["Authorization"].startswith("Bearer ")


class Chat(http.server.BaseHTTPRequestHandler):
    """A chat server that calls a tool, wrongly and rightly, and then answers."""

    replies = (("get_sol", "{not JSON"), ("get_sol", '{"since": "-10s"}'), None)
    asked: ClassVar = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(json.loads(body))
        reply = self.replies[len(self.asked) - 1]
        message = {"role": "assistant", "content": "It is idle."}
        if reply is not None:
            name, arguments = reply
            function = {"name": name, "arguments": arguments}
            call = {"id": "1", "type": "function", "function": function}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        text = json.dumps({"choices": [{"message": message}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def chat():
    Chat.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def test_a_local_model_calls_tools_and_answers(chat, monkeypatch):
    specification = importlib.util.spec_from_file_location("local_model", DOCS / "local_model.py")
    bridge = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(bridge)
    monkeypatch.setenv("PYTHONPATH", str(DEMO.parent.parent.parent))

    assert anyio.run(bridge.answer, chat, "m", str(DEMO), "Why?") == "It is idle."

    first, second, third = Chat.asked
    assert {tool["function"]["name"] for tool in first["tools"]} == set(tool_modules())
    assert "from_process" in first["messages"][0]["content"]
    assert "not JSON" in second["messages"][-1]["content"]
    assert "verdict" in third["messages"][-1]["content"]
