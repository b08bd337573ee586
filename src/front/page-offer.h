#pragma once

/* PageOffers: passes clients that are browsers to the web service, which shows them the wait page. */

#include "front/reactor.h"

typedef struct PageOffers PageOffers;
typedef struct PageOffer PageOffer;

/* Called once per offer, from the loop. Taken: the connection is the web service's, and the own descriptor is to be
 * closed without a word. Must not free the page. */
typedef void (*PageOfferHandler)(PageOffer *offer, bool taken, void *userdata);

/* Embedded in what owns the client. All but the first two members are the page's. */
struct PageOffer {
        PageOfferHandler handler;
        void *userdata;
        int fd; /* borrowed */
        TAILQ_ENTRY(PageOffer) entry;
};

/* `path`: where the web service listens; `service`: whose clients they are. Both are borrowed. */
int page_offers_new(PageOffers **ret, Reactor *reactor, const char *path, const char *service);
/* No handler is called any more. */
PageOffers *page_offers_free(PageOffers *offers);
DEFINE_CLEANUP(PageOffers *, page_offers_free);

/* Until then (CLOCK_MONOTONIC) nobody wakes the service: told with each client. */
void page_offers_set_pause(PageOffers *offers, uint64_t until_usec);

/* The client must not have been read from, nor be in an epoll set any more. */
void page_offer_start(PageOffers *offers, PageOffer *offer, int fd);
