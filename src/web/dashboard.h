#pragma once

/* Dashboard: a page of ours for people, and its files. */

#include "web/site.h"

void dashboard_index(Call *call);
void dashboard_asset(Call *call);
