#pragma once

/* UnitMember: a member that is a systemd unit. */

#include "wake/member.h"

/* A unit's lease is that of a container which no engine could have; and a name in the descriptor store has no ':'. */
#define UNIT_LEASE_PREFIX "unit="

int unit_member_new(Member **ret, const MemberContext *context, const Dependency *dependency,
                    MemberHandler handler, void *userdata);

/* Takes over a lock from the descriptor store, like container_adopt_lease(). */
int unit_member_adopt_lease(Member *member, int fd);
