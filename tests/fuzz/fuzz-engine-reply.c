#include "engine/engine-reply.h"
#include "model/service.h"

/* What the engine may answer to a request: inspects, lists, errors, exec states, versions. The first byte
 * says with which status, the second to what. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)          \
        do {                      \
                if (!(condition)) \
                        abort();  \
        } while (false)

static void check_text(const char *text, size_t size_max) {
        CHECK(text);
        CHECK(strlen(text) <= size_max);
        CHECK(!strpbrk(text, "\n\r\033"));
}

static void parse_inspect(const char *text, size_t size) {
        ContainerInfo *info = NULL;

        if (container_info_parse(&info, text, size) < 0)
                return;

        CHECK(engine_name_is_valid(info->name));
        CHECK(engine_name_is_valid(info->id));
        check_text(info->error, 1024);
        check_text(info->started_at, 1024);
        check_text(info->network_mode, 1024);
        check_text(info->restart_policy, 1024);
        CHECK(*info->restart_policy);
        CHECK(info->stop_signal >= 1 && info->stop_signal <= 64);
        CHECK(info->pid >= 0);
        CHECK(info->n_networks <= 1024 && info->n_bindings <= 1024 && info->n_exposed <= 1024);
        for (size_t i = 0; i < info->n_networks; i++) {
                check_text(info->networks[i].name, 1024);
                CHECK(!*info->networks[i].id || engine_name_is_valid(info->networks[i].id));
                CHECK(container_info_network(info, info->networks[i].name));
        }
        for (size_t i = 0; i < info->n_bindings; i++) {
                CHECK(info->bindings[i].container_port > 0 && info->bindings[i].host_port > 0);
                CHECK(info->bindings[i].host_port_last >= info->bindings[i].host_port);
                CHECK(port_binding_covers(&info->bindings[i], info->bindings[i].host_port_last));
                CHECK(strspn(info->bindings[i].host_ip, "0123456789abcdefABCDEF.:") ==
                      strlen(info->bindings[i].host_ip));
        }
        container_info_free(info);
}

static void parse_list(const char *text, size_t size) {
        ListedContainer *list;
        size_t n;

        if (listed_containers_parse(&list, &n, text, size) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                CHECK(engine_name_is_valid(list[i].name));
                CHECK(i == 0 || strcmp(list[i - 1].name, list[i].name) <= 0);
                CHECK(list[i].id);
                CHECK(!list[i].running || !list[i].paused);
                for (size_t j = 0; j < list[i].n_ports; j++)
                        CHECK(list[i].ports[j] > 0);
                CHECK(listed_container_find(list, n, list[i].name));
        }
        listed_containers_free(list, n);
}

static void parse_names(const char *text, size_t size) {
        char **names;

        if (engine_reply_names(text, size, false, &names) >= 0)
                strv_free(names);
}

static void parse_network(const char *text, size_t size) {
        NetworkInfo *info = NULL;

        if (network_info_parse(&info, text, size) < 0)
                return;
        for (size_t i = 0; i < info->n_endpoints; i++) {
                check_text(info->endpoints[i].container, size);
                check_text(info->endpoints[i].ipv4, size);
                CHECK(network_info_find(info, info->endpoints[i].ipv4));
        }
        network_info_free(info);
}

static void classify(EngineOperation operation, unsigned status, const char *text, size_t size) {
        HttpResponse response = { .reason = "", .status = status, .body = text, .size = size };
        char *message = NULL;
        EngineOutcome outcome;

        outcome = engine_reply_classify(operation, &response, &message);
        CHECK((unsigned) outcome <= ENGINE_TIMED_OUT);
        CHECK(outcome != ENGINE_OK || (status >= 200 && status <= 299));
        CHECK(outcome != ENGINE_UNREACHABLE && outcome != ENGINE_TIMED_OUT);
        check_text(message, 512);
        CHECK(*message);
        free(message);
        (void) engine_reply_is_wrong_version(&response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const unsigned statuses[] = { 200, 304, 400, 403, 404, 409, 500, 503, 0, 999 };
        char *text, *string = NULL;
        int exit_code;

        if (size < 2)
                return 0;
        text = malloc(size - 1);
        if (!text)
                abort();
        memcpy(text, data + 2, size - 2);
        text[size - 2] = '\0';

        classify((EngineOperation) (data[1] % _ENGINE_OPERATION_MAX), statuses[data[0] % ELEMENTSOF(statuses)],
                 text, size - 2);
        parse_inspect(text, size - 2);
        parse_list(text, size - 2);
        parse_names(text, size - 2);
        parse_network(text, size - 2);
        if (engine_reply_string(text, size - 2, "Id", &string) >= 0)
                free(string);
        (void) engine_reply_exit_code(text, size - 2, &exit_code);
        CHECK(engine_reply_version(text) >= 24 && engine_reply_version(text) <= 47);
        CHECK(engine_signal_from_string(text) >= 0 && engine_signal_from_string(text) <= 64);
        free(text);
        return 0;
}
