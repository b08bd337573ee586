#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/redirect-snapshot.h"
#include "io/redirect-text.h"
#include "io/redirect.h"
#include "util/fd.h"
#include "util/log.h"

/* Redirect: how the table works.
 *
 * A first packet is looked up by address and port in maps, one for each form a binding takes: a certain
 * address, the wildcard of a family, and, last, loopback for what is not known. An element of a map says "goto
 * service-NAME", and that chain has one rule, which is what is changed:
 *
 *   up:      redirect to the redirect port
 *   lifted:  counter, and the packet goes on as if we were not there, to the container
 *
 * So elements stay while a service sleeps and wakes, a change is the exchange of one rule, and whose element is
 * whose can be read from the table itself: nothing has to be remembered for taking it away. Chains of type nat
 * see the first packet of a connection only, which is what makes the counter one of connections, and leaves
 * those under way alone. Ours are before those of the engine (-100).
 *
 * A packet of the group `wakechain` is not looked up at all: a health command that asks the published port, and
 * a front whose backend is it, would wait for themselves.
 *
 * Direct use of a redirect port is dropped on input: what was redirected carries the status `dnat`. The rule
 * looks at the original direction only, lest an outgoing connection that happens to have such a local port lose
 * its answers. */

struct Redirect {
        /* Kept open: to close such a socket waits until the kernel has cleaned up after anybody's last change
         * (20 ms). */
        int fd;
        struct nft_ctx *context;
        char *error;
};

/* Asks for the ruleset's generation: the cheapest question that only CAP_NET_ADMIN is answered, and that loads
 * nf_tables. It has to come first because libnftables ends the process if it cannot open its socket. */
static int nftables_open(void) {
        struct {
                struct nlmsghdr header;
                struct nfgenmsg message;
        } request = {
                .header.nlmsg_len = sizeof(request),
                .header.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
                .header.nlmsg_flags = NLM_F_REQUEST,
                .message.version = NFNETLINK_V0,
        };
        union {
                struct nlmsghdr header;
                char bytes[1024];
        } reply;
        _cleanup_close_ int fd = -EBADF;
        struct nlmsgerr *error;
        ssize_t n;

        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
        if (fd < 0)
                return errno == EPERM || errno == EACCES ? -EPERM : -EOPNOTSUPP;
        if (send(fd, &request, sizeof(request), 0) < 0)
                return -errno;
        n = recv(fd, &reply, sizeof(reply), 0);
        if (n < 0)
                return -errno;
        if (n < (ssize_t) NLMSG_LENGTH(sizeof(*error)) || reply.header.nlmsg_type != NLMSG_ERROR)
                return TAKE_FD(fd);

        error = NLMSG_DATA(&reply.header);
        if (error->error == -EPERM)
                return -EPERM;
        return error->error < 0 ? -EOPNOTSUPP : TAKE_FD(fd);
}

int redirect_new(Redirect **ret) {
        _cleanup_(redirect_freep) Redirect *redirect = NULL;

        assert(ret);

        redirect = malloc(sizeof(*redirect));
        if (!redirect)
                return -ENOMEM;
        *redirect = (Redirect){ .fd = nftables_open() };
        if (redirect->fd < 0)
                return redirect->fd;
        redirect->context = nft_ctx_new(NFT_CTX_DEFAULT);
        if (!redirect->context)
                return -ENOMEM;

        *ret = TAKE_PTR(redirect);
        return 0;
}

Redirect *redirect_free(Redirect *redirect) {
        if (!redirect)
                return NULL;

        if (redirect->context)
                nft_ctx_free(redirect->context);
        fd_close(redirect->fd);
        free(redirect->error);
        return mfree(redirect);
}

const char *redirect_error(const Redirect *redirect) {
        assert(redirect);
        return strempty(redirect->error);
}

/* libnftables tells what went wrong as text only: "Error: Could not process rule: No such file or directory",
 * then the command. */
