from services.cli.spark import bars


def test_numbers_become_bars_of_at_most_the_width() -> None:
    assert bars([], 5) == ""
    assert bars([7, 7], 5) == "██"
    assert bars([0, 50, 100], 5) == "▁▅█"
    assert bars([0, 0, 100, 100], 2) == "▁█"
    assert len(bars(list(range(365)), 40)) == 40
