#pragma once

/* Netlink: one question to the kernel, and its one answer, or a list of them. */

#include <linux/netlink.h>
#include "util/macro.h"

#define NETLINK_REPLY_MAX 8192

typedef union NetlinkReply {
        struct nlmsghdr header;
        char bytes[NETLINK_REPLY_MAX];
} NetlinkReply;

/* `fd` is a netlink socket; the request says whether the answer is data or, with NLM_F_ACK, that it was done. What the kernel refuses
 * is a negative errno, a mere "done" 0, and data 1. */
int netlink_ask(int fd, const struct nlmsghdr *request, NetlinkReply *ret);
/* The same by a socket of its own. */
int netlink_ask_once(int protocol, const struct nlmsghdr *request, NetlinkReply *ret);

/* A negative return ends the list. */
typedef int (*NetlinkHandler)(const struct nlmsghdr *message, void *userdata);
/* For a request with NLM_F_DUMP: each message of at least `size` bytes behind its header. */
int netlink_list(int fd, const struct nlmsghdr *request, size_t size, NetlinkHandler handler, void *userdata);

/* A request is a structure that ends in room for attributes. Nested ones begin with an empty one, whose length is set at the end. */
struct nlattr *netlink_add(struct nlmsghdr *request, uint16_t type, const void *data, size_t size);
void netlink_end(const struct nlmsghdr *request, struct nlattr *nested);

/* The attribute's data, behind `size` bytes of the family's own header, if it has at least `wanted` bytes. Else NULL. */
const void *netlink_find(const NetlinkReply *reply, size_t size, uint16_t type, size_t wanted);
/* The same within a nested one, which is what netlink_find() has returned for it. */
const void *netlink_find_in(const void *nested, uint16_t type, size_t wanted);
