#pragma once

/* Service units: what the units of one service say. */

#include "config/config.h"
#include "unit-text.h"

#define SETTLE_UNIT "wakechain-settle.service"

typedef struct EngineUnits {
        const char *group; /* may open the engine's socket */
        const char *wants, *after;
} EngineUnits;

extern const EngineUnits engine_units[_ENGINE_KIND_MAX];

typedef struct UnitsWanted {
        const Config *config;
        const char *root; /* that the configuration lies below */
        bool engine_has_group;
        bool has_environment; /* the service has a file of its own in /etc/wakechain/env, or may get one */
} UnitsWanted;

typedef struct ServiceUnits {
        UnitText socket; /* wake@NAME.socket; empty, like the front's, where nobody connects */
        UnitText waker; /* a drop-in of wake@NAME.service */
        UnitText front; /* one of wake-front@NAME.service */
} ServiceUnits;

/* Negative if it has a text that no unit file can carry. */
int service_units_make(ServiceUnits *units, const UnitsWanted *wanted, const Service *service);
void service_units_done(ServiceUnits *units);
