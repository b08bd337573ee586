#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <nftables/libnftables.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/redirect.h"
#include "test.h"
#include "util/fd.h"

/* The program itself, on a table in a network namespace and on files below a folder: many at once, two services on one port,
 * what others left behind. */

#define MANY 60
#define OUTPUT_MAX ((size_t) 64 * 1024)

static const char *program;
static char root[] = "/tmp/test-redirect-program-XXXXXX";

typedef struct Run {
        pid_t pid;
        int output;
        char *text;
} Run;

static void run_done(Run *run) {
        free(run->text);
}
#define _cleanup_run_ _cleanup_(run_done)

static char *path_of(const char *format, ...) _printf_(1, 2);
static char *path_of(const char *format, ...) {
        _cleanup_free_ char *name = NULL;
        va_list arguments;
        char *path;

        va_start(arguments, format);
        ASSERT_TRUE(vasprintf(&name, format, arguments) >= 0);
        va_end(arguments);
        ASSERT_TRUE(asprintf(&path, "%s/%s", root, name) >= 0);
        return path;
}

static void write_file(const char *text, const char *format, ...) _printf_(2, 3);
static void write_file(const char *text, const char *format, ...) {
        _cleanup_free_ char *name = NULL, *path = NULL, *folder = NULL;
        va_list arguments;

        va_start(arguments, format);
        ASSERT_TRUE(vasprintf(&name, format, arguments) >= 0);
        va_end(arguments);
        path = path_of("%s", name);
        folder = strdup(path);
        ASSERT_TRUE(folder);
        *strrchr(folder, '/') = '\0';
        ASSERT_OK(directory_make(folder));
        ASSERT_OK(file_replace(path, text, strlen(text), 0644, false));
}

static bool exists(const char *name) {
        _cleanup_free_ char *path = path_of("%s", name);

        return access(path, F_OK) >= 0;
}

static char *read_text(const char *name) {
        _cleanup_free_ char *path = path_of("%s", name);
        char *text;

        ASSERT_OK(file_read(path, OUTPUT_MAX, &text, NULL));
        return text;
}

static void clear(void) {
        _cleanup_free_ char *command = NULL;
        struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);

        ASSERT_TRUE(context);
        ASSERT_EQ(nft_run_cmd_from_buffer(context, "flush ruleset"), 0);
        nft_ctx_free(context);
        ASSERT_TRUE(asprintf(&command, "rm -rf %s/* && mkdir -p %s/run/wakechain", root, root) >= 0);
        ASSERT_EQ(system(command), 0);
}

static Run begin(const char *verb, const char *service, bool with_rights) {
        _cleanup_free_ char *option = NULL;
        int output[2];
        Run run;

        ASSERT_TRUE(asprintf(&option, "--root=%s", root) >= 0);
        ASSERT_EQ(pipe2(output, O_CLOEXEC), 0);
        run = (Run){ .pid = fork(), .output = output[0] };
        ASSERT_TRUE(run.pid >= 0);
        if (run.pid == 0) {
                if (!with_rights && prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0) < 0)
                        _exit(127);
                (void) dup2(output[1], STDOUT_FILENO);
                (void) dup2(output[1], STDERR_FILENO);
                (void) execl(program, program, option, verb, service, NULL);
                _exit(127);
        }
        fd_close(output[1]);
        return run;
}

/* Its exit status; what it said is in the run. */
static int finish(Run *run) {
        int status;

        ASSERT_OK(fd_read_all(run->output, OUTPUT_MAX, &run->text, NULL));
        fd_close(run->output);
        ASSERT_EQ(waitpid(run->pid, &status, 0), run->pid);
        ASSERT_TRUE(WIFEXITED(status));
        return WEXITSTATUS(status);
}

/* Succeeds, and says something with `text` in it; nothing at all if that is NULL. */
static void good(const char *verb, const char *service, const char *text) {
        _cleanup_run_ Run run = begin(verb, service, true);
        int status = finish(&run);

        if (status != 0 || (text ? !strstr(run.text, text) : !isempty(run.text)))
                TEST_FAIL("%s %s exits with %i and says: %s", verb, strempty(service), status, run.text);
}

static void bad(const char *verb, const char *service, const char *text) {
        _cleanup_run_ Run run = begin(verb, service, true);
        int status = finish(&run);

        if (status != 1 || !strstr(run.text, text))
                TEST_FAIL("%s %s exits with %i and says: %s", verb, strempty(service), status, run.text);
}

