"""From the files of ``tools`` to what the SDK registers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations

from gnomon._errors import GnomonError
from gnomon.mcp import tools
from gnomon.mcp.desk import Desk
from gnomon.mcp.reply import Answer, visible

# What every tool is: it changes nothing, and asks nobody but the recording.
READ_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def tool_modules() -> Mapping[str, ModuleType]:
    """Return tool name -> module, from the files of the package."""
    return {
        found.name: importlib.import_module(f"{tools.__name__}.{found.name}")
        for found in pkgutil.iter_modules(tools.__path__)
    }


def tools_of(desk: Desk) -> list[Tool]:
    """Return every tool, bound to a desk."""
    return [_tool(name, module, desk) for name, module in tool_modules().items()]


def _tool(name: str, module: ModuleType, desk: Desk) -> Tool:
    tool = Tool.from_function(
        _bound(name, module.answer, desk),
        name=name,
        description=inspect.getdoc(module.answer),
        annotations=READ_ONLY,
    )
    # A parameter that is misspelt must not pass for one that was left out.
    loose = tool.fn_metadata.arg_model
    strict: Any = type(loose.__name__, (loose,), {"model_config": {"extra": "forbid"}})
    tool.fn_metadata.arg_model = strict
    tool.parameters = strict.model_json_schema(by_alias=True)
    return tool


def _bound(name: str, answer: Callable[..., Answer], desk: Desk) -> Callable[..., CallToolResult]:
    """Return the tool as the SDK calls it: without the desk, and with errors that are read."""

    def call(**arguments: object) -> CallToolResult:
        try:
            text = answer(desk, **arguments).text()
        except GnomonError as error:
            raise ToolError(visible(str(error))) from error
        return CallToolResult(content=[TextContent(type="text", text=text)])

    # The SDK makes the input schema of what it finds here.
    _, *asked = inspect.signature(answer, eval_str=True).parameters.values()
    signature = inspect.Signature(asked, return_annotation=CallToolResult)
    annotations = {one.name: one.annotation for one in asked} | {"return": CallToolResult}
    call.__dict__["__signature__"] = signature
    call.__annotations__ = annotations
    call.__name__ = name
    return call
