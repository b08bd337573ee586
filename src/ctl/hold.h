#pragma once

#include "manager/manager-call.h"

/* The units of `wakectl hold` that keep a service awake; their descriptions say until when. See manager_list(). */
int hold_list(ManagerUnit **ret, size_t *ret_n, const char *service);
