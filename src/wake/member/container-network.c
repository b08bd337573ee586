#include <stdio.h>

#include "util/text.h"
#include "wake/member/container-internal.h"

/* Container, its networks: what they take before it is used, and when a start fails for them.
 *
 * One that has another container's network ("network_mode: service:vpn") has that one's addresses and ports. It starts after it,
 * and has no network any more when the other, its owner, has run anew: then it is restarted. What it names is the owner's id, so when the owner
 * was made anew, it has to be made anew as well. All that is told by the last looks at both.
 *
 * Others are attached to those networks that the file says, and detached again if the wake fails. The engine connects a
 * container that is stopped to any name, and cannot start it any more if there is no such network: so the network is asked for first, and what
 * was connected to a mere name is taken back when a start fails for it. A network that the container was made with and that is gone comes
 * back with the container, by compose; who has been given the id of a network cannot use another one of the same name. */

#define DETACH_ATTEMPTS 3U

/* Making it anew */

/* `what`: the trouble, that only making it anew ends; `lost` tells it from other such troubles, of which each is tried once. If it is compose's, compose
 * does that, or it is said how: "docker compose VERB --force-recreate"; else `command` is said. */
static void container_remake(Container *container, const char *lost, const char *what, const char *verb,
                             const char *command) {
        const char *service = container->info->compose_service,
                   *project = strempty(container->info->compose_project);
        bool again = streq(strempty(container->lost), lost), can = service && container->member.context->composer;
        int r;

        free(container->advice);
        if (service)
                r = asprintf(&container->advice,
                             "%s: 'docker compose %s --force-recreate %s' in its project%s%s makes it anew%s",
                             strempty(what), verb, service, isempty(project) ? "" : " ", project,
                             again ? ", which was tried and did not help"
                             : can ? ""
                                   : ", or give the service a 'composeDir'");
        else
                r = asprintf(&container->advice, "%s: %s", strempty(what), strempty(command));
        if (r < 0)
                container->advice = NULL;
        free(container->lost);
        container->lost = strdup(lost);

        if (!container->lost || again || !can) {
                container_fail(container, FAILURE_NETWORK_MISSING, "%s", strempty(container->advice));
                return;
        }
        member_tell(&container->member, LOG_NOTICE, DEPENDENCY_STARTING, ": %s; compose makes it anew",
                    strempty(what));
        container->anew = true;
        container_go(container, STAGE_CREATING);
}

/* The owner of its network */

/* As far as the last look says; what has gone since, and was looked for, is nobody's. */
static bool is_owner(const Container *owner, const char *id) {
        return owner->info && (streq(owner->info->id, id) || streq(owner->info->name, id));
}

/* Kept when the id is that of one which is gone. */
static Container *container_find_owner(Container *container) {
        const MemberContext *context = container->member.context;
        const char *id = container->info ? container_info_owner(container->info) : NULL;

        if (!id)
                return NULL;
        for (size_t i = 0; context->members && i < context->service->n_dependencies; i++) {
                Container *other = member_is_container(context->members[i]) ? container_from(context->members[i])
                                                                            : container;

                if (other != container && is_owner(other, id))
                        container->owner = other;
        }
        return container->owner;
}

const Member *container_owner(Member *member) {
        Container *owner;

        assert(member_is_container(member));

        owner = container_find_owner(container_from(member));
        return owner ? &owner->member : NULL;
}

bool container_awaits_owner(Member *member) {
        const Member *owner = container_owner(member);

        return owner && owner->phase != MEMBER_READY && owner->phase < MEMBER_FAILED;
}

void container_take_networks(Container *container) {
        const Container *owner = container_find_owner(container);

        if (owner && owner->info && container->info->running)
                (void) container_info_share_networks(container->info, owner->info);
}

/* By the owner's present run. */
static bool container_is_cut_off(const Container *container) {
        const Container *owner = container->owner;

        return container->info->running && container_info_is_older(container->info, owner->info) &&
               !streq(strempty(container->rejoined), owner->info->started_at);
}

static bool container_is_orphan(const Container *container) {
        return !is_owner(container->owner, container_info_owner(container->info));
}

static void container_begin_remake(Container *container) {
        const char *id = container_info_owner(container->info), *us = container_name(container);
        const char *owner = container->owner ? container_name(container->owner) : "THE-OTHER";
        _cleanup_free_ char *what = NULL, *command = NULL;

        what = text_printf("it has the network of container %.12s%s%s%s, which does not exist any more", id,
                           container->owner ? ", once '" : "", container->owner ? owner : "",
                           container->owner ? "'" : "");
        command = text_printf("remove it ('docker rm -f %s') and create it again with '--network container:%s'",
                              us, owner);
        container_remake(container, id, what, "up -d", command);
}

int container_ask_owner(Container *container) {
        return engine_inspect(&container->call, container_engine(container), container_info_owner(container->info),
                              CONTAINER_REQUEST_TIMEOUT, container_on_reply, container);
}

