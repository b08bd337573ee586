#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "io/redirect-claims.h"
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
        char rival[SERVICE_NAME_MAX + 1];
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

/* What is not there gives an empty snapshot. */
static int redirect_query(Redirect *redirect, const char *commands, RedirectSnapshot **ret) {
        int r;

        r = redirect_run(redirect, commands, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_NUMERIC_ALL);
        if (r == -ENOENT)
                return redirect_snapshot_new(ret);
        if (r < 0)
                return r;
        return redirect_snapshot_parse(ret, strempty(nft_ctx_get_output_buffer(redirect->context)));
}

static int redirect_read(Redirect *redirect, RedirectSnapshot **ret) {
        return redirect_query(redirect, "list table " REDIRECT_TABLE, ret);
}

static bool entry_is_usable(const RedirectEntry *entry) {
        const Service *service = entry->service;

        if (!service_name_is_valid(service->name))
                return false;
        return entry->aim == REDIRECT_GONE || (service->port > 0 && service->redirect_port > 0);
}

static void write_gone(FILE *stream, const RedirectSnapshot *snapshot, const Service *service) {
        const SnapshotService *found = redirect_snapshot_service(snapshot, service->name);

        if (found)
                redirect_write_service_deletion(stream, found);
}

static void write_claim(FILE *stream, const RedirectClaim *claim, RedirectEntry *entry) {
        if (streq(claim->holder, entry->service->name))
                redirect_write_key(stream, entry->service, &claim->key);
        else if (entry->bindings.known && isempty(entry->rival))
                (void) snprintf(entry->rival, sizeof(entry->rival), "%s", claim->holder);
}

/* What the snapshot lacks, and without what it has too much. Elements go before the chains that they name. */
static int write_change(FILE *stream, const RedirectSnapshot *snapshot, RedirectEntry *entries, size_t n_entries) {
        _cleanup_(redirect_claims_done) RedirectClaims claims = {};
        int r;

        for (size_t i = 0; i < n_entries; i++) {
                if (!entry_is_usable(&entries[i]))
                        return -EINVAL;
                entries[i].rival[0] = '\0';
        }
        r = redirect_claims_init(&claims, snapshot, entries, n_entries);
        if (r < 0)
                return r;

        for (size_t i = 0; i < snapshot->n_elements; i++)
                if (redirect_claims_displace(&claims, &snapshot->elements[i]))
                        redirect_write_deletion(stream, &snapshot->elements[i]);
        for (size_t i = 0; i < n_entries; i++)
                if (entries[i].aim == REDIRECT_GONE)
                        write_gone(stream, snapshot, entries[i].service);
                else
                        redirect_write_service(stream, entries[i].service, &entries[i].bindings,
                                               entries[i].aim == REDIRECT_UP);
        for (size_t i = 0; i < claims.n; i++)
                write_claim(stream, &claims.claims[i], &entries[claims.claims[i].entry]);
        return 0;
}

/* Writes `before`, the structure if it is wanted, and the change, and carries them out. */
static int redirect_change(Redirect *redirect, const RedirectSnapshot *snapshot, const char *before,
                           bool structure, RedirectEntry *entries, size_t n_entries) {
        _cleanup_free_ char *commands = NULL;
        FILE *stream;
        size_t size;
        int r;

        stream = open_memstream(&commands, &size);
        if (!stream)
                return -ENOMEM;
        fputs(before, stream);
        if (structure)
                redirect_write_structure(stream);
        r = write_change(stream, snapshot, entries, n_entries);
        if (r < 0) {
                (void) fclose(stream);
                return r;
        }
        return redirect_commit(redirect, stream, &commands);
}

/* Reads first, so that it copes with whatever is there: no table, half a table, elements of former bindings. */
int redirect_apply(Redirect *redirect, RedirectEntry *entries, size_t n_entries) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        bool structure = false;
        int r;

        assert(redirect);
        assert(entries || n_entries == 0);

        r = redirect_read(redirect, &snapshot);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_entries && !snapshot->complete && !structure; i++)
                structure = entries[i].aim != REDIRECT_GONE;
        return redirect_change(redirect, snapshot, "", structure, entries, n_entries);
}

int redirect_rebuild(Redirect *redirect, RedirectEntry *entries, size_t n_entries) {
        static const RedirectSnapshot nothing = {};

        assert(redirect);
        assert(entries || n_entries == 0);

        return redirect_change(redirect, &nothing, REDIRECT_REMOVE_TABLE, /* structure= */ true, entries,
                               n_entries);
}

