#pragma once

/* Container: a member that is a container of the engine. */

#include "engine/engine.h"
#include "wake/member/member.h"

int container_new(Member **ret, const MemberContext *context, const Dependency *dependency, MemberHandler handler,
                  void *userdata);

/* All of these take members for which member_is_container() holds. */

/* PREPARED: before it is used, connects it to this network of the engine, whether it runs already or not. */
int container_attach(Member *member, const char *network);
/* PREPARED: clients are forwarded to this port of it: an http check that names none asks there. */
void container_set_backend_port(Member *member, uint16_t port);

/* Whose network it has, of the same service; NULL: its own, or some other container's. It starts after that one and stops before it. */
const Member *container_owner(Member *member);
/* That one is on its way up. */
bool container_awaits_owner(Member *member);
/* Something may have changed about that one. */
void container_check_owner(Member *member);

void container_on_event(Member *member, const ContainerEvent *event);
/* The event stream has ended: the engine is gone, or being restarted. What dies from now on is not somebody's wish. */
void container_on_engine_lost(Member *member);
/* It is there again; events may have been missed. */
void container_on_engine_back(Member *member);

/* docker run --rm, and nobody makes it again. False of all that is no container. */
bool container_is_lost_by_stop(const Member *member);

/* Of the last look; NULL before. */
const ContainerInfo *container_info(const Member *member);
