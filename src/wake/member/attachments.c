#include "wake/member/attachments.h"

/* Attachments: what the file says comes first, and only then is it asked who can reach whom, since what is attached for the file's
 * sake may answer that.
 *
 * A container that was made and never started may say the id where the name of a network should be (compose 2.26 makes those
 * of external networks so). Which name belongs to an id the other containers know, if anybody does; if nobody does, the
 * engine finds out that it is connected already. */

typedef struct Finder {
        const Service *service;
        const ContainerInfo *const *infos;
        Attachment *attachments;
        size_t n_attachments;
} Finder;

static bool can_be_attached(const Finder *finder, size_t member) {
        return finder->infos[member] && !network_mode_is_closed(finder->infos[member]->network_mode);
}

static bool name_has_id(const Finder *finder, const char *name, const char *id) {
        for (size_t i = 0; i < finder->service->n_dependencies; i++) {
                const ContainerNetwork *network =
                                finder->infos[i] ? container_info_network(finder->infos[i], name) : NULL;

                if (network && !isempty(network->id) && streq(network->id, id))
                        return true;
        }
        return false;
}

static bool network_is(const Finder *finder, const ContainerNetwork *network, const char *name) {
        return streq(network->name, name) || name_has_id(finder, name, network->name);
}

static bool networks_are_the_same(const Finder *finder, const ContainerNetwork *a, const ContainerNetwork *b) {
        return network_is(finder, a, b->name) || network_is(finder, b, a->name);
}

/* Is it on that network, or going to be? */
static bool is_on(const Finder *finder, size_t member, const char *name) {
        const ContainerInfo *info = finder->infos[member];

        for (size_t i = 0; i < info->n_networks; i++)
                if (network_is(finder, &info->networks[i], name))
                        return true;
        for (size_t i = 0; i < finder->n_attachments; i++)
                if (finder->attachments[i].member == member && streq(finder->attachments[i].network, name))
                        return true;
        return false;
}

static bool share_a_network(const Finder *finder, size_t a, size_t b) {
        const ContainerInfo *info = finder->infos[a], *other = finder->infos[b];

        for (size_t i = 0; i < info->n_networks; i++)
                for (size_t k = 0; k < other->n_networks; k++)
                        if (networks_are_the_same(finder, &info->networks[i], &other->networks[k]))
                                return true;
        for (size_t i = 0; i < finder->n_attachments; i++) {
                const Attachment *attachment = &finder->attachments[i];

                if ((attachment->member == a && is_on(finder, b, attachment->network)) ||
                    (attachment->member == b && is_on(finder, a, attachment->network)))
                        return true;
        }
        return false;
}

static void attach(Finder *finder, size_t member, const char *network) {
        if (network && !network_mode_is_closed(network) && can_be_attached(finder, member) &&
            !is_on(finder, member, network))
                finder->attachments[finder->n_attachments++] =
                                (Attachment){ .member = member, .network = network };
}

int attachments_find(Attachment **ret, size_t *ret_n, const Service *service, const ContainerInfo *const *infos) {
        Finder finder = { .service = service, .infos = infos };
        size_t n = service->n_dependencies, main;

        assert(ret);
        assert(ret_n);
        assert(infos);

        /* At most two for each: the file's, and the one to the main container. */
        finder.attachments = new0(Attachment, 2 * n + 1);
        if (!finder.attachments)
                return -ENOMEM;

        main = (size_t) (service_main(service) - service->dependencies);
        for (size_t i = 0; i < n && service->cross_network; i++)
                attach(&finder, i, service->dependencies[i].network);
        if (service->cross_network && can_be_attached(&finder, main))
                for (size_t i = 0; i < n; i++)
                        if (i != main && can_be_attached(&finder, i) && !share_a_network(&finder, i, main)) {
                                attach(&finder, main, service->network);
                                attach(&finder, i, service->network);
                        }

        *ret = finder.attachments;
        *ret_n = finder.n_attachments;
        return 0;
}
