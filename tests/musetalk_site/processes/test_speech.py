from musetalk_site.processes.messages import in_messages
from musetalk_site.processes.speech import SpeechLedger


def test_each_process_knows_what_waits_in_the_others() -> None:
    ledger = SpeechLedger()
    ledger.reported(0, {"ann": 5, "bob": 1})
    ledger.reported(1, {"ann": 7})
    ledger.reported(2, {"ann": 2})
    assert ledger.elsewhere(0, ["ann", "bob"]) == {"ann": 9, "bob": 0}
    assert ledger.elsewhere(3, ledger.subjects()) == {"ann": 14, "bob": 1}
    ledger.reported(1, {"ann": 0})
    assert ledger.elsewhere(0, ["ann"]) == {"ann": 2}


def test_what_waited_in_a_process_that_died_is_forgotten() -> None:
    ledger = SpeechLedger()
    ledger.reported(0, {"ann": 5})
    assert ledger.process_ended(0) == ["ann"]
    assert ledger.elsewhere(1, ["ann"]) == {"ann": 0}
    assert ledger.process_ended(1) == ledger.subjects() == []


def test_many_subjects_go_in_several_messages() -> None:
    samples = {f"subject {number}": number for number in range(450)}
    parts = list(in_messages(samples))
    assert len(parts) == 3
    assert {subject: n for part in parts for subject, n in part.items()} == samples
    assert list(in_messages({})) == []
