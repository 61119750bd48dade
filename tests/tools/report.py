"""Counts the cases and prints each, like cargo's tests."""

import contextlib
import time
import traceback


class Report:
    """The counts of passed and failed cases."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    @contextlib.contextmanager
    def case(self, name: str):
        """Runs one case. An exception makes the case fail but does not end the run."""
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

    def run(self, group: str, cases) -> None:
        """Runs functions as the cases of a group."""
        for case in cases:
            with self.case(f"{group} {case.__name__}"):
                case()

    def finish(self) -> int:
        """Prints the last line and returns the exit code."""
        word = "FAILED" if self.failed else "ok"
        print(f"test result: {word}. {self.passed} passed; {self.failed} failed")
        return 1 if self.failed else 0