static RedirectState look(const char *name, uint16_t port, uint16_t redirect_port) {
        static const RedirectBindings everywhere = { .known = true, .any_ipv4 = true, .any_ipv6 = true };
        const Service service = { .name = (char *) name, .port = port, .redirect_port = redirect_port };
        _cleanup_(redirect_freep) Redirect *redirect = NULL;
        RedirectState state;

        ASSERT_OK(redirect_new(&redirect));
        ASSERT_OK(redirect_look(redirect, &service, &everywhere, &state));
        return state;
}

#define BINDINGS(ipv4, ipv6, addresses) "{\"ipv4\":" ipv4 ",\"ipv6\":" ipv6 ",\"addresses\":[" addresses "]}"
#define EVERYWHERE BINDINGS("true", "true", "")

static void make_many(void) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *stream = open_memstream(&text, &size);

        clear();
        ASSERT_TRUE(stream);
        fputs("{\"services\":{", stream);
        for (int i = 0; i < MANY; i++) {
                fprintf(stream, "%s\"s%i\":{\"name\":\"c%i\",\"port\":%i}", i > 0 ? "," : "", i, i, 3000 + i);
                write_file(EVERYWHERE, "var/lib/wakechain/bindings/s%i.json", i);
        }
        fputs("}}", stream);
        ASSERT_EQ(fclose(stream), 0);
        write_file(text, "etc/wakechain/dependencies.json");
}

static bool folder_is_empty(const char *name) {
        _cleanup_free_ char *path = path_of("%s", name);

        return rmdir(path) >= 0 || errno == ENOENT;
}

static void all(const char *verb) {
        Run runs[MANY];
        char name[16];

        for (int i = 0; i < MANY; i++) {
                (void) snprintf(name, sizeof(name), "s%i", i);
                runs[i] = begin(verb, name, true);
        }
        for (int i = 0; i < MANY; i++) {
                ASSERT_EQ(finish(&runs[i]), 0);
                ASSERT_STREQ(runs[i].text, "");
                run_done(&runs[i]);
        }
        ASSERT_TRUE(folder_is_empty("run/wakechain/redirect.queue"));
}

static void test_many_at_once(void) {
        char name[16];

        make_many();
        for (int round = 0; round < 2; round++) {
                all("up");
                for (int i = 0; i < MANY; i++) {
                        (void) snprintf(name, sizeof(name), "s%i", i);
                        ASSERT_TRUE(look(name, (uint16_t) (3000 + i), (uint16_t) (23000 + i)).up);
                        ASSERT_TRUE(redirect_is_marked(root, name));
                }
        }
        all("down");
        for (int i = 0; i < MANY; i++) {
                (void) snprintf(name, sizeof(name), "s%i", i);
                ASSERT_FALSE(look(name, (uint16_t) (3000 + i), (uint16_t) (23000 + i)).registered);
        }
        ASSERT_TRUE(folder_is_empty("run/wakechain/redirect"));
}

/* They wait for the lock together, and one of them does it for all. */
static void test_each_gets_its_own_answer(void) {
        _cleanup_run_ Run sound = {}, unknown = {}, listening = {}, gone = {};
        int lock;

        clear();
        write_file("{\"services\":{\"sound\":{\"name\":\"c\",\"port\":9002},"
                   "\"listening\":{\"name\":\"c\",\"port\":9003,\"listen\":[\"9003\"]}}}",
                   "etc/wakechain/dependencies.json");
        lock = redirect_lock(root);
        ASSERT_OK(lock);
        sound = begin("up", "sound", true);
        unknown = begin("up", "unknown", true);
        listening = begin("up", "listening", true);
        gone = begin("down", "gone", true);
        while (!exists("run/wakechain/redirect.queue/sound") || !exists("run/wakechain/redirect.queue/unknown") ||
               !exists("run/wakechain/redirect.queue/listening") || !exists("run/wakechain/redirect.queue/gone"))
                (void) poll(NULL, 0, 1);
        fd_close(lock);

        ASSERT_EQ(finish(&sound), 0);
        ASSERT_STREQ(sound.text, "");
        ASSERT_EQ(finish(&unknown), 1);
        ASSERT_TRUE(strstr(unknown.text, "There is no service 'unknown'"));
        ASSERT_EQ(finish(&listening), 1);
        ASSERT_TRUE(strstr(listening.text, "it has 'listen'"));
        ASSERT_EQ(finish(&gone), 0);
        ASSERT_TRUE(look("sound", 9002, 29002).registered);
        ASSERT_TRUE(folder_is_empty("run/wakechain/redirect.queue"));
        bad("up", "a/b", "no name of a service");
}

