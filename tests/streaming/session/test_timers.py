from streaming.session.timers import Timer, Timers


def test_due_timers_come_in_the_order_of_their_deadlines():
    timers = Timers()
    assert timers.next_s is None
    timers.set(Timer.PING, 3.0)
    timers.set(Timer.INIT, 1.0)
    timers.set(Timer.IDLE, 2.0)
    assert timers.next_s == 1.0
    assert timers.take_due(0.5) is None
    assert timers.take_due(2.5) == (Timer.INIT, 1.0)
    assert timers.take_due(2.5) == (Timer.IDLE, 2.0)
    assert timers.take_due(2.5) is None
    assert timers.next_s == 3.0


def test_setting_again_moves_and_stopping_forgets():
    timers = Timers()
    timers.set(Timer.PING, 1.0)
    timers.set(Timer.PING, 5.0)
    assert timers.take_due(2.0) is None
    timers.stop(Timer.PING, Timer.IDLE)
    assert timers.next_s is None
    timers.set(Timer.PING, 1.0)
    timers.stop_all()
    assert timers.take_due(9.0) is None
