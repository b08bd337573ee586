#pragma once

/* UnitMember: a member that is a systemd unit. */

#include "wake/member/member.h"

int unit_member_new(Member **ret, const MemberContext *context, const Dependency *dependency,
                    MemberHandler handler, void *userdata);
