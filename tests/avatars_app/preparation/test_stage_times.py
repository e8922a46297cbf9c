from avatars_app.preparation.stage_times import STAGE_EDGES_S, StageTimes


def test_a_stage_lasts_until_the_next_one_is_seen():
    times = StageTimes()
    for stage, now_s in (
        ("", 0),
        ("analyze", 1),
        ("analyze", 2),
        ("encode", 4),
        ("", 16),
        ("", 20),
    ):
        times.is_in(stage, now_s)
    assert {stage: h.total_s for stage, h in times.by_stage.items()} == {"analyze": 3, "encode": 12}
    assert times.by_stage["analyze"].counts[STAGE_EDGES_S.index(5)] == 1
    assert times.by_stage["encode"].counts[STAGE_EDGES_S.index(20)] == 1
    times.is_in("encode", 30)
    times.is_in("", 1_000)
    assert sum(times.by_stage["encode"].counts) == 2
    assert times.by_stage["encode"].counts[-1] == 1
