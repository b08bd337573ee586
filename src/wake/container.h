#pragma once

/* Container: a member that is a container of the engine. */

#include "io/engine.h"
#include "wake/member.h"

int container_new(Member **ret, const MemberContext *context, const Dependency *dependency, MemberHandler handler,
                  void *userdata);

/* All of these take members for which member_is_container() holds. */

/* Takes over the lock that an earlier life of this process put into the descriptor store. Takes the fd on success. NEW only. */
int container_adopt_lease(Member *member, int fd);
/* PREPARED: before it is used, connects it to this network of the engine, whether it runs already or not. */
int container_attach(Member *member, const char *network);
/* PREPARED: clients are forwarded to this port of it: ready means that it accepts there too. */
void container_set_backend_port(Member *member, uint16_t port);

void container_on_event(Member *member, const ContainerEvent *event);
/* The event stream has ended: the engine is gone, or being restarted. What dies from now on is not somebody's wish. */
void container_on_engine_lost(Member *member);
/* It is there again; events may have been missed. */
void container_on_engine_back(Member *member);

/* Of the last look; NULL before. */
const ContainerInfo *container_info(const Member *member);