static int redirect_apply_one(Redirect *redirect, const Service *service, const RedirectBindings *bindings,
                              RedirectAim aim) {
        /* Borrows what the bindings point to. */
        RedirectEntry entry = { .service = service, .bindings = *bindings, .aim = aim };
        int r;

        r = redirect_apply(redirect, &entry, 1);
        if (r < 0)
                return r;
        strcpy(redirect->rival, entry.rival);
        return !isempty(redirect->rival);
}

int redirect_up(Redirect *redirect, const Service *service, const RedirectBindings *bindings) {
        assert(redirect);
        assert(service);
        assert(bindings);

        return redirect_apply_one(redirect, service, bindings, REDIRECT_UP);
}

/* Without a look at the table, as if the service's elements were there, and nobody else's: only then can it succeed. */
static int redirect_lift_blindly(Redirect *redirect, const Service *service, const RedirectBindings *bindings,
                                 const RedirectKey *keys, size_t n_keys) {
        _cleanup_free_ char *commands = NULL;
        FILE *stream;
        size_t size;

        stream = open_memstream(&commands, &size);
        if (!stream)
                return -ENOMEM;
        redirect_write_service(stream, service, bindings, /* up= */ false);
        for (size_t i = 0; i < n_keys; i++)
                redirect_write_key(stream, service, &keys[i]);
        return redirect_commit(redirect, stream, &commands);
}

/* A client waits for this. */
int redirect_lift(Redirect *redirect, const Service *service, const RedirectBindings *bindings) {
        const RedirectEntry entry = { .service = service, .aim = REDIRECT_LIFTED };
        _cleanup_free_ RedirectKey *keys = NULL;
        size_t n_keys;
        int r;

        assert(redirect);
        assert(service);
        assert(bindings);

        if (!entry_is_usable(&entry))
                return -EINVAL;
        r = redirect_keys_new(&keys, &n_keys, service->port, bindings);
        if (r < 0)
                return r;

        redirect->rival[0] = '\0';
        r = redirect_lift_blindly(redirect, service, bindings, keys, n_keys);
        if (r >= 0 || r == -ENOMEM || r == -EPERM)
                return r;
        return redirect_apply_one(redirect, service, bindings, REDIRECT_LIFTED);
}

int redirect_down(Redirect *redirect, const char *service) {
        const Service named = { .name = (char *) service };

        assert(redirect);
        assert(service);

        return redirect_apply_one(redirect, &named, &(RedirectBindings){}, REDIRECT_GONE);
}

const char *redirect_rival(const Redirect *redirect) {
        assert(redirect);
        return redirect->rival;
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

/* Set by somebody who knew the addresses, and could not keep them. */
static bool has_more_than_a_guess(const RedirectSnapshot *snapshot, const Service *service) {
        char port[sizeof("65535")];
        size_t n;

        n = (size_t) snprintf(port, sizeof(port), "%u", service->port);
        for (size_t i = 0; i < snapshot->n_elements; i++) {
                const SnapshotElement *element = &snapshot->elements[i];
                size_t size = strlen(element->key);

                if (streq(element->service, service->name) && !streq(element->set, REDIRECT_TARGETS) &&
                    strncmp(element->set, "loopback", strlen("loopback")) != 0 && size >= n &&
                    streq(element->key + size - n, port) && (size == n || element->key[size - n - 1] == ' '))
                        return true;
        }
        return false;
}

static int state_from_snapshot(const RedirectSnapshot *snapshot, const RedirectEntry *entry, RedirectState *ret) {
        const SnapshotService *found = redirect_snapshot_service(snapshot, entry->service->name);
        RedirectState state = { .present = snapshot->complete };
        size_t n_keys, n_own = 0, n_others = 0;
        _cleanup_free_ RedirectKey *keys = NULL;
        int r;

        r = redirect_keys_new(&keys, &n_keys, entry->service->port, &entry->bindings);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_keys; i++) {
                const SnapshotElement *element = redirect_snapshot_element(snapshot, keys[i].map, keys[i].text);

                if (!element || isempty(element->service))
                        continue;
                if (streq(element->service, entry->service->name)) {
                        n_own++;
                        continue;
                }
                if (n_others++ == 0 && entry->bindings.known)
                        (void) snprintf(state.rival, sizeof(state.rival), "%s", element->service);
        }

        if (!entry->bindings.known && has_more_than_a_guess(snapshot, entry->service))
                n_own = n_keys - n_others;
        state.listed = n_own + n_others == n_keys;
        if (found) {
                state.registered = found->chain && target_is_there(snapshot, entry->service);
                state.new_connections = found->new_connections;
        }
        if (found && snapshot->complete && found->redirect_port > 0) {
                state.up = state.listed && found->redirect_port == entry->service->redirect_port;
                state.partly = n_own > 0 && !state.up;
        }
        *ret = state;
        return 0;
}