void container_on_owner(Container *container, EngineReply *reply) {
        container->owner_exists = true;
        container_use(container);
}

void container_on_no_owner(Container *container, EngineReply *reply) {
        container_begin_remake(container);
}

int container_ask_restart(Container *container) {
        return engine_restart(&container->call, container_engine(container), container_reference(container),
                              container_grace(container), container_stop_timeout(container), container_on_reply,
                              container);
}

static void container_rejoin(Container *container) {
        free(container->rejoined);
        container->rejoined = strdup(container->owner->info->started_at);
        member_tell(&container->member, LOG_NOTICE, DEPENDENCY_STARTING,
                    "has the network of %s, which was started anew: restarting it",
                    container_name(container->owner));
        /* A run that we had begun goes on as one of ours. */
        if (container->begun)
                container_announce(container);
        container_go(container, STAGE_REJOINING);
}

bool container_begin_joining(Container *container) {
        const char *id = container_info_owner(container->info);
        const Container *owner = container_find_owner(container);

        if (!id)
                return false;
        if (container_awaits_owner(&container->member)) {
                container_go(container, STAGE_AWAITING_OWNER);
                /* It is not what keeps others from being started. */
                container->member.retrying = true;
        } else if (!owner && !container->owner_exists)
                container_go(container, STAGE_LOOKING_AT_OWNER);
        else if (owner && container_is_orphan(container))
                container_begin_remake(container);
        else if (owner && owner->member.phase == MEMBER_READY && container_is_cut_off(container))
                container_rejoin(container);
        else {
                container_take_networks(container);
                return false;
        }
        return true;
}

void container_check_owner(Member *member) {
        Container *container = container_from(member);
        const Container *owner;

        assert(member_is_container(member));

        owner = container_find_owner(container);
        if (!owner || container_awaits_owner(member))
                return;
        /* It may have died meanwhile. */
        if (container->stage == STAGE_AWAITING_OWNER)
                container_begin(container);
        else if (member->phase == MEMBER_READY && container->stage == STAGE_IDLE &&
                 owner->member.phase == MEMBER_READY &&
                 (container_is_orphan(container) || container_is_cut_off(container))) {
                container_settle(container, MEMBER_RECOVERING);
                container_use(container);
        }
}

/* Attaching it */

/* NULL: it is on all of them. */
static const char *container_next_network(Container *container) {
        while (container->networks && container->networks[container->n_attached]) {
                const char *network = container->networks[container->n_attached];

                if (!container_info_network(container->info, network))
                        return network;
                container->n_attached++;
        }
        return NULL;
}

bool container_begin_attaching(Container *container) {
        if (!container_next_network(container))
                return false;
        container_go(container, STAGE_ASKING_NETWORK);
        return true;
}

int container_ask_network(Container *container) {
        return engine_inspect_network(&container->call, container_engine(container),
                                      container->networks[container->n_attached], CONTAINER_REQUEST_TIMEOUT,
                                      container_on_reply, container);
}

void container_on_no_network(Container *container, EngineReply *reply) {
        const char *network = container->networks[container->n_attached];

        container_fail(container, FAILURE_NETWORK_MISSING,
                       "%s; it is to be attached to network '%s', which does not exist: create that with 'docker network "
                       "create %s', or by 'docker compose up --no-start' in the project that it belongs to, or correct "
                       "the name (compose puts the project's before it)",
                       reply->message, network, network);
}

int container_ask_attachment(Container *container) {
        return engine_connect_network(&container->call, container_engine(container),
                                      container->networks[container->n_attached], container_reference(container),
                                      CONTAINER_START_TIMEOUT, container_on_reply, container);
}

void container_on_attached(Container *container, EngineReply *reply) {
        const char *network = container->networks[container->n_attached];

        if (reply->outcome == ENGINE_OK) {
                (void) strv_append(&container->attached, network);
                member_tell(&container->member, LOG_INFO, DEPENDENCY_STARTING, "attached to network %s", network);
        }
        container->n_attached++;
        /* It may have got an address by that, and may have died meanwhile. */
        if (container->info->running && !container_next_network(container))
                container_go(container, STAGE_LOOKING_AGAIN);
        else
                container_use(container);
}

/* Detaching it: what a wake that failed has attached, unless somebody else uses it by now. */

bool container_begin_detaching(Container *container) {
        if (container->stop_mode != STOP_ROLLBACK || !container->attached ||
            !container->attached[container->n_detached] || lease_seize(container->member.lease) < 0)
                return false;
        container_go(container, STAGE_DETACHING);
        return true;
}

int container_ask_detachment(Container *container) {
        return engine_disconnect_network(&container->call, container_engine(container),
                                         container->attached[container->n_detached],
                                         container_reference(container), CONTAINER_REQUEST_TIMEOUT,
                                         container_on_reply, container);
}

