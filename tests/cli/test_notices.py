"""A user hears of each event worth telling, once."""

from gnomon import tables
from gnomon.cli.notices import EventTeller


def happen(teller, *events):
    rows = [
        {"ts_ns": 1, "duration_ns": 0, "severity": severity, "message": message}
        for severity, message in events
    ]
    teller.append("events", tables.batch("events", rows))


def test_warnings_are_told_once_and_in_order_and_the_rest_never():
    teller = EventTeller()
    happen(teller, ("info", "started"), ("warning", "nvml is slow"))
    happen(teller, ("critical", "GPU 0 is lost"))

    assert list(teller.news()) == ["nvml is slow", "GPU 0 is lost"]
    assert list(teller.news()) == []


def test_rows_of_other_tables_are_no_news():
    teller = EventTeller()
    teller.append("losses", tables.batch("losses", [{"ts_ns": 1, "reason": "queue_full"}]))

    assert list(teller.news()) == []
