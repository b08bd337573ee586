#include "import/advice.h"
#include "import/images.h"
#include "import/lines.h"
#include "util/text.h"

/* Advice: one row for each thing that does its work without a client, or that goes badly with sleeping. Nothing is decided here. */

#define LONG_STOP_SEC 60U

static bool has_socket(const ImportContainer *container) {
        return (container->traits & TRAIT_SOCKET) != 0;
}

static bool has_host_network(const ImportContainer *container) {
        return streq(container->mode, "host");
}

static bool has_devices(const ImportContainer *container) {
        return (container->traits & (TRAIT_DEVICES | TRAIT_PRIVILEGED)) != 0;
}

static bool has_hooks(const ImportContainer *container) {
        return (container->traits & TRAIT_HOOKS) != 0;
}

static bool is_removed(const ImportContainer *container) {
        return (container->traits & TRAIT_AUTO_REMOVE) != 0;
}

static bool is_restarted(const ImportContainer *container) {
        return streq(container->restart, "always") && !container->one_shot;
}

static bool is_restarted_one_shot(const ImportContainer *container) {
        return container->one_shot &&
               (streq(container->restart, "always") || streq(container->restart, "unless-stopped"));
}

static bool is_unhealthy(const ImportContainer *container) {
        return (container->traits & TRAIT_UNHEALTHY) != 0;
}

static bool stops_slowly(const ImportContainer *container) {
        return container->stop_sec >= LONG_STOP_SEC;
}

static bool has_udp(const ImportContainer *container) {
        for (size_t i = 0; i < container->n_ports; i++)
                if (container->ports[i].udp)
                        return true;
        return false;
}

static bool has_range(const ImportContainer *container) {
        for (size_t i = 0; i < container->n_ports; i++)
                if (container->ports[i].ranged)
                        return true;
        return false;
}

/* `nextcloud-cron` has the image of its application. */
static bool is_kind(const ImportContainer *container, ImageKind kind) {
        const KnownImage *service = image_find(container->service);

        return (container->known && container->known->kind == kind) || (service && service->kind == kind);
}

static bool is_mail(const ImportContainer *container) {
        return is_kind(container, IMAGE_MAIL);
}

static bool is_backup(const ImportContainer *container) {
        return is_kind(container, IMAGE_BACKUP);
}

static bool is_cron(const ImportContainer *container) {
        return is_kind(container, IMAGE_CRON);
}

static bool is_home(const ImportContainer *container) {
        return is_kind(container, IMAGE_HOME);
}

static bool is_starter(const ImportContainer *container) {
        return is_kind(container, IMAGE_STARTER);
}

#define STAY_AWAKE "leave the project out, or give it \"idleTimeout\": 0"

static const struct {
        bool (*holds)(const ImportContainer *container);
        const char *text;
} advices[] = {
        { has_socket,
          "has the engine's socket: what it does for other containers it does not do asleep; " STAY_AWAKE },
        { has_host_network,
          "is on the host's network: which ports it has the engine does not tell; name its 'port'" },
        { has_devices, "has devices or privileges of the host: what these bring wakes nothing; " STAY_AWAKE },
        { is_mail,
          "is for mail, which other servers bring, and which is refused if it is held for long; " STAY_AWAKE },
        { is_backup,
          "makes backups, and none while it sleeps; keep it awake, or run them from outside by a timer" },
        { is_cron,
          "runs by the clock, and not while it sleeps; keep it awake, or run that from outside by a timer" },
        { is_home, "is for devices of a house, which report at any time; " STAY_AWAKE },
        { is_starter, "starts, restarts or replaces containers by itself: let it leave those alone that sleep" },
        { is_restarted,
          "has the restart policy 'always': the engine starts it whenever it starts itself; with 'unless-stopped' what sleeps stays asleep" },
        { is_restarted_one_shot,
          "is to run once and to end, and its restart policy starts it again: give it 'no' or 'on-failure'" },
        { is_unhealthy, "is unhealthy by its own HEALTHCHECK: nothing waits for that unless compose does" },
        { is_removed, "was started with --rm: a stop deletes it" },
        { stops_slowly, "may take more than a minute to stop: give its waker as long (TimeoutStopSec= of wake@)" },
        { has_udp,
          "publishes ports of UDP: any datagram that comes there wakes the stack; take out of 'ports' which are not to" },
        { has_range, "publishes one port of a range: the first of it was taken" },
        { has_hooks, "has hooks (post_start, pre_stop), which compose alone runs, and a wake does not" },
};

/* docker-compose 1.x does not write it down. */
static int advise_order(ImportProject *project) {
        bool ordered = project->n_containers == 1;

        for (size_t i = 0; i < project->n_containers && !ordered; i++)
                ordered = (project->containers[i].traits & TRAIT_ORDERED) != 0 || project->containers[i].added;
        return ordered ? 0
                       : import_note(project,
                                     "who waits for whom is not known, since its containers do not say it (docker-compose 1.x): "
                                     "'wakectl import --compose %s' reads it from its files",
                                     strempty(project->containers[0].folder));
}

/* All of which it holds, in one sentence. */
static int advise(ImportProject *project, bool (*holds)(const ImportContainer *container), const char *text) {
        _cleanup_free_ char *names = NULL;
        size_t count = 0;

        for (size_t i = 0; i < project->n_containers; i++) {
                _cleanup_free_ char *before = TAKE_PTR(names), *place = NULL;

                if (!holds(&project->containers[i])) {
                        names = TAKE_PTR(before);
                        continue;
                }
                place = import_place_of(&project->containers[i]);
                names = text_printf("%s%s'%s'%s%s%s", strempty(before), count++ > 0 ? ", " : "",
                                    project->containers[i].name, place ? " (" : "", strempty(place),
                                    place ? ")" : "");
                if (!names)
                        return -ENOMEM;
        }
        return count > 0 ? import_note(project, "%s%s %s", names, count > 1 ? ": each" : "", text) : 0;
}

int import_advise(ImportProject *project) {
        int r;

        r = advise_order(project);
        for (size_t k = 0; k < ELEMENTSOF(advices) && r >= 0; k++)
                r = advise(project, advices[k].holds, advices[k].text);
        if (r >= 0 && project->port == 0 && !project->named && project->n_datagrams == 0)
                r = import_note(project,
                                "nothing reaches it: no port is published, and no proxy is on its networks. It is woken by "
                                "'systemctl start wake@%s', or by a service that names it",
                                project->name);
        return r;
}
