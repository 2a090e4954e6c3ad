"""What test_killable has done in workers: calls that hang, crash, or eat memory."""

import ctypes
import os
import sys
import time


def length(body: bytes) -> int:
    return len(body)


def misbehave(body: bytes, how: str) -> object:
    if how == "sleep":
        time.sleep(600)  # longer than a test may take
    elif how == "spin":
        while True:
            pass
    elif how == "crash":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(7)
    elif how == "eat":
        return len(bytearray(10**10))
    elif how == "raise":
        raise ValueError("a document broke it")
    elif how == "long":
        return "ä" * 3_000_000
    return how


def process(body: bytes) -> list[object]:
    return [os.getpid(), sorted(sys.modules)]


def parent(body: bytes) -> int:
    return os.getppid()
