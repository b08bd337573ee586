#pragma once

/* FakePortRedirect: in place of the waker's, for what the linker takes from the test first. Its moves succeed in the next turn of the loop, unless the
 * test says otherwise, and are kept as text. */

#include "util/macro.h"

extern struct FakePortRedirect {
        char moves[128]; /* "lift restore …" */
        int error; /* of the next moves */
        bool used; /* what a look finds, and: */
        bool used_once_restored; /* somebody has come before it was taken back */
} fake_port_redirect;

void fake_port_redirect_forget(void);
