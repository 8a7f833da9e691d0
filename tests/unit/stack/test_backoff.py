from services.stack.backoff import failures_in_a_row, pause_seconds


def test_pauses_double_from_half_a_second_to_thirty() -> None:
    assert [pause_seconds(n) for n in range(1, 10)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_thousand_failures_still_mean_thirty_seconds() -> None:
    assert pause_seconds(1000) == 30


def test_failures_count_up_while_the_process_keeps_dying_soon() -> None:
    assert failures_in_a_row(3, ran_seconds=59.9) == 4


def test_a_minute_of_health_forgives_earlier_failures() -> None:
    assert failures_in_a_row(7, ran_seconds=60.0) == 1
