"""What every finding owes its reader: queries that stand alone and give the same values."""

import pytest

from gnomon.enums import Severity


def proved(case, findings):
    """Return findings as a list, once each of their queries has given its value again."""
    found = list(findings)
    for finding in found:
        assert finding.from_ns <= finding.to_ns <= case.span.to_ns
        for one in (*finding.evidence, *finding.ruled_out):
            (row,) = case.session.rows(one.sql)
            (value,) = row.values()
            assert value == (one.value if isinstance(value, str) else pytest.approx(one.value))
    return found


def assert_of_the_gpu(world, finding, truth):
    """What the GPU lost is told where counters say it, and nowhere else."""
    if not world.knobs.counters:
        assert finding.lost_seconds is None
        return
    assert finding.lost_seconds <= finding.thread_seconds
    # When in a bin of 100 ms a GPU was idle is not known.
    assert finding.lost_seconds == pytest.approx(truth.gpu_idle_seconds, rel=0.25)


def found_loss(case, detect, world, tolerance, severity=Severity.WARNING):
    """Return a finding for each truth of a world that is worth a word, with the loss it is due."""
    found = {finding.tid: finding for finding in proved(case, detect(case))}
    due = [one for one in world.truth if one.lost_seconds > 0.05 * world.seconds]
    assert due
    assert set(found) >= {one.tid for one in due}
    for truth in due:
        finding = found[truth.tid]
        assert finding.cause == truth.cause
        assert finding.pid == truth.pid
        assert finding.thread_seconds == pytest.approx(truth.lost_seconds, rel=tolerance)
        assert_of_the_gpu(world, finding, truth)
        assert finding.severity is severity
    return list(found.values())
