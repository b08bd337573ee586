#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/disabled.h"
#include "ctl/ctl.h"
#include "ctl/doctor/doctor.h"
#include "ctl/unit-difference.h"
#include "manager/manager-call.h"
#include "util/text.h"

/* What is wakechain's own. */

#define SYSTEMD_MIN 252

static bool is_listed(const ManagerUnit *units, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (streq(units[i].name, name))
                        return true;
        return false;
}

void doctor_configuration(Doctor *doctor) {
        Findings *findings = &doctor->findings;
        size_t n_disabled = 0;

        if (!doctor->config && doctor->config_error == -ENOENT)
                findings_add(findings, FINDING_ERROR, "Without it no stack is woken.", "wakectl import --write",
                             "There is no configuration: looked for /etc/wakechain/dependencies.json and others.");
        else if (!doctor->config && doctor->config_error != -EBADMSG)
                findings_add(findings, FINDING_ERROR, "What it says is not known.", NULL,
                             "The configuration cannot be read: %s.", strerror(-doctor->config_error));
        for (size_t i = 0; i < doctor->problems.n_problems; i++) {
                const Problem *problem = &doctor->problems.problems[i];
                _cleanup_free_ char *line = problem_to_string(problem);

                if (problem->level == PROBLEM_ERROR)
                        findings_add(findings, FINDING_ERROR,
                                     "Until that is mended what it concerns is as it was last good, or not there.",
                                     "wakectl check", "%s", strempty(line));
                else
                        findings_add(findings, FINDING_WARNING, NULL, "wakectl check", "%s", strempty(line));
        }
        for (size_t i = 0; doctor->config && i < doctor->config->n_services; i++)
                n_disabled += service_is_disabled("", doctor->config->services[i].name);
        if (n_disabled > 0)
                findings_add(findings, FINDING_NOTE, "Their clients are not taken.", "wakectl enable NAME",
                             "%zu service%s disabled.", n_disabled, n_disabled == 1 ? " is" : "s are");
}

static void find_failed(Doctor *doctor) {
        ManagerUnit *units;
        size_t n;

        if (manager_list(&units, &n, (char *[]){ (char *) "failed", NULL }, "wake*") < 0)
                n = 0;
        for (size_t i = 0; i < n; i++) {
                const char *at = strchr(units[i].name, '@'), *dot = strrchr(units[i].name, '.');
                bool of_wake = strncmp(units[i].name, "wake@", strlen("wake@")) == 0 &&
                               streq(strempty(dot), ".service");
                _cleanup_free_ char *fix =
                                of_wake ? text_printf("wakectl status %.*s", (int) (dot - at - 1), at + 1)
                                        : text_printf("systemctl status %s", units[i].name);

                findings_add(&doctor->findings, of_wake ? FINDING_WARNING : FINDING_ERROR,
                             of_wake ? "The last wake has failed; the next client has it tried again."
                                     : "Nobody does its work until it is started again.",
                             fix, "%s has failed.", units[i].name);
        }
        manager_units_free(units, n);
}

void doctor_units(Doctor *doctor) {
        _cleanup_(unit_difference_done) UnitDifference difference = {};

        if (doctor->config && doctor->problems.n_errors == 0 && unit_difference_find(&difference) == CTL_FINE &&
            difference.n_changes > 0)
                findings_add(&doctor->findings, FINDING_WARNING,
                             "systemd goes by what it has read last: what was changed since is not in force.",
                             "wakectl reload",
                             "What systemd has of %zu service%s is not what the configuration says now.",
                             difference.n_changes, difference.n_changes == 1 ? "" : "s");
        find_failed(doctor);
}

static void expect_socket(Doctor *doctor, const ManagerUnit *units, size_t n, const char *name, const char *why) {
        _cleanup_free_ char *fix = text_printf("systemctl start %s", name);

        if (!is_listed(units, n, name))
                findings_add(&doctor->findings, FINDING_ERROR, why, fix, "%s does not listen.", name);
}

void doctor_sockets(Doctor *doctor) {
        ManagerUnit *units;
        bool named = false;
        size_t n;
        int r;

        r = manager_list(&units, &n, (char *[]){ (char *) "active", NULL }, "wake*.socket");
        if (r < 0)
                findings_add(&doctor->findings, FINDING_ERROR, "Whether anybody listens is not known.", NULL,
                             "systemd does not tell of its units: %s.", strerror(-r));
        for (size_t i = 0; doctor->config && r >= 0 && i < doctor->config->n_services; i++) {
                const Service *service = &doctor->config->services[i];
                _cleanup_free_ char *socket = text_printf("wake@%s.socket", service->name);

                named |= service_has_names(service);
                if (socket && service_has_front(service) && !service_is_disabled("", service->name))
                        expect_socket(doctor, units, n, socket, "While the stack sleeps its clients are refused.");
        }
        if (doctor->config && r >= 0 && doctor->config->n_services > 0) {
                expect_socket(doctor, units, n, "wakechain-page.socket",
                              "Browsers wait without the page of progress.");
                expect_socket(doctor, units, n, "wakechain-web.socket", "There is neither API nor dashboard.");
                if (named)
                        expect_socket(doctor, units, n, "wakechain-names.socket",
                                      "Names of sleeping containers do not resolve.");
        }
        manager_units_free(units, n);
}

/* As settling sees them, with all of our rights. Who asks is told of firewalls as well, which was done. */
void doctor_redirects(Doctor *doctor) {
        static char program[] = PROGRAM_DIR "/wakechain-redirect", verb[] = "check";
        posix_spawn_file_actions_t actions;
        siginfo_t end = {};
        pid_t pid;
        int r;

        if (doctor->firewalled || posix_spawn_file_actions_init(&actions) != 0)
                return;
        r = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        if (r == 0)
                r = posix_spawn(&pid, program, &actions, NULL, (char *[]){ program, verb, NULL }, environ);
        (void) posix_spawn_file_actions_destroy(&actions);
        if (r == 0 && (waitid(P_PID, (id_t) pid, &end, WEXITED) < 0 ||
                       (end.si_code == CLD_EXITED && end.si_status == EXIT_SUCCESS)))
                return;
        findings_add(&doctor->findings, FINDING_ERROR, "Clients of stacks that sleep may not reach wakechain.",
                     "systemctl restart wakechain-redirect.service; " PROGRAM_DIR "/wakechain-redirect check",
                     "Sockets, redirects and status are not what they should be.");
}

void doctor_versions(Doctor *doctor) {
        _cleanup_free_ char *version = NULL;
        unsigned systemd;

        if (manager_version(&version) < 0 || sscanf(version, "%u", &systemd) != 1)
                return;
        if (systemd < SYSTEMD_MIN)
                findings_add(&doctor->findings, FINDING_ERROR,
                             "Units of wakechain have settings that it does not know.", NULL,
                             "systemd %u runs, and %d is the oldest one that will do.", systemd, SYSTEMD_MIN);
}