/* Of somebody who was killed while waiting. */
static void test_requests_that_were_left_behind(void) {
        make_many();
        write_file("up", "run/wakechain/redirect.queue/s1");
        write_file("", "run/wakechain/redirect.queue/s2");
        write_file("failed 5 1\nof yesterday", "run/wakechain/redirect.queue/s3");
        write_file("nonsense", "run/wakechain/redirect.queue/s4");
        good("up", "s0", NULL);
        ASSERT_TRUE(look("s0", 3000, 23000).up);
        ASSERT_TRUE(look("s1", 3001, 23001).up);
        ASSERT_FALSE(look("s2", 3002, 23002).registered);
        good("up", "s3", NULL);
        good("up", "s4", NULL);
        ASSERT_TRUE(look("s3", 3003, 23003).up && look("s4", 3004, 23004).up);
}

static void test_without_the_right(void) {
        _cleanup_run_ Run run = {};

        make_many();
        write_file("up", "run/wakechain/redirect.queue/s1");
        run = begin("up", "s0", false);
        ASSERT_EQ(finish(&run), 1);
        ASSERT_TRUE(strstr(run.text, "nftables cannot be used"));
        ASSERT_TRUE(strstr(run.text, "'listen'"));
        ASSERT_FALSE(redirect_is_marked(root, "s0"));

        /* Others are not answered for. */
        ASSERT_TRUE(exists("run/wakechain/redirect.queue/s1"));
        good("up", "s0", NULL);
        ASSERT_TRUE(look("s0", 3000, 23000).up && look("s1", 3001, 23001).up);
}

static void test_full_run(void) {
        _cleanup_free_ char *path = NULL;
        char block[4096] = {};
        int fd;

        make_many();
        path = path_of("run");
        ASSERT_EQ(mount("tmpfs", path, "tmpfs", 0, "size=64k"), 0);
        write_file("", "run/wakechain/none");
        good("up", "s0", NULL);

        free(path);
        path = path_of("run/filler");
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_OK(fd);
        while (write(fd, block, sizeof(block)) > 0)
                ;
        fd_close(fd);

        /* Who was up comes up again, who goes goes, and who is new is told. */
        good("up", "s0", NULL);
        ASSERT_TRUE(look("s0", 3000, 23000).up);
        bad("up", "s1", "Failed to note that the socket of 's1' is up: No space left");
        good("down", "s1", NULL);
        good("down", "s0", NULL);
        ASSERT_FALSE(look("s0", 3000, 23000).registered || redirect_is_marked(root, "s0"));

        free(path);
        path = path_of("run");
        ASSERT_EQ(umount(path), 0);
}

static void make_two(void) {
        clear();
        write_file("{\"services\":{\"a\":{\"name\":\"ca\",\"port\":9002,\"redirectPort\":29001},"
                   "\"z\":{\"name\":\"cz\",\"port\":9002}}}",
                   "etc/wakechain/dependencies.json");
        write_file(EVERYWHERE, "var/lib/wakechain/bindings/a.json");
        write_file(EVERYWHERE, "var/lib/wakechain/bindings/z.json");
        good("up", "z", NULL);
        good("up", "a", "Port 9002 of 'a' is published by 'z' on the same address, too, which had it first");
        ASSERT_TRUE(look("z", 9002, 29002).up);
        ASSERT_STREQ(look("a", 9002, 29001).rival, "z");
}

static void assert_has(const char *service) {
        bool a = streq(service, "a");

        ASSERT_STREQ(look("a", 9002, 29001).rival, a ? "" : "z");
        ASSERT_STREQ(look("z", 9002, 29002).rival, a ? "a" : "");
        ASSERT_TRUE(look("a", 9002, 29001).registered && look("z", 9002, 29002).registered);
}

/* As a socket unit has it: whoever repairs looks. */
static int listen_at(uint16_t port) {
        const struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ASSERT_OK(fd);
        ASSERT_OK(bind(fd, (const struct sockaddr *) &address, sizeof(address)));
        ASSERT_OK(listen(fd, 1));
        return fd;
}

