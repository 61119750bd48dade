"""Compares h2spec's reports with the list of permitted failures: judge.py PERMITTED FOLDER TABLE...

Also checks that the cases in the tables exist. Prints unexpected results, then a line for each report, then cargo's test summary.
`permitted` lists the permitted failures with their reasons.
"""

import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

RUNS = ["stock-clear", "stock-tls", "grpc-clear", "grpc-tls"]
# number of cases of the pinned version; a run with fewer cases ended early
CASES = 146


def cases(report):
    """Yields the id, the description, the failure (or None) and whether it was skipped, for each case."""
    for suite in xml.parse(report).getroot().iter("testsuite"):
        for number, case in enumerate(suite.iter("testcase"), 1):
            bad = case.find("failure")
            bad = case.find("error") if bad is None else bad
            skipped = case.find("skipped") is not None
            text = None if bad is None else " ".join("".join(bad.itertext()).split())
            yield f'{suite.get("package")}/{number}', case.get("classname"), text, skipped


def permitted(path):
    """Returns the reasons by run and case that may fail. Exits if a line is malformed."""
    listed = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        case, runs, clause, reason = line.split(maxsplit=3)
        runs = RUNS if runs == "all" else [r for r in RUNS if runs in r]
        if not runs or not reason or "RFC" not in clause:
            sys.exit(f"{path}:{number}: want: CASE RUNS RFC-CLAUSE REASON")
        for run in runs:
            listed[run, case] = f"{clause} {reason}"
    return listed


def main():
    listed, folder = permitted(sys.argv[1]), Path(sys.argv[2])
    named = {case for table in sys.argv[3:] for case in re.findall(r"`h2spec ([^`/]+/[^`]+)`", Path(table).read_text())}
    ok = bad = 0
    for run in RUNS:
        passed = expected = skipped = 0
        try:
            found = list(cases(folder / f"{run}.xml"))
        except (OSError, xml.ParseError) as error:
            print(f"FAILED: {run} has no report: {error}")
            log = folder / f"{run}.log"
            print(log.read_text()[-2000:] if log.exists() else "")
            bad += 1
            continue
        if len(found) != CASES:
            print(f"FAILED: {run} has {len(found)} cases, not {CASES}")
            bad += 1
        for case, about, failure, was_skipped in found:
            may = (run, case) in listed
            if failure is None and not may:
                passed += not was_skipped
                skipped += was_skipped
            elif failure is not None and may:
                expected += 1
            else:
                bad += 1
                what = failure or "passes, though it is listed as permitted to fail"
                print(f"FAILED: {run} {case} ({about}): {what}")
        ok += passed + expected
        print(f"{run}: {passed} passed, {expected} failed as permitted, {skipped} skipped, of {len(found)}")
        for case in sorted({case for at, case in listed if at == run} - {c for c, *_ in found}):
            bad += 1
            print(f"FAILED: the list permits {case}, which does not exist")
        for case in sorted(named - {c for c, *_ in found}):
            bad += 1
            print(f"FAILED: a table names {case}, which does not exist")
    print(f"test result: {'FAILED' if bad else 'ok'}. {ok} passed; {bad} failed")
    return bad != 0


sys.exit(main())
