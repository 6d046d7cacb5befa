import threading

import pytest

from vae_anomaly.threads import ahead


def test_pieces_come_in_their_order_and_one_is_got_while_another_is_in_use():
    got, in_use = [], threading.Event()

    def pieces():
        for number in range(4):
            got.append((number, threading.current_thread() is threading.main_thread()))
            if number == 1:
                assert in_use.wait(10)  # the first is in use before the second is there
            yield number

    used = []
    for piece in ahead(pieces()):
        in_use.set()
        used.append(piece)
        assert len(got) <= piece + 2
    assert used == [0, 1, 2, 3]
    assert got == [(number, False) for number in range(4)]


def test_an_error_comes_after_the_pieces_before_it():
    def pieces():
        yield 1
        raise ValueError("damaged")

    found = ahead(pieces())
    assert next(found) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(found)
