#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "command/host-command.h"
#include "ctl/ctl.h"
#include "ctl/unit-difference.h"
#include "util/log.h"
#include "util/time.h"

#define GENERATED "/run/systemd/generator"
#define GENERATE_TIMEOUT (60 * USEC_PER_SEC)

static void generate_on_line(const char *line, void *userdata) {
        log_warning("%s", line);
}

static void generate_on_end(HostCommand *command, const HostCommandResult *result, void *userdata) {
        if (result->timed_out)
                log_error("wakechain-generator has not ended in time.");
        else if (result->exit_status != 0)
                log_error("wakechain-generator has failed.");
        (void) sd_event_exit(ASSERT_PTR(userdata),
                             result->exit_status == 0 && !result->timed_out ? CTL_FINE : CTL_FAILED);
}

static int generate_into(char *folder) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(host_command_freep) HostCommand *command = NULL;
        char *argv[] = { (char *) GENERATOR, folder, NULL };
        HostCommandRequest request = { .argv = argv,
                                       .timeout_usec = GENERATE_TIMEOUT,
                                       .on_line = generate_on_line };
        int r;

        r = sd_event_new(&event);
        if (r >= 0)
                r = host_command_run(&command, event, &request, generate_on_end, event);
        if (r >= 0)
                r = sd_event_loop(event);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to run '" GENERATOR "': %m");
                return CTL_FAILED;
        }
        return r;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place) {
        (void) remove(path);
        return 0;
}

int unit_difference_find(UnitDifference *ret) {
        char folder[] = "/tmp/wakectl-reload.XXXXXX";
        int r;

        if (!mkdtemp(folder)) {
                (void) log_error_errno(-errno, "Failed to make a folder in /tmp: %m");
                return CTL_FAILED;
        }
        r = generate_into(folder);
        if (r == CTL_FINE)
                r = unit_tree_read(&ret->now, folder);
        (void) nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        if (r > 0)
                return r;
        if (r == 0)
                r = unit_tree_read(&ret->before, GENERATED);
        if (r == 0)
                r = unit_tree_compare(&ret->changes, &ret->n_changes, &ret->before, &ret->now);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to compare the units with those in " GENERATED ": %m");
                return CTL_FAILED;
        }
        return CTL_FINE;
}

void unit_difference_done(UnitDifference *difference) {
        unit_changes_free(difference->changes, difference->n_changes);
        unit_tree_done(&difference->before);
        unit_tree_done(&difference->now);
        *difference = (UnitDifference){};
}
