"""What a process costs, asked of our own."""

import os
import time

from bench import gauge


def test_the_cpu_time_of_a_process_is_what_the_process_itself_sees() -> None:
    before_s = time.process_time()

    found_s = gauge.cpu_s(os.getpid())

    assert before_s <= found_s <= time.process_time()


def test_the_coarse_account_agrees_to_a_few_ticks() -> None:
    assert abs(gauge.coarse_cpu_s(os.getpid()) - time.process_time()) < 0.1


def test_memory_grows_with_what_is_touched() -> None:
    before = gauge.rss_bytes(os.getpid())
    kept = b"x" * (16 * 2**20)

    assert gauge.rss_bytes(os.getpid()) - before > 8 * 2**20
    assert kept
