"""A part of the random conversations; all ten thousand are run by hand."""

import logging

from tests.streaming.utterance_sequences import run


def test_every_utterance_is_finished_once_in_order_with_what_was_played() -> None:
    logging.disable()
    try:
        assert run(300, first_seed=100_000, within_s=60) > 0
    finally:
        logging.disable(logging.NOTSET)
