#pragma once

/* Api: the handlers of its routes, and the answers that they keep. */

#include "web/site.h"

void api_forget(Site *site);
void api_services(Call *call);
void api_state(Call *call);
void api_graph(Call *call);
void api_events(Call *call);
void api_wake_status(Call *call);
void api_wake(Call *call);
void api_sleep(Call *call);