static void test_same_port_is_kept(void) {
        _unused_ _cleanup_close_ int a = listen_at(29001), z = listen_at(29002);

        make_two();
        bad("check", NULL, "clients reach the service that had the port first: z");
        good("repair", NULL, NULL);
        good("setup", NULL, NULL);
        assert_has("z");

        /* Also when the table is lost, and whoever comes first then. */
        for (int i = 0; i < 2; i++) {
                struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);

                ASSERT_TRUE(context);
                ASSERT_EQ(nft_run_cmd_from_buffer(context, "flush ruleset"), 0);
                nft_ctx_free(context);
                good(i == 0 ? "repair" : "setup", NULL, i == 0 ? "The firewall was flushed" : NULL);
                assert_has("z");
        }
        good("up", "z", NULL);
        good("up", "a", "had it first");
        good("down", "a", NULL);
        ASSERT_STREQ(look("z", 9002, 29002).rival, "");
        ASSERT_TRUE(look("z", 9002, 29002).up);
}

static void test_same_port_is_inherited(void) {
        _unused_ _cleanup_close_ int a = listen_at(29001), z = listen_at(29002);
        _cleanup_free_ char *mark = NULL;

        /* At once when the socket of the first one is gone. */
        make_two();
        good("down", "z", "No other service has port 9002 any more: its clients reach 'a' again.");
        ASSERT_TRUE(look("a", 9002, 29001).up);
        mark = read_text("run/wakechain/redirect/a");
        ASSERT_STREQ(mark, "9002 29001\n");
        good("up", "z", "had it first");
        assert_has("a");

        /* With the next check when its container is published elsewhere. */
        write_file(BINDINGS("false", "false", "\"192.0.2.1\""), "var/lib/wakechain/bindings/a.json");
        good("up", "a", NULL);
        good("repair", NULL, "its clients reach 'z' again");
        ASSERT_TRUE(look("z", 9002, 29002).up);
        good("repair", NULL, NULL);

        /* Awake or not. */
        write_file(EVERYWHERE, "var/lib/wakechain/bindings/a.json");
        write_file("{\"state\":\"awake\"}", "run/wakechain/status/a.json");
        good("up", "a", "had it first");
        good("down", "z", "its clients reach 'a' again");
        ASSERT_TRUE(look("a", 9002, 29001).listed && !look("a", 9002, 29001).up);
}

/* Between its wakes: a socket went down, and its redirect stayed. */
static void test_strays(void) {
        _unused_ _cleanup_close_ int first = listen_at(23000), second = listen_at(23001);
        _cleanup_free_ char *mark = NULL;

        make_many();
        good("up", "s0", NULL);
        good("up", "s1", NULL);
        write_file("{\"state\":\"awake\"}", "run/wakechain/status/s0.json");
        mark = path_of("run/wakechain/redirect/s0");
        ASSERT_EQ(unlink(mark), 0);
        good("repair", NULL, NULL);
        ASSERT_TRUE(look("s0", 3000, 23000).up);

        write_file("{\"state\":\"asleep\"}", "run/wakechain/status/s0.json");
        good("repair", NULL, "The redirect to 's0' is removed: wake@s0.socket is down.");
        ASSERT_FALSE(look("s0", 3000, 23000).registered);
        ASSERT_TRUE(look("s1", 3001, 23001).up);
        good("repair", NULL, NULL);

        good("down", "s1", NULL);
        good("repair", NULL, NULL);
        good("clear", NULL, NULL);
        good("repair", NULL, NULL);
}

static void test_closed_without_a_word(void) {
        int first = listen_at(23000);
        _unused_ _cleanup_close_ int second = listen_at(23001);

        make_many();
        good("up", "s0", NULL);
        good("up", "s1", NULL);
        good("repair", NULL, NULL);
        fd_close(first);
        good("repair", NULL, "The redirect to 's0' is removed: wake@s0.socket is down.");
        ASSERT_FALSE(look("s0", 3000, 23000).registered || redirect_is_marked(root, "s0"));
        ASSERT_TRUE(look("s1", 3001, 23001).up && redirect_is_marked(root, "s1"));
        good("down", "s1", NULL);
        good("clear", NULL, NULL);
}

int main(int argc, char *argv[]) {
        _cleanup_free_ char *command = NULL;

        ASSERT_EQ(argc, 2);
        program = argv[1];
        if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                fprintf(stderr, "No namespaces of its own here, skipping what needs them.\n");
                return 77;
        }
        ASSERT_TRUE(mkdtemp(root));

        test_many_at_once();
        test_each_gets_its_own_answer();
        test_requests_that_were_left_behind();
        test_without_the_right();
        test_full_run();
        test_same_port_is_kept();
        test_same_port_is_inherited();
        test_strays();
        test_closed_without_a_word();

        ASSERT_TRUE(asprintf(&command, "rm -r '%s'", root) >= 0);
        ASSERT_EQ(system(command), 0);
        return EXIT_SUCCESS;
}
