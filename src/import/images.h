#pragma once

/* Images: what is known of those that many stacks have: how a server of them is asked whether it is ready, and what they are for. */

#include "util/macro.h"

typedef enum ImageKind {
        IMAGE_SERVER, /* of data: others ask it, and people rarely do */
        IMAGE_PROXY, /* asks containers by their names, for clients */
        IMAGE_TUNNEL, /* the same, and publishes nothing */
        IMAGE_MAIL,
        IMAGE_BACKUP,
        IMAGE_CRON,
        IMAGE_HOME,
        IMAGE_STARTER, /* starts what sleeps, or takes it for broken */
        _IMAGE_KIND_MAX,
        _IMAGE_KIND_INVALID = -EINVAL,
} ImageKind;

typedef struct KnownImage {
        const char *name;
        ImageKind kind;
        uint16_t port; /* of a server */
        const char *command; /* what is run in it; NULL: */
        const char *path; /* what is asked for by HTTP; NULL: it is enough that it accepts */
} KnownImage;

/* "registry/owner/name:tag@digest". NULL: not known. */
const KnownImage *image_find(const char *image);
