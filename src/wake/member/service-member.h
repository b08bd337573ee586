#pragma once

/* ServiceMember: a member that is another service of dependencies.json: held awake through its control socket, and let go. */

#include "wake/member/member.h"

int service_member_new(Member **ret, const MemberContext *context, const Dependency *dependency,
                       MemberHandler handler, void *userdata);
