#include <stdio.h>

#include "ctl/check-engine.h"
#include "ctl/doctor/doctor.h"
#include "import/images.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/text.h"

/* What the engine says, of itself and of its containers. */

#define DOCKER_MIN 20
#define DAEMON_FILE "/etc/docker/daemon.json"
#define DAEMON_FILE_MAX ((size_t) 1024 * 1024)

static bool has_redirects(const Config *config) {
        for (size_t i = 0; i < config->n_services; i++)
                if (service_is_redirected(&config->services[i]))
                        return true;
        return false;
}

void doctor_engine(Doctor *doctor) {
        const char *socket = doctor->config ? doctor->config->engine_socket : "", *version;
        Findings *findings = &doctor->findings;
        unsigned major;

        if (!doctor->config)
                return;
        if (doctor->engine_error == -ENOENT)
                findings_add(findings, FINDING_ERROR, "Nothing can be woken without it.",
                             "systemctl status docker.socket", "There is no container engine at %s.", socket);
        else if (doctor->engine_error == -EACCES)
                findings_add(findings, FINDING_WARNING, "What it knows of the stacks is not looked at.",
                             "sudo wakectl doctor", "You may not use the container engine at %s.", socket);
        else if (doctor->engine_error < 0)
                findings_add(findings, FINDING_ERROR, "Nothing can be woken while it hangs.",
                             "systemctl status docker", "The container engine at %s does not answer.", socket);
        if (!doctor->engine)
                return;
        version = json_text(json_member(doctor->engine, "ServerVersion"));
        if (version && doctor->config->engine == ENGINE_DOCKER && sscanf(version, "%u", &major) == 1 &&
            major < DOCKER_MIN)
                findings_add(findings, FINDING_WARNING, "20.10 is the oldest one that wakechain is tested with.",
                             NULL, "Docker %s runs.", version);
}

static bool is_rootless(json_object *engine) {
        json_object *options = json_member_of(engine, "SecurityOptions", json_type_array);
        bool found = false;

        for (size_t i = 0; options && i < json_object_array_length(options); i++)
                found |= strstr(strempty(json_text(json_object_array_get_idx(options, i))), "name=rootless") !=
                         NULL;
        return found;
}

/* Not told by the engine. */
static bool is_without_proxy(void) {
        _cleanup_(json_freep) json_object *file = NULL;
        _cleanup_free_ char *text = NULL;
        json_object *proxy;

        if (file_read(DAEMON_FILE, DAEMON_FILE_MAX, &text, NULL) < 0)
                return false;
        file = json_tokener_parse(text);
        proxy = file ? json_member_of(file, "userland-proxy", json_type_boolean) : NULL;
        return proxy && !json_object_get_boolean(proxy);
}

/* Ways by which published ports go past the redirects. */
void doctor_ports(Doctor *doctor) {
        json_object *swarm = json_member_of(doctor->engine, "Swarm", json_type_object);
        const char *state = swarm ? json_text(json_member(swarm, "LocalNodeState")) : NULL;
        Findings *findings = &doctor->findings;

        if (!has_redirects(doctor->config))
                return;
        if (is_rootless(doctor->engine))
                findings_add(findings, FINDING_ERROR,
                             "It publishes ports from a network of its own, where no redirect is: clients do not wake the stacks.",
                             "give services a 'listen' address, see wakechain.json(5)",
                             "The container engine is rootless.");
        if (state && streq(state, "active"))
                findings_add(findings, FINDING_NOTE,
                             "Ports of its services go by the ingress network, past the redirects.",
                             "give such services a 'listen' address, see wakechain.json(5)",
                             "Swarm is active on this machine.");
        if (is_without_proxy())
                findings_add(findings, FINDING_WARNING,
                             "Then clients of ::1 are not let through to containers, nor to wakechain.",
                             "give services that are asked there a 'listen' address, see wakechain.json(5)",
                             DAEMON_FILE " has \"userland-proxy\": false.");
}

void doctor_starters(Doctor *doctor) {
        for (size_t i = 0; i < doctor->world.n_containers; i++) {
                const ImportContainer *container = &doctor->world.containers[i];
                const KnownImage *known = image_find(container->image);

                if (known && known->kind == IMAGE_STARTER && (container->traits & TRAIT_RUNS) != 0)
                        findings_add(&doctor->findings, FINDING_WARNING,
                                     "What sleeps may look broken or forgotten to it, and be started or replaced.",
                                     "have it leave those containers alone that sleep, or stop it",
                                     "'%s' (%s) starts, restarts or replaces containers by itself.",
                                     container->name, container->image);
        }
}

void doctor_gpus(Doctor *doctor) {
        const char *driver = json_text(json_member(doctor->engine, "CgroupDriver"));
        const ListedContainer *list;
        size_t n;

        if (!driver || !streq(driver, "systemd"))
                return;
        list = survey_list(doctor->survey, &n);
        for (size_t i = 0; i < n; i++) {
                const ContainerInfo *info = survey_find(doctor->survey, list[i].name);

                if (info && info->gpu && list[i].running)
                        findings_add(&doctor->findings, FINDING_WARNING,
                                     "A daemon-reload may take it away: the engine has systemd's cgroup driver.",
                                     "reload by 'wakectl reload', which does so only if it has to, and asks before",
                                     "'%s' has a GPU.", list[i].name);
        }
}

void doctor_stacks(Doctor *doctor) {
        _cleanup_(problem_list_done) ProblemList problems = {};

        if (check_engine(doctor->config, &problems) < 0)
                return;
        problem_list_finish(&problems, doctor->config->path);
        for (size_t i = 0; i < problems.n_problems; i++) {
                const Problem *problem = &problems.problems[i];
                _cleanup_free_ char *line = problem_to_string(problem);
                bool error = problem->level == PROBLEM_ERROR;

                findings_add(&doctor->findings, error ? FINDING_ERROR : FINDING_WARNING,
                             error ? "A wake or a sleep fails at that, or does harm." : NULL,
                             "wakectl check --engine", "%s", strempty(line));
        }
}
