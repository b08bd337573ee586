#include <stdio.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/doctor/doctor.h"
#include "ctl/output.h"
#include "import/engine-facts.h"
#include "util/json-members.h"
#include "util/log.h"
#include "util/time.h"

/* wakectl doctor: everything that is known to go wrong with sleeping stacks, looked for on this machine. Nothing is changed. An engine that
 * hangs is given two seconds in all; what only it knows is left out then. */

#define ENGINE_TIMEOUT (2 * USEC_PER_SEC)

static const struct {
        const char *name;
        void (*run)(Doctor *doctor);
        bool of_root; /* sees nothing without his rights */
        bool of_engine; /* sees nothing without its answers */
} checks[] = {
        { "configuration", doctor_configuration, false, false },
        { "units", doctor_units, false, false },
        { "sockets", doctor_sockets, false, false },
        { "firewall", doctor_firewall, true, false },
        { "redirects", doctor_redirects, true, false },
        { "versions", doctor_versions, false, false },
        { "clock", doctor_clock, false, false },
        { "engine", doctor_engine, false, false },
        { "ports", doctor_ports, false, true },
        { "starters", doctor_starters, false, true },
        { "gpus", doctor_gpus, false, true },
        { "disk", doctor_disk, false, false },
        { "stacks", doctor_stacks, false, true },
};

static int read_container(const char *body, size_t size, void *userdata) {
        Doctor *doctor = ASSERT_PTR(userdata);

        return import_read_inspect(&doctor->world, body, size);
}

static int ask_engine(Doctor *doctor) {
        _cleanup_free_ char **names = NULL;
        const ListedContainer *list;
        size_t n;
        int r;

        if (access(doctor->config->engine_socket, R_OK | W_OK) < 0)
                return -errno;
        r = survey_new(&doctor->survey, doctor->config->engine_socket, ENGINE_TIMEOUT);
        if (r < 0)
                return r;
        r = survey_engine(doctor->survey, &doctor->engine);
        if (r < 0)
                return r;
        list = survey_list(doctor->survey, &n);
        names = new0(char *, n + 1);
        if (!names)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                names[i] = list[i].name;
        survey_set_reader(doctor->survey, read_container, doctor);
        return survey_inspect(doctor->survey, names);
}

static void examine(Doctor *doctor) {
        const bool root = geteuid() == 0;

        doctor->config_error = config_load(&doctor->config, "", NULL, &doctor->problems);
        doctor->engine_error = doctor->config ? ask_engine(doctor) : -ENOENT;
        if (doctor->engine_error < 0)
                doctor->survey = survey_free(doctor->survey);

        for (size_t i = 0; i < ELEMENTSOF(checks); i++) {
                if ((checks[i].of_root && !root) || (checks[i].of_engine && !doctor->survey))
                        continue;
                doctor->findings.check = checks[i].name;
                checks[i].run(doctor);
        }
        if (!root) {
                doctor->findings.check = "rights";
                findings_add(&doctor->findings, FINDING_NOTE, "Redirects and firewalls are for root alone to see.",
                             "sudo wakectl doctor", "Not all could be looked at.");
        }
}

static void doctor_done(Doctor *doctor) {
        findings_done(&doctor->findings);
        problem_list_done(&doctor->problems);
        config_free(doctor->config);
        survey_free(doctor->survey);
        json_free(doctor->engine);
        import_world_done(&doctor->world);
}

/* What it says */

static void print_finding(const Finding *finding, const Look *look) {
        static const TableColour colours[_FINDING_LEVEL_MAX] = {
                [FINDING_ERROR] = COLOUR_RED,
                [FINDING_WARNING] = COLOUR_YELLOW,
                [FINDING_NOTE] = COLOUR_NONE,
        };

        printf("%s%s%s (%s): %s\n", colour_begin(look, colours[finding->level]),
               finding_level_to_string(finding->level), colour_end(look, colours[finding->level]), finding->check,
               strempty(finding->what));
        if (!isempty(finding->why))
                printf("    %s\n", finding->why);
        if (!isempty(finding->fix))
                printf("    %s %s\n", look->utf8 ? "→" : "->", finding->fix);
}

static void print_text(const Doctor *doctor) {
        const Findings *findings = &doctor->findings;
        const size_t *counts = findings->counts;
        Look look = look_at(stdout);

        for (FindingLevel level = 0; level < _FINDING_LEVEL_MAX; level++)
                for (size_t i = 0; i < findings->n; i++)
                        if (findings->list[i].level == level)
                                print_finding(&findings->list[i], &look);
        if (counts[FINDING_ERROR] == 0 && counts[FINDING_WARNING] == 0)
                puts("All is well.");
        else
                printf("%zu error%s, %zu warning%s\n", counts[FINDING_ERROR],
                       counts[FINDING_ERROR] == 1 ? "" : "s", counts[FINDING_WARNING],
                       counts[FINDING_WARNING] == 1 ? "" : "s");
}

static int print_json(const Findings *findings) {
        json_object *list = json_object_new_array();
        bool fine = list;

        for (size_t i = 0; fine && i < findings->n; i++) {
                const Finding *finding = &findings->list[i];
                json_object *object = json_object_new_object();

                fine = json_append(list, object) &&
                       json_add_text(object, "level", finding_level_to_string(finding->level)) &&
                       json_add_text(object, "check", finding->check) &&
                       json_add_text(object, "what", finding->what) &&
                       json_add_text(object, "why", finding->why) && json_add_text(object, "fix", finding->fix);
        }
        return output_json(json_built(list, fine));
}

int verb_doctor(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(doctor_done) Doctor doctor = {};
        bool well;
        int r = CTL_FINE;

        examine(&doctor);
        well = doctor.findings.counts[FINDING_ERROR] == 0 && doctor.findings.counts[FINDING_WARNING] == 0;
        if (options->json)
                r = print_json(&doctor.findings);
        else if (!options->quiet)
                print_text(&doctor);
        else
                for (size_t i = 0; i < doctor.findings.n; i++)
                        if (doctor.findings.list[i].level != FINDING_NOTE)
                                puts(doctor.findings.list[i].check);
        return r != CTL_FINE ? r : well ? CTL_FINE : CTL_FAILED;
}
