"""CPython's regrtest, with a line `id outcome detail` for each test in the file named first; the rest are regrtest's
arguments."""

import os
import sys
import time

from test import libregrtest
from test.support import testresult



def note(test, outcome, detail=""):
    if os.getpid() == OWNER:  # a test's own child runs on in a copy of us
        name = test.id() if hasattr(test, "id") else str(test)
        line = "%s %s %s\n" % (name.replace(" ", "_"), outcome, " ".join(str(detail).split()))
        os.write(LOG, line.encode("utf-8", "replace"))


class Result(testresult.RegressionTestResult):
    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        note(test, "ok", "%.3f" % (time.monotonic() - self.began))
        super().addSuccess(test)

    def addFailure(self, test, err):
        note(test, "failure", err[1])
        super().addFailure(test, err)

    def addError(self, test, err):
        note(test, "error", repr(err[1]))
        super().addError(test, err)

    def addSkip(self, test, reason):
        note(test, "skip", reason)
        super().addSkip(test, reason)

    def addExpectedFailure(self, test, err):
        note(test, "expected-failure")
        super().addExpectedFailure(test, err)

    def addUnexpectedSuccess(self, test):
        note(test, "unexpected-success")
        super().addUnexpectedSuccess(test)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            note(subtest, "failure" if issubclass(err[0], test.failureException) else "error", repr(err[1]))
        super().addSubTest(test, subtest, err)


if __name__ == "__main__":
    LOG = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    OWNER = os.getpid()
    testresult.RegressionTestResult = Result
    libregrtest.main()