static int redirect_fail(Redirect *redirect, const char *text) {
        static const int errors[] = { EPERM,      ENOENT, EEXIST,       EBUSY,
                                      EOPNOTSUPP, ENOMEM, EAFNOSUPPORT, EPROTONOSUPPORT };
        const char *start = strstr(text, "Error: ");
        char *line;

        start = start ? start + strlen("Error: ") : text;
        line = strndup(start, strcspn(start, "\n"));
        if (!line)
                return -ENOMEM;
        free(redirect->error);
        redirect->error = line;
        log_debug("nftables refused: %s", text);

        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                if (strstr(line, strerror(errors[i])))
                        return -errors[i];
        return -EIO;
}

static int redirect_run(Redirect *redirect, const char *commands, unsigned flags) {
        nft_ctx_output_set_flags(redirect->context, flags);
        /* Empties the buffers, too. */
        if (nft_ctx_buffer_output(redirect->context) != 0 || nft_ctx_buffer_error(redirect->context) != 0)
                return -ENOMEM;
        if (nft_run_cmd_from_buffer(redirect->context, commands) != 0)
                return redirect_fail(redirect, strempty(nft_ctx_get_error_buffer(redirect->context)));
        return 0;
}

/* Commands are collected in a stream, which has no error that needs to be looked at before this. Consumes it. */
static int redirect_commit(Redirect *redirect, FILE *stream, char **commands) {
        int r;

        r = ferror(stream) ? -ENOMEM : 0;
        if (fclose(stream) != 0)
                r = -ENOMEM;
        return r < 0 ? r : redirect_run(redirect, *commands, 0);
}

static int redirect_read(Redirect *redirect, RedirectSnapshot **ret) {
        int r;

        r = redirect_run(redirect, "list table " REDIRECT_TABLE, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_NUMERIC_ALL);
        if (r == -ENOENT)
                return redirect_snapshot_new(ret);
        if (r < 0)
                return r;
        return redirect_snapshot_parse(ret, strempty(nft_ctx_get_output_buffer(redirect->context)));
}

static bool element_is_wanted(const SnapshotElement *element, const Service *service, const RedirectKey *keys,
                              size_t n) {
        if (streq(element->set, REDIRECT_TARGETS))
                return (unsigned long) service->redirect_port == strtoul(element->key, NULL, 10);
        for (size_t i = 0; i < n; i++)
                if (streq(element->set, keys[i].map) && streq(element->key, keys[i].text))
                        return true;
        return false;
}

/* What stands in the way, or is the service's own and no longer asked for. */
static void write_deletions(FILE *stream, const RedirectSnapshot *snapshot, const Service *service,
                            const RedirectBindings *bindings, const RedirectKey *keys, size_t n) {
        for (size_t i = 0; i < snapshot->n_elements; i++) {
                const SnapshotElement *element = &snapshot->elements[i];
                bool own = streq(element->service, service->name), target = streq(element->set, REDIRECT_TARGETS);
                bool wanted = element_is_wanted(element, service, keys, n);

                if (own ? !wanted : wanted && (bindings->known || target))
                        redirect_write_deletion(stream, element);
        }
}

static bool key_is_taken(const RedirectSnapshot *snapshot, const Service *service, const RedirectKey *key) {
        const SnapshotElement *element = redirect_snapshot_element(snapshot, key->map, key->text);

        return element && !streq(element->service, service->name);
}

/* Reads first, so that it copes with whatever is there: no table, half a table, elements of former bindings. */
static int redirect_apply(Redirect *redirect, const Service *service, const RedirectBindings *bindings, bool up) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        _cleanup_free_ char *commands = NULL;
        _cleanup_free_ RedirectKey *keys = NULL;
        size_t n_keys, size;
        FILE *stream;
        int r;

        r = redirect_keys_new(&keys, &n_keys, service->port, bindings);
        if (r < 0)
                return r;
        r = redirect_read(redirect, &snapshot);
        if (r < 0)
                return r;

        stream = open_memstream(&commands, &size);
        if (!stream)
                return -ENOMEM;
        if (!snapshot->complete)
                redirect_write_structure(stream);
        write_deletions(stream, snapshot, service, bindings, keys, n_keys);
        redirect_write_service(stream, service, up);
        for (size_t i = 0; i < n_keys; i++)
                if (bindings->known || !key_is_taken(snapshot, service, &keys[i]))
                        redirect_write_key(stream, service, &keys[i]);
        return redirect_commit(redirect, stream, &commands);
}

