import threading

from gnomon.tui.refresher import Refresher
from gnomon.tui.snapshot import Request


def test_of_many_requests_only_the_newest_waits():
    entered, go, done = threading.Event(), threading.Event(), threading.Event()
    answered = []

    def answer(request):
        entered.set()
        go.wait(10)
        answered.append(request.at_ns)
        return request.at_ns

    refresher = Refresher(answer)
    refresher.listen(lambda at_ns: done.set() if at_ns == 9 else None)
    refresher.request(Request(at_ns=0))
    assert entered.wait(10)
    for at_ns in range(1, 10):
        refresher.request(Request(at_ns=at_ns))
    go.set()
    assert done.wait(10)
    refresher.stop(10)

    assert answered == [0, 9]


def test_who_listens_late_gets_the_newest_answer_at_once():
    done = threading.Event()

    def answer(request):
        done.set()
        return "first"

    refresher = Refresher(answer)
    refresher.request(Request())
    assert done.wait(10)
    refresher.stop(10)
    heard = []

    refresher.listen(heard.append)

    assert heard == ["first"]
