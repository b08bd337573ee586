#include <stdio.h>

#include "config/config.h"
#include "redirect/refresh.h"
#include "util/log.h"

/* wakechain-addresses: run before all redirects are made anew: asks the engine where the stacks' ports are published now.
 * A program of its own, since wakechain-redirect is started for every socket, and what it takes to talk to an engine
 * would be most of what it costs to start. */

#define ENGINE_TIMEOUT (2 * USEC_PER_SEC)

static int run(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        int r;

        r = config_load_or_remembered(&config, "", &problems);
        if (r == -ENOENT)
                return 0;
        if (r >= 0)
                r = refresh_bindings(config, "", ENGINE_TIMEOUT);
        if (r < 0)
                log_warning_errno(
                                r,
                                "Failed to ask where the stacks' ports are published, going by what is known: %m");
        return r;
}

int main(int argc, char *argv[]) {
        log_open();
        if (argc != 1) {
                printf("%s\n\nAsks the engine where stacks publish their ports; see wakechain-redirect(8).\n",
                       program_invocation_short_name);
                return argc == 2 && streq(argv[1], "--help") ? EXIT_SUCCESS : EXIT_FAILURE;
        }
        return run() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
