#pragma once

/* Page: passes clients that are browsers to the web service, which shows them the wait page. */

#include <sys/queue.h>
#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct Page Page;
typedef struct PageOffer PageOffer;

/* Called once per offer, from the loop. Taken: the connection is the web service's, and the own descriptor is to be
 * closed without a word. Must not free the page. */
typedef void (*PageHandler)(PageOffer *offer, bool taken, void *userdata);

/* Embedded in what owns the client. All but the first two members are the page's. */
struct PageOffer {
        PageHandler handler;
        void *userdata;
        int fd; /* borrowed */
        TAILQ_ENTRY(PageOffer) entry;
};

/* `path`: where the web service listens; `service`: whose clients they are. Both are borrowed. */
int page_new(Page **ret, sd_event *event, const char *path, const char *service);
/* No handler is called any more. */
Page *page_free(Page *page);
DEFINE_CLEANUP(Page *, page_free);

/* The client must not have been read from, nor be in an epoll set any more. */
void page_offer(Page *page, PageOffer *offer, int fd);
