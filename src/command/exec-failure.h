#pragma once

/* ExecFailure: a program that could not even be begun. Trying again does not help: the file is not there, may not be executed, or is for
 * another processor. */

/* Says so of an exit status and the last line that came with it, as shells, container runtimes and Docker's init put it: a sentence that
 * explains it, or NULL if another try may end otherwise. */
const char *exec_failure_explain(int exit_status, const char *last_line);
/* The same of the sentence by which an engine refuses to start a container. */
const char *exec_failure_explain_start(const char *message);