static int find_strays(const RedirectSnapshot *snapshot, const RedirectEntry *entries, size_t n_entries,
                       char ***strays) {
        _cleanup_(redirect_claims_done) RedirectClaims claims = {};
        int r;

        r = redirect_claims_init(&claims, snapshot, entries, n_entries);
        for (size_t i = 0; i < snapshot->n_services && r >= 0; i++)
                if (!redirect_claims_entry(&claims, snapshot->services[i].name))
                        r = strv_append(strays, snapshot->services[i].name);
        return r;
}

int redirect_look_all(Redirect *redirect, const RedirectEntry *entries, size_t n_entries, RedirectState *ret,
                      char ***strays) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        int r;

        assert(redirect);
        assert(entries || n_entries == 0);
        assert(ret || n_entries == 0);

        r = redirect_read(redirect, &snapshot);
        for (size_t i = 0; i < n_entries && r >= 0; i++)
                r = state_from_snapshot(snapshot, &entries[i], &ret[i]);
        return r >= 0 && strays ? find_strays(snapshot, entries, n_entries, strays) : r;
}

int redirect_look(Redirect *redirect, const Service *service, const RedirectBindings *bindings,
                  RedirectState *ret) {
        RedirectEntry entry;

        assert(service);
        assert(bindings);
        assert(ret);

        /* Borrows what the bindings point to. */
        entry = (RedirectEntry){ .service = service, .bindings = *bindings };
        return redirect_look_all(redirect, &entry, 1, ret, /* strays= */ NULL);
}

int redirect_count(Redirect *redirect, const char *service, uint64_t *ret_connections, bool *ret_up) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        _cleanup_free_ char *commands = NULL;
        const SnapshotService *found;
        int r;

        assert(redirect);
        assert(ret_connections);
        assert(ret_up);

        if (!service_name_is_valid(service))
                return -EINVAL;
        if (asprintf(&commands,
                     "list chain " REDIRECT_TABLE " " REDIRECT_CHAIN_PREFIX "%s\n"
                     "list counter " REDIRECT_TABLE " " REDIRECT_CHAIN_PREFIX "%s\n",
                     service, service) < 0) {
                commands = NULL;
                return -ENOMEM;
        }
        r = redirect_query(redirect, commands, &snapshot);
        if (r < 0)
                return r;
        found = redirect_snapshot_service(snapshot, service);
        *ret_connections = found ? found->new_connections : 0;
        *ret_up = found && found->redirect_port > 0;
        return 0;
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

/* tmpfiles.d has made it for root and the wakers alone: whoever can open it can hold everybody up. */
static int lock_open(const char *root) {
        _cleanup_free_ char *path = NULL;
        int fd;

        if (asprintf(&path, "%s/run/wakechain/redirect.lock", strempty(root)) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd < 0 ? -errno : fd;
}

int redirect_lock(const char *root) {
        _cleanup_close_ int fd = lock_open(root);

        if (fd < 0)
                return fd;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        return TAKE_FD(fd);
}

static void on_alarm(int sig) {
}

/* In the kernel's queue: a thousand programs that try again and again would have the processors to themselves. A timer
 * interrupts it, again and again, since the first time may come just before the call. */
int redirect_lock_wait(const char *root, uint64_t timeout_usec) {
        const struct sigaction action = { .sa_handler = on_alarm };
        const struct itimerval tick = { .it_interval.tv_sec = 1, .it_value.tv_sec = 1 }, none = {};
        uint64_t deadline = usec_add(time_now(CLOCK_MONOTONIC), timeout_usec);
        _cleanup_close_ int fd = lock_open(root);
        int r;

        if (fd < 0)
                return fd;
        if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &tick, NULL) < 0)
                return -errno;
        do
                r = flock(fd, LOCK_EX) < 0 ? -errno : 0;
        while (r == -EINTR && time_now(CLOCK_MONOTONIC) < deadline);
        (void) setitimer(ITIMER_REAL, &none, NULL);
        if (r == -EINTR)
                return -ETIMEDOUT;
        return r < 0 ? r : TAKE_FD(fd);
}