void container_on_detached(Container *container, EngineReply *reply) {
        if (engine_outcome_is_transient(reply->outcome) && container->attempts < DETACH_ATTEMPTS) {
                container_retry(container);
                return;
        }
        if (reply->outcome != ENGINE_OK && reply->outcome != ENGINE_NO_CONTAINER)
                log_warning("%s stays attached to network %s, which this wake has attached it to: %s",
                            container_name(container), container->attached[container->n_detached], reply->message);
        container->n_detached++;
        container_set_stopped(container);
}

/* The start failed for a network that is not there. */

/* By name, or by the id that it had. */
static const ContainerNetwork *container_find_lost(const Container *container, const char *message) {
        for (size_t i = 0; i < container->info->n_networks; i++) {
                const ContainerNetwork *network = &container->info->networks[i];
                const char *texts[] = { network->id, network->name };

                for (size_t j = 0; j < ELEMENTSOF(texts); j++) {
                        _cleanup_free_ char *text = text_printf("network %s not found", texts[j]);

                        if (!text)
                                continue;
                        if (strstr(message, text))
                                return network;
                }
        }
        return NULL;
}

/* Connected while it was stopped to what has never been a network, as far as can be told: an older version did that. */
static bool is_left_over(const Container *container, const ContainerNetwork *network) {
        return isempty(network->id) && !network->aliased && !network->wanted_ipv4 && !network->wanted_ipv6 &&
               !streq(network->name, container->info->network_mode);
}

int container_ask_repair(Container *container) {
        return engine_disconnect_network(&container->call, container_engine(container), container->lost,
                                         container_reference(container), CONTAINER_REQUEST_TIMEOUT,
                                         container_on_reply, container);
}

void container_on_repaired(Container *container, EngineReply *reply) {
        member_tell(&container->member, LOG_NOTICE, DEPENDENCY_STARTING,
                    "was attached to network %s, which does not exist, and could not be started for that: detached",
                    container->lost);
}

void container_on_lost_network(Container *container, EngineReply *reply) {
        const ContainerNetwork *network = container_find_lost(container, reply->message);
        const char *name = network ? network->name : "NETWORK", *us = container_name(container);
        _cleanup_free_ char *what = NULL, *command = NULL;

        container_withdraw(container);
        if (network && is_left_over(container, network)) {
                free(container->lost);
                container->lost = strdup(network->name);
                if (container->lost) {
                        container_go(container, STAGE_REPAIRING);
                        return;
                }
        }

        what = text_printf("%s; its network%s%s%s was removed", reply->message, network ? " '" : "",
                           network ? network->name : "", network ? "'" : "");
        command = text_printf(
                        "'docker network create %s', 'docker network disconnect -f %s %s' and 'docker network connect %s "
                        "%s' make it anew (with the subnet that it had, if that was given)",
                        name, name, us, name, us);
        container_remake(container, network && !isempty(network->id) ? network->id : name, what, "up --no-start",
                         command);
}

/* The start failed for a static address that somebody else has. */

static bool is_wanted(const ContainerNetwork *network) {
        return network->wanted_ipv4 || network->wanted_ipv6;
}

bool container_has_taken_address(Container *container, const EngineReply *reply) {
        const ContainerInfo *info = container->info;

        for (container->n_asked = 0; container->n_asked < info->n_networks; container->n_asked++)
                if (is_wanted(&info->networks[container->n_asked]))
                        /* A port that is taken has more to it. */
                        return streq(reply->message, "Address already in use");
        return false;
}

int container_ask_address(Container *container) {
        const ContainerInfo *info = container->info;

        while (container->n_asked < info->n_networks && !is_wanted(&info->networks[container->n_asked]))
                container->n_asked++;
        if (container->n_asked < info->n_networks)
                return engine_inspect_network(&container->call, container_engine(container),
                                              info->networks[container->n_asked].name, CONTAINER_REQUEST_TIMEOUT,
                                              container_on_reply, container);
        container_fail(container, FAILURE_START_FAILED,
                       "its static address is taken, and by none of the containers on its network: by the gateway "
                       "perhaps; see 'docker network inspect' and 'docker inspect %s'",
                       container_name(container));
        return 0;
}

void container_on_address(Container *container, EngineReply *reply) {
        const ContainerNetwork *network = &container->info->networks[container->n_asked];
        const char *addresses[] = { network->wanted_ipv4, network->wanted_ipv6 };

        for (size_t i = 0; reply->outcome == ENGINE_OK && i < ELEMENTSOF(addresses); i++) {
                const NetworkEndpoint *taker =
                                addresses[i] ? network_info_find(reply->network, addresses[i]) : NULL;

                if (!taker)
                        continue;
                container_fail(container, FAILURE_START_FAILED,
                               "its address %s on network '%s' is taken by container '%s': stop that and start it "
                               "after this one, or give that one another address (its own 'ipv4_address' in compose)",
                               addresses[i], network->name, taker->container);
                return;
        }
        container->n_asked++;
        container_go(container, STAGE_ASKING_ADDRESS);
}
