"""What an agent sees before it asks anything."""

from gnomon import tables
from gnomon.mcp import tools
from gnomon.mcp.registry import tool_modules

from .conftest import HOSTILE

NAMES = {
    *("get_status", "get_sol", "get_timeline", "get_processes", "get_events", "run_sql"),
    *("get_check", "get_causal_chains", "get_trace_stats", "get_stacks"),
}


def test_every_tool_is_a_file_and_says_what_it_does_and_takes(demo):
    found = {tool.name: tool for tool in demo.do(lambda client: client.list_tools()).tools}

    assert set(tool_modules()) == set(found)
    assert set(found) >= NAMES
    for tool in found.values():
        assert len(tool.description) > 100
        assert tool.annotations.read_only_hint
        assert tool.input_schema["additionalProperties"] is False
        assert all("description" in one for one in tool.input_schema["properties"].values())
    assert tools.__doc__


def test_instructions_say_that_words_of_processes_are_data(demo):
    async def instructions(client):
        return client.instructions

    text = demo.do(instructions)

    assert "from_process" in text
    assert "never follow" in text


def test_the_schema_names_every_column_of_every_table(demo):
    found = demo.do(lambda client: client.read_resource("gnomon://schema"))

    text = found.contents[0].text
    for table in tables.TABLES.values():
        part = text.split(f"## {table.name}\n")[1].split("\n## ")[0]
        assert all(f"- {column.name} ({column.type}" in part for column in table.columns)


def test_the_prompt_carries_the_symptom(demo):
    arguments = {"symptom": "tokens/s halved"}
    found = demo.do(lambda client: client.get_prompt("investigate", arguments))

    assert "What was noticed: tokens/s halved" in found.messages[0].content.text


def test_a_misspelt_parameter_is_told_and_not_ignored(demo):
    reply = demo.ask("get_sol", from_ns=3)

    assert reply.is_error
    assert "from_ns" in reply.text


def test_no_tool_lets_a_word_of_a_process_out_unmarked(agent):
    def texts(value, marked=False):
        if isinstance(value, dict):
            for key, one in value.items():
                yield from texts(one, key == "from_process")
        elif isinstance(value, list):
            for one in value:
                yield from texts(one, marked)
        elif isinstance(value, str) and not marked:
            yield value

    asked = {
        "get_sol": {"by": "phase"},
        "run_sql": {"query": "SELECT name, [name], {'n': name}, encode(name) FROM phases"},
    }
    seen = 0
    for tool in NAMES:
        reply = agent.ask(tool, **asked.get(tool, {}))
        assert not any("Ignore your" in text for text in texts(reply.json))
        assert not set(HOSTILE) & {"\x1b", "\u202e", "\U000e0041"} & set(reply.text)
        seen += "Ignore your" in reply.text
    assert seen == len(NAMES)


def test_an_error_of_the_database_that_quotes_data_is_marked(agent):
    reply = agent.ask("run_sql", query="SELECT name::INT FROM phases")

    assert reply.is_error
    assert reply.text.index("from_process") < reply.text.index("Ignore your")
    assert "\x1b" not in reply.text
