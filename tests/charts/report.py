"""Counts cases and prints each, as Rust's tests do.

What does not live here: the cases.
"""

import contextlib
import time
import traceback


class Report:
    """Counts cases and prints each."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    @contextlib.contextmanager
    def case(self, name: str):
        """One case; what is raised inside is its failure."""
        begun = time.monotonic()
        try:
            yield
        except Exception as error:
            self.failed += 1
            said = str(error) if isinstance(error, AssertionError) and str(error) else traceback.format_exc()
            print(f"FAILED {name}: {said}", flush=True)
        else:
            self.passed += 1
            took = time.monotonic() - begun
            print(f"ok {name}" + (f" ({took:.1f} s)" if took > 1 else ""), flush=True)

    def finish(self) -> int:
        """Prints the last line; the exit code."""
        word = "FAILED" if self.failed else "ok"
        print(f"test result: {word}. {self.passed} passed; {self.failed} failed")
        return 1 if self.failed else 0