static bool service_is_usable(const Service *service) {
        return service_name_is_valid(service->name) && service->port > 0 && service->redirect_port > 0;
}

int redirect_up(Redirect *redirect, const Service *service, const RedirectBindings *bindings) {
        assert(redirect);
        assert(service);
        assert(bindings);

        if (!service_is_usable(service))
                return -EINVAL;
        return redirect_apply(redirect, service, bindings, /* up= */ true);
}

/* A client waits for this, so it is tried without reading first, as if the service's elements were there: only
 * then can it succeed. */
int redirect_lift(Redirect *redirect, const Service *service, const RedirectBindings *bindings) {
        _cleanup_free_ char *commands = NULL;
        _cleanup_free_ RedirectKey *keys = NULL;
        size_t n_keys, size;
        FILE *stream;
        int r;

        assert(redirect);
        assert(service);
        assert(bindings);

        if (!service_is_usable(service))
                return -EINVAL;
        r = redirect_keys_new(&keys, &n_keys, service->port, bindings);
        if (r < 0)
                return r;

        stream = open_memstream(&commands, &size);
        if (!stream)
                return -ENOMEM;
        redirect_write_service(stream, service, /* up= */ false);
        for (size_t i = 0; i < n_keys; i++)
                redirect_write_key(stream, service, &keys[i]);
        r = redirect_commit(redirect, stream, &commands);
        if (r >= 0 || r == -ENOMEM || r == -EPERM)
                return r;
        return redirect_apply(redirect, service, bindings, /* up= */ false);
}

int redirect_down(Redirect *redirect, const char *service) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        const SnapshotService *found;
        _cleanup_free_ char *commands = NULL;
        FILE *stream;
        size_t size;
        int r;

        assert(redirect);
        assert(service);

        if (!service_name_is_valid(service))
                return -EINVAL;
        r = redirect_read(redirect, &snapshot);
        if (r < 0)
                return r;

        stream = open_memstream(&commands, &size);
        if (!stream)
                return -ENOMEM;
        for (size_t i = 0; i < snapshot->n_elements; i++)
                if (streq(snapshot->elements[i].service, service))
                        redirect_write_deletion(stream, &snapshot->elements[i]);
        found = redirect_snapshot_service(snapshot, service);
        if (found)
                redirect_write_service_deletion(stream, found);
        return redirect_commit(redirect, stream, &commands);
}

/* Keys that are given away already, while a rebuild is written. */
typedef struct Claims {
        RedirectKey *keys;
        size_t n;
} Claims;

