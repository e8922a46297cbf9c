from streaming.session.interrupts import Interrupts


def test_what_was_accepted_and_not_shown_was_dropped():
    interrupts = Interrupts()
    interrupts.add(1, shown=640, accepted=16_000)
    assert interrupts.is_pending
    assert interrupts.answer(1) == [960]
    assert not interrupts.is_pending


def test_frames_before_the_confirmation_still_count():
    interrupts = Interrupts()
    interrupts.add(1, shown=0, accepted=1_600)
    assert interrupts.acknowledge(640)
    assert interrupts.acknowledge(320)
    assert interrupts.answer(1) == [60]
    assert not interrupts.acknowledge(1_280)


def test_a_padded_frame_shows_no_more_than_was_there():
    interrupts = Interrupts()
    interrupts.add(1, shown=640, accepted=1_000)
    interrupts.acknowledge(1_280)
    assert interrupts.answer(1) == [0]


def test_each_of_two_answers_for_its_own_speech():
    interrupts = Interrupts()
    interrupts.add(1, shown=0, accepted=1_600)
    interrupts.add(2, shown=1_600, accepted=4_800)
    assert interrupts.answer(1) == [100]
    interrupts.acknowledge(2_240)
    assert interrupts.answer(2) == [160]


def test_a_later_confirmation_answers_all_before_it():
    interrupts = Interrupts()
    interrupts.add(1, shown=0, accepted=1_600)
    interrupts.add(2, shown=1_600, accepted=1_600)
    assert interrupts.answer(2) == [100, 0]
