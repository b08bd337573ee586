#pragma once

/* Doctor: the machine as wakectl doctor looks at it. What several checks need is asked once, and before them. */

#include <json-c/json.h>
#include "config/config.h"
#include "config/problem.h"
#include "ctl/doctor/findings.h"
#include "engine/survey.h"
#include "import/project.h"

typedef struct Doctor {
        Findings findings;
        Config *config; /* NULL: there is none that can be used */
        int config_error; /* why */
        ProblemList problems; /* of the configuration */

        Survey *survey; /* NULL: the engine does not answer */
        int engine_error; /* why, negative */
        json_object *engine; /* what it says of itself; NULL: nothing */
        ImportWorld world; /* its containers */

        bool firewalled; /* clients of sleeping stacks are dropped, or nftables cannot be used */
} Doctor;

/* Each looks at one thing. */
void doctor_configuration(Doctor *doctor);
void doctor_units(Doctor *doctor);
void doctor_sockets(Doctor *doctor);
void doctor_redirects(Doctor *doctor);
void doctor_versions(Doctor *doctor);

void doctor_engine(Doctor *doctor);
void doctor_ports(Doctor *doctor);
void doctor_starters(Doctor *doctor);
void doctor_gpus(Doctor *doctor);
/* Gives up root's rights for those of wakers, for good: the last one. */
void doctor_stacks(Doctor *doctor);

void doctor_firewall(Doctor *doctor);
void doctor_clock(Doctor *doctor);
void doctor_disk(Doctor *doctor);