static int claims_add(Claims *claims, const RedirectKey *key) {
        RedirectKey *larger;

        for (size_t i = 0; i < claims->n; i++)
                if (streq(claims->keys[i].map, key->map) && streq(claims->keys[i].text, key->text))
                        return 0;
        larger = reallocarray(claims->keys, claims->n + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        claims->keys = larger;
        claims->keys[claims->n++] = *key;
        return 1;
}

static int write_entry(FILE *stream, const RedirectEntry *entry, Claims *claims) {
        _cleanup_free_ RedirectKey *keys = NULL;
        size_t n_keys;
        int r;

        if (!service_is_usable(entry->service))
                return -EINVAL;
        r = redirect_keys_new(&keys, &n_keys, entry->service->port, &entry->bindings);
        if (r < 0)
                return r;

        redirect_write_service(stream, entry->service, entry->up);
        for (size_t i = 0; i < n_keys; i++) {
                r = claims_add(claims, &keys[i]);
                if (r < 0)
                        return r;
                if (r > 0)
                        redirect_write_key(stream, entry->service, &keys[i]);
        }
        return 0;
}

int redirect_rebuild(Redirect *redirect, const RedirectEntry *entries, size_t n_entries) {
        _cleanup_free_ char *commands = NULL;
        Claims claims = {};
        FILE *stream;
        size_t size;
        int r = 0;

        assert(redirect);
        assert(entries || n_entries == 0);

        stream = open_memstream(&commands, &size);
        if (!stream)
                return -ENOMEM;
        fputs(REDIRECT_REMOVE_TABLE, stream);
        redirect_write_structure(stream);
        for (int known = 1; known >= 0; known--)
                for (size_t i = 0; i < n_entries && r >= 0; i++)
                        if (entries[i].bindings.known == known)
                                r = write_entry(stream, &entries[i], &claims);
        free(claims.keys);
        if (r < 0) {
                (void) fclose(stream);
                return r;
        }
        return redirect_commit(redirect, stream, &commands);
}

int redirect_clear(Redirect *redirect) {
        assert(redirect);
        return redirect_run(redirect, REDIRECT_REMOVE_TABLE, 0);
}

static bool target_is_there(const RedirectSnapshot *snapshot, const Service *service) {
        char port[sizeof("65535")];

        (void) snprintf(port, sizeof(port), "%u", service->redirect_port);
        return redirect_snapshot_element(snapshot, REDIRECT_TARGETS, port);
}

static int state_from_snapshot(const RedirectSnapshot *snapshot, const RedirectEntry *entry, RedirectState *ret) {
        const SnapshotService *found = redirect_snapshot_service(snapshot, entry->service->name);
        RedirectState state = { .present = snapshot->complete };
        _cleanup_free_ RedirectKey *keys = NULL;
        size_t n_keys, n_found = 0;
        int r;

        r = redirect_keys_new(&keys, &n_keys, entry->service->port, &entry->bindings);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_keys; i++) {
                const SnapshotElement *element = redirect_snapshot_element(snapshot, keys[i].map, keys[i].text);

                n_found += element && streq(element->service, entry->service->name);
        }

        if (found) {
                state.registered = found->chain && target_is_there(snapshot, entry->service);
                state.new_connections = found->new_connections;
        }
        if (found && snapshot->complete && found->redirect_port > 0) {
                state.up = n_found == n_keys && found->redirect_port == entry->service->redirect_port;
                state.partly = n_found > 0 && !state.up;
        }
        *ret = state;
        return 0;
}

int redirect_look_all(Redirect *redirect, const RedirectEntry *entries, size_t n_entries, RedirectState *ret) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        int r;

        assert(redirect);
        assert(entries || n_entries == 0);
        assert(ret || n_entries == 0);

        r = redirect_read(redirect, &snapshot);
        for (size_t i = 0; i < n_entries && r >= 0; i++)
                r = state_from_snapshot(snapshot, &entries[i], &ret[i]);
        return r;
}

int redirect_look(Redirect *redirect, const Service *service, const RedirectBindings *bindings,
                  RedirectState *ret) {
        RedirectEntry entry;

        assert(service);
        assert(bindings);
        assert(ret);

        /* Borrows what the bindings point to. */
        entry = (RedirectEntry){ .service = service, .bindings = *bindings };
        return redirect_look_all(redirect, &entry, 1, ret);
}

int redirect_list_ruleset(Redirect *redirect, char **ret) {
        int r;

        assert(redirect);
        assert(ret);

        r = redirect_run(redirect, "list ruleset", 0);
        if (r < 0)
                return r;
        *ret = strdup(strempty(nft_ctx_get_output_buffer(redirect->context)));
        return *ret ? 0 : -ENOMEM;
}

bool redirect_is_marked(const char *root, const char *service) {
        _cleanup_free_ char *path = NULL;

        assert(service_name_is_valid(service));

        if (asprintf(&path, "%s/run/wakechain/redirect/%s", strempty(root), service) < 0) {
                path = NULL;
                return false;
        }
        return access(path, F_OK) >= 0;
}

int redirect_lock(const char *root) {
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -EBADF;

        if (asprintf(&path, "%s/run/wakechain/redirect.lock", strempty(root)) < 0) {
                path = NULL;
                return -ENOMEM;
        }

        /* tmpfiles.d has made it for root and the wakers alone: whoever can open it can hold everybody up. */
        fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        return TAKE_FD(fd);
}
