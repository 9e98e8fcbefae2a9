/* Runs a Check suite and reports it in the form that tests/run reads: one line per test. */
#ifndef TESTS_LIB_CHECK_LINES_H
#define TESTS_LIB_CHECK_LINES_H

#include <check.h>

/*
 * To be returned from main(). Prints `ok <id>` or `not ok <id> <why>` for each test; the id is the
 * test's name with dashes for underscores, and for a loop test its index behind another dash.
 * Returns 0 if every test passed, else 1. A test has 60 s unless CK_DEFAULT_TIMEOUT says otherwise.
 */
int check_lines_main(Suite *(*make_suite)(void));

/* The same for a suite of one case: `add` adds its tests. Each has timeout_s seconds, if not 0. */
int check_lines_case(const char *name, int timeout_s, void (*add)(TCase *tc));

#endif
