# ruff: noqa: INP001, T201
"""Let a local model use gnomon's tools: a bridge to any OpenAI-compatible server.

python docs/local_model.py http://127.0.0.1:8080/v1 MODEL RECORDING "Why is this GPU slow?"

OPENAI_API_KEY is sent where it is set.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters

MOST_TURNS = 30
# A local model on a CPU takes its time.
TIMEOUT_S = 600.0


async def answer(url: str, model: str, recording: str, question: str) -> str:
    """Return the model's answer, after as many tool calls as it wanted."""
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "gnomon", "mcp", recording], env=dict(os.environ)
    )
    key = os.environ.get("OPENAI_API_KEY", "none")
    headers = {"Authorization": f"Bearer {key}"}
    async with Client(command) as gnomon, httpx2.AsyncClient(timeout=TIMEOUT_S) as chat:
        tools = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.input_schema,
                },
            }
            for tool in (await gnomon.list_tools()).tools
        ]
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": gnomon.instructions},
            {"role": "user", "content": question},
        ]
        for _ in range(MOST_TURNS):
            asked = {"model": model, "messages": messages, "tools": tools}
            reply = await chat.post(f"{url}/chat/completions", json=asked, headers=headers)
            message = reply.raise_for_status().json()["choices"][0]["message"]
            messages.append(message)
            if not message.get("tool_calls"):
                return str(message["content"])
            messages += [await _called(gnomon, call) for call in message["tool_calls"]]
    return f"no answer after {MOST_TURNS} turns"


async def _called(gnomon: Client, call: dict[str, Any]) -> dict[str, Any]:
    """Return the message with a tool's answer; the model reads of its own mistakes in it."""
    name = call["function"]["name"]
    try:
        arguments = json.loads(call["function"]["arguments"] or "{}")
    except ValueError as error:
        text = f"the arguments are not JSON: {error}"
    else:
        print(f"{name} {arguments}", file=sys.stderr)
        result = await gnomon.call_tool(name, arguments)
        text = "\n".join(part.text for part in result.content if part.type == "text")
    return {"role": "tool", "tool_call_id": call["id"], "content": text}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("url", "model", "recording", "question"):
        parser.add_argument(name)
    print(asyncio.run(answer(**vars(parser.parse_args()))))
