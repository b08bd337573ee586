#include <stdio.h>

#include "boot/running.h"
#include "boot/starter.h"
#include "config/config.h"
#include "util/log.h"

/* wakechain-boot: run once after the boot, when the engine has started what it starts. Stacks that run already get a
 * waker, which takes them as awake: it lifts their redirect, watches them, and puts to sleep what is ours, or adopted. And
 * the configuration that the system has come up with is kept as the last good one. */

#define CALL_TIMEOUT (10 * USEC_PER_SEC)

static void remember_config(void) {
        int r;

        r = config_remember("");
        if (r < 0 && r != -EBADMSG)
                log_warning_errno(r, "Failed to keep the configuration as the last good one, ignoring: %m");
}

static int start_wakers(char *const *services) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(bus, CALL_TIMEOUT);
        if (r < 0)
                return log_error_errno(
                                r, "Failed to reach systemd over the system bus, so that stacks that run are not "
                                   "put to sleep before something has woken them: %m");
        return starter_run(bus, services);
}

static int run(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_(running_done) Running running = {};
        int r;

        r = config_load(&config, "", NULL, &problems);
        if (r == -ENOENT)
                return 0;
        /* No failure of the boot. */
        if (r == -EBADMSG) {
                log_error("dependencies.json cannot be used, see wakectl check: stacks that run are taken as asleep.");
                return 0;
        }
        if (r < 0)
                return log_error_errno(r, "Failed to load dependencies.json: %m");
        remember_config();

        r = running_find(&running, config, "", RUNNING_PATIENCE);
        if (r < 0)
                return log_error_errno(r, "Failed to ask which stacks run: %m");
        if (running.n_unanswered > 0)
                log_warning("The engine at %s did not tell about %zu of the containers: if they run, their stacks are "
                            "taken as asleep until a client comes.",
                            config->engine_socket, running.n_unanswered);
        for (char **orphan = running.orphans; orphan && *orphan; orphan++)
                log_notice("Container %s runs, and was started by wakechain for a service of %s that has it no more: nobody "
                           "puts it to sleep. If it is not needed: docker stop %s",
                           *orphan, config->path, *orphan);
        running_forget_gone(&running, "");

        return running.services ? start_wakers(running.services) : 0;
}

int main(int argc, char *argv[]) {
        log_open();
        if (argc != 1) {
                printf("%s\n\nStarts wakers for stacks that run already; see wakechain-boot(8).\n",
                       program_invocation_short_name);
                return argc == 2 && streq(argv[1], "--help") ? EXIT_SUCCESS : EXIT_FAILURE;
        }
        return run() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
